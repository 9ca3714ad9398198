"""What a commit or a removal is about to do, written down first, so that a crash in the middle is put right later."""

import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from elfs.errors import CorruptArtifactError
from elfs.workspace.files import (
    atomic_write,
    is_plain_path,
    json_bytes,
    make_directory,
    parse_json,
    path_inside,
    remove_file,
    storage_errors,
)
from elfs.workspace.manifest import JOURNAL_NAME, PARTIAL_NAME, RESERVED_NAMES, Manifest

__all__ = ["settle_journal", "write_journal"]


def write_journal(root: Path, doomed: Iterable[str], moved: Mapping[str, str]) -> None:
    """Write down which files are about to lose their entry in the manifest, and which are about to be moved in.

    Parameters
    ----------
    root : Path
        The workspace's directory.
    doomed : iterable of str
        Names of the files that the manifest will no longer name.
    moved : mapping of str to str
        Names of the files that will be moved into place, to where they wait now; both relative to the workspace.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    path = root / JOURNAL_NAME
    make_directory(path.parent)
    with atomic_write(path) as file:
        file.write(json_bytes({"doomed": sorted(doomed), "moved": dict(moved)}))


def _is_file_name(name: Any) -> bool:
    return isinstance(name, str) and is_plain_path(name) and name.split("/")[0] not in RESERVED_NAMES


def _is_waiting_name(name: Any) -> bool:
    return isinstance(name, str) and is_plain_path(name) and name.startswith(PARTIAL_NAME + "/")


def _parse(data: bytes, path: Path) -> tuple[list[str], dict[str, str]]:
    value = parse_json(data, str(path))
    fits = (
        isinstance(value, dict)
        and set(value) == {"doomed", "moved"}
        and isinstance(value["doomed"], list)
        and isinstance(value["moved"], dict)
        and all(_is_file_name(name) for name in [*value["doomed"], *value["moved"]])
        and all(_is_waiting_name(name) for name in value["moved"].values())
    )
    if not fits:
        raise CorruptArtifactError(f"{path} is no journal of this workspace.", hint=f"rm {shlex.quote(str(path))}")
    return value["doomed"], value["moved"]


def settle_journal(root: Path, manifest: Manifest) -> None:
    """Finish or undo what the journal says, by what the manifest names; do nothing if there is no journal.

    Files that were moved in but are not named go back to where they waited, if their draft is still there. All other
    files of the journal that are not named are removed.

    Parameters
    ----------
    root : Path
        The workspace's directory.
    manifest : Manifest
        What the workspace holds now.

    Raises
    ------
    CorruptArtifactError
        If the journal is not one that elfs wrote, or a link leads out of the workspace.
    StorageError
        If a file cannot be moved or removed.
    """
    path = root / JOURNAL_NAME
    if not path.is_file():
        return
    with storage_errors("read", path):
        doomed, moved = _parse(path.read_bytes(), path)
    named = {file.name for artifact in manifest.artifacts.values() for file in artifact.files}
    for name in sorted({*doomed, *moved} - named):
        target = path_inside(root, name)
        waiting = path_inside(root, moved[name]) if name in moved else None
        with storage_errors("move", target):
            if waiting is not None and target.is_file() and waiting.parent.is_dir() and not waiting.exists():
                os.replace(target, waiting)
        remove_file(target)
        for parent in list(target.parents)[: name.count("/")]:
            with suppress(OSError):  # not empty, or already gone
                parent.rmdir()
    remove_file(path)
    with suppress(OSError):  # drafts are there
        path.parent.rmdir()
