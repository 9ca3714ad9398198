"""What a commit or a removal is about to do, written down first, so that a crash in the middle is put right later."""

import os
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from elfs.errors import CorruptArtifactError
from elfs.workspace.documents import MAX_JSON_BYTES, parse_json
from elfs.workspace.files import atomic_write, json_bytes, make_directory, remove_file, remove_tree, storage_errors
from elfs.workspace.manifest import Manifest
from elfs.workspace.names import JOURNAL_NAME, PARTIAL_NAME
from elfs.workspace.parsing import FileName, fail, parse_fields
from elfs.workspace.paths import is_plain_path, path_inside

__all__ = ["settle_journal", "write_journal"]


_DRAFT_PARTS = 3
"""Parts of a draft's directory: ``partial/<record>/<key>``."""


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


def _waiting_name(value: Any, field: str) -> str:
    is_waiting = isinstance(value, str) and is_plain_path(value) and value.startswith(PARTIAL_NAME + "/")
    return str(value) if is_waiting else fail(field, "a file of a draft", value)


@dataclass(frozen=True)
class _Journal:
    """What `write_journal` wrote."""

    doomed: tuple[FileName, ...]
    moved: dict[FileName, Annotated[str, _waiting_name]]


def _read(path: Path) -> _Journal:
    try:
        with storage_errors("read", path), path.open("rb") as file:
            data = file.read(MAX_JSON_BYTES + 1)
        return _Journal(**parse_fields(_Journal, parse_json(data, str(path)), str(path)))
    except CorruptArtifactError:
        raise CorruptArtifactError(
            f"{path} is no journal of this workspace.", hint=f"rm {shlex.quote(str(path))}"
        ) from None


def settle_journal(root: Path, manifest: Manifest) -> None:
    """Finish or undo what the journal says, by what the manifest names; do nothing if there is no journal.

    Files that were moved in but are not named go back to where they waited, if their draft is still there. All other
    files of the journal that are not named are removed, and so is a draft that was published as a whole.

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
        _remove_empty(path.parent)
        return
    journal = _read(path)
    named = {file.name for artifact in manifest.artifacts.values() for file in artifact.files}
    for name in sorted({*journal.doomed, *journal.moved} - named):
        target = path_inside(root, name)
        waiting = path_inside(root, journal.moved[name]) if name in journal.moved else None
        with storage_errors("move", target):
            if waiting is not None and target.is_file() and waiting.parent.is_dir() and not waiting.exists():
                os.replace(target, waiting)
        remove_file(target)
        for parent in list(target.parents)[: name.count("/")]:
            with suppress(OSError):  # not empty, or already gone
                parent.rmdir()
    _drop_published(root, journal, named)
    remove_file(path)
    _remove_empty(path.parent)


def _drop_published(root: Path, journal: _Journal, named: set[str]) -> None:
    """Remove the draft of a commit that went through; before the files were moved it is what the next run needs."""
    waiting = [path_inside(root, name) for name in journal.moved.values()]
    if set(journal.moved) <= named and not any(path.exists() for path in waiting):
        for draft in {Path(*Path(name).parts[:_DRAFT_PARTS]) for name in journal.moved.values()}:
            remove_tree(root / draft)


def _remove_empty(partial: Path) -> None:
    """Remove the folder of the drafts and the folders of records in it, as far as nothing is in them."""
    with suppress(OSError):
        for folder in sorted(partial.iterdir()):
            with suppress(OSError):  # a draft is there
                folder.rmdir()
        partial.rmdir()
