"""Files that were written again since they were embedded, though their names and sizes are the same.

``.times`` in the workspace holds the time of the last write of each file, as it was before the file was read. No digest
covers it. A file whose time is another one now is decoded, and is another picture only where its content says so.
Importing this costs no torch.
"""

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.config import EmbedConfig, as_json
from elfs.data.samples import Outcome, SampleTable
from elfs.data.sources.file_list import can_be_read_again
from elfs.errors import CorruptArtifactError, MissingUpstreamError, StorageError
from elfs.parallel.runtime import Runtime
from elfs.pipeline.recorded_config import portable
from elfs.stages.embedding.listing import UNKNOWN_TIME, Listing, prepare
from elfs.workspace.names import TIMES_NAME
from elfs.workspace.tensors import load_tensors, save_tensors
from elfs.workspace.workspace import Workspace

__all__ = ["changed_rows", "digests_outside", "is_current", "note_times"]


def digests_outside(config: EmbedConfig, path: Path, source_root: Path | None) -> dict[str, str] | None:
    """Return the digests of all that embed reads, where it is as it was and no file was written since.

    The source is listed only where the config is the recorded one, and its list, if it has one, can be read again.

    Parameters
    ----------
    config : EmbedConfig
        What embed is told.
    path : Path
        The workspace, which need not exist.
    source_root : Path or None
        Folder of the images; None for the recorded one.

    Returns
    -------
    dict of str to str, or None
        The inputs of the record. None where there is something to do, to note, or to decode to know.
    """
    try:
        workspace = Workspace.open(path)
    except MissingUpstreamError:
        return None
    record, root = workspace.manifest.records.get("embed"), workspace.manifest.source_root
    if record is None or record.config != as_json(portable(config)) or str(source_root or root) != str(root):
        return None
    if config.files is not None and not can_be_read_again(config.files):
        return None
    listing = prepare(config, None if root is None else Path(root))
    known = _known_times(workspace)
    is_noted = listing.times is None or (known is not None and np.array_equal(known, listing.times))
    return record.inputs if is_noted and listing.inputs == record.inputs else None


def is_current(listing: Listing, workspace: Workspace, runtime: Runtime) -> bool:
    """Return whether every picture is the one that was embedded; the times of files are then noted anew.

    Parameters
    ----------
    listing : Listing
        The samples as they are now, the same as those of the workspace by ids and sizes.
    workspace : Workspace
        With samples and embeddings.
    runtime : Runtime
        Workers that decode what was written again.

    Returns
    -------
    bool
        True where nothing is known of the files' times, too.
    """
    if len(changed_rows(listing, workspace, runtime)):
        return False
    note_times(listing, workspace)
    return True


def changed_rows(listing: Listing, workspace: Workspace, runtime: Runtime) -> NDArray[np.int64]:
    """Return which samples of a listing are other pictures than those that were embedded under their names.

    Parameters
    ----------
    listing : Listing
        The samples as they are now.
    workspace : Workspace
        With samples and embeddings.
    runtime : Runtime
        Workers that decode what was written again.

    Returns
    -------
    ndarray of shape (n_changed,), int64
        Rows of the listing. Files that were not written since are not looked at.
    """
    none = np.zeros(0, np.int64)
    known = _known_times(workspace)
    if known is None or listing.times is None:
        return none
    old = SampleTable.from_tensors(workspace.arrays("samples"))
    position = old.names.find(listing.table.names)
    touched = (position >= 0) & (known[position] != listing.times) & (known[position] != UNKNOWN_TIME)
    rows = np.flatnonzero(touched & listing.table.usable())
    if not len(rows):
        return none
    contents = workspace.tensors("embeddings").get("content")
    if contents is None:  # an older elfs noted none
        return rows
    before = contents[position[rows]] if isinstance(contents, np.ndarray) else contents.take(position[rows])
    from elfs.stages.embedding.batches import inspect_images

    workers = runtime.workers_for(len(rows))
    with (
        runtime.ranks.working(),
        runtime.progress.task("embed: look at what was written again", len(rows), "images") as task,
    ):
        advance = runtime.advancing(task)
        failures, numbers = inspect_images(listing.reader, rows, num_workers=workers, advance=advance)
    failed = np.isin(rows, list(failures))
    differs = (numbers != before) | (failed != (old.outcome[position[rows]] != Outcome.OK))
    return rows[np.flatnonzero(differs)]


def note_times(listing: Listing, workspace: Workspace) -> None:
    """Write the times of the files down, where the workspace may be written.

    Parameters
    ----------
    listing : Listing
        The samples, as the workspace has them.
    workspace : Workspace
        With samples.
    """
    if listing.times is None:
        return
    tensors: dict[str, NDArray[Any]] = {"modified": listing.times, "samples": _mark(workspace)}
    with contextlib.suppress(StorageError):
        save_tensors(workspace.path / TIMES_NAME, tensors)


def _mark(workspace: Workspace) -> NDArray[np.uint8]:
    """Return what tells the samples of one embed from those of another."""
    digest = workspace.manifest.artifacts["samples"].digest
    return np.frombuffer(hashlib.sha256(digest.encode()).digest(), np.uint8)


def _known_times(workspace: Workspace) -> NDArray[np.int64] | None:
    if not (workspace.has("samples") and workspace.has("embeddings")):
        return None
    try:
        tensors = load_tensors(workspace.path / TIMES_NAME)
        times, mark = tensors["modified"], tensors["samples"]
    except (CorruptArtifactError, StorageError, KeyError):
        return None
    num_rows = workspace.manifest.artifacts["samples"].tensors["split"].shape[0]
    is_ours = np.array_equal(mark, _mark(workspace)) and times.dtype == np.int64 and times.shape == (num_rows,)
    return times if is_ours else None
