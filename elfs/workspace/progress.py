"""What the writer of a workspace is doing, noted now and then for whoever asks meanwhile, or after it was stopped."""

import json
import os
import platform
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from elfs.errors import StorageError
from elfs.workspace.files import json_bytes, remove_file
from elfs.workspace.names import HOLDER_NAME, PROGRESS_NAME
from elfs.workspace.temporary import host_mark, is_alive, temporary_name

__all__ = ["Doing", "forget_progress", "note_progress", "read_progress"]

_MAX_BYTES = 100_000


@dataclass(frozen=True)
class Doing:
    """How far a stage is, or was when it was stopped.

    Attributes
    ----------
    record, stage : str
        What is being made.
    draft : str
        Where its unfinished work waits, relative to the workspace.
    config : dict
        The stage's config as it was told, plain JSON.
    force : bool
        Whether it was told to make everything anew.
    work, unit : str
        What it works through.
    done, total : int
        How many units are done, of how many.
    pid : int
        The process.
    host, mark : str
        Its machine, and what tells the processes of this machine or container from those of others.
    source_root : str or None
        Folder or file of the images, where the stage reads them.
    """

    record: str
    stage: str
    draft: str
    config: dict[str, Any]
    force: bool
    work: str = ""
    unit: str = ""
    done: int = 0
    total: int = 0
    pid: int = 0
    host: str = ""
    mark: str = ""
    source_root: str | None = None

    def is_running(self, root: Path) -> bool:
        """Return whether its process lives; of another machine's, whether the workspace is still being written.

        Parameters
        ----------
        root : Path
            The workspace's directory.

        Returns
        -------
        bool
            False once it has ended or was killed.
        """
        return (root / HOLDER_NAME).exists() and (self.mark != host_mark() or is_alive(self.pid))


def note_progress(root: Path, doing: Doing) -> None:
    """Write down what this process is doing; a note that cannot be written is left out.

    Parameters
    ----------
    root : Path
        The workspace's directory.
    doing : Doing
        What; process and machine are filled in.
    """
    note = asdict(doing) | {"pid": os.getpid(), "host": platform.node(), "mark": host_mark()}
    waiting = root / temporary_name(PROGRESS_NAME)
    with suppress(OSError):  # nobody's work depends on it
        waiting.write_bytes(json_bytes(note))
        waiting.replace(root / PROGRESS_NAME)


def forget_progress(root: Path) -> None:
    """Remove the note, if there is one and it can be removed.

    Parameters
    ----------
    root : Path
        The workspace's directory.
    """
    with suppress(StorageError):
        remove_file(root / PROGRESS_NAME)


def read_progress(root: Path) -> Doing | None:
    """Return what was noted last.

    Parameters
    ----------
    root : Path
        The workspace's directory.

    Returns
    -------
    Doing or None
        None where nothing was, or no more of the unfinished work is there; a note that is spoilt
        is no error.
    """
    try:
        with (root / PROGRESS_NAME).open("rb") as file:
            found = json.loads(file.read(_MAX_BYTES))
        doing = Doing(**found)
        texts = (doing.record, doing.stage, doing.draft, doing.work, doing.unit, doing.host, doing.mark)
        is_sound = all(isinstance(text, str) for text in texts) and isinstance(doing.config, dict)
        is_sound = is_sound and isinstance(doing.source_root, str | None)
        is_sound = is_sound and all(isinstance(number, int) for number in (doing.done, doing.total, doing.pid))
        return doing if is_sound and (root / doing.draft).is_dir() else None
    except (OSError, ValueError, TypeError, RecursionError):
        return None
