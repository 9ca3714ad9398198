"""Embeddings that somebody else has made."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elfs.config import EmbedConfig
from elfs.data.embeddings_file import finite_rows, load_embeddings
from elfs.data.samples import Outcome, SampleTable
from elfs.data.sources import ImageReader
from elfs.data.text_column import TextColumn
from elfs.errors import InputDataError
from elfs.parallel.runtime import Runtime
from elfs.stages.embedding.batches import unreadable_rows
from elfs.stages.embedding.rows import Failures, file_runs
from elfs.workspace.draft import Draft

__all__ = ["copy_embeddings", "own_embeddings", "unreadable"]

_NOT_GIVEN = (Outcome.MISSING, "no embedding was given for it")
_NOT_FINITE = (Outcome.BROKEN, "its embedding is not finite")


def own_embeddings(config: EmbedConfig) -> tuple[TextColumn, NDArray[np.floating]]:
    """Return what the file of embeddings holds.

    Parameters
    ----------
    config : EmbedConfig
        Names the file, and that of the ids.

    Returns
    -------
    tuple of (TextColumn, ndarray of shape (n, dim))
        Ids and embeddings, row by row.

    Raises
    ------
    InputDataError
        If there is no file, or it cannot be used.
    """
    if config.embeddings is None:
        raise InputDataError(
            "no images and no --embeddings: there is nothing to embed.", hint="elfs embed --embeddings FILE"
        )
    return load_embeddings(Path(config.embeddings), None if config.ids is None else Path(config.ids))


def copy_embeddings(draft: Draft, table: SampleTable, config: EmbedConfig) -> Failures:
    """Write the embeddings in the order of the samples.

    Parameters
    ----------
    draft : Draft
        Of embed.
    table : SampleTable
        All samples.
    config : EmbedConfig
        Names the file.

    Returns
    -------
    dict of int to (Outcome, str)
        Rows without an embedding, or with one that is not finite.
    """
    ids, embeddings = own_embeddings(config)
    position = ids.find(table.names)
    failures: Failures = {}
    for start, stop, shard in file_runs(len(table)):
        block = np.full((stop - start, embeddings.shape[1]), np.nan, dtype=embeddings.dtype)
        found = position[start:stop]
        block[found >= 0] = embeddings[found[found >= 0]]
        for index in np.flatnonzero(~finite_rows(block)).tolist():
            failures[start + index] = _NOT_GIVEN if found[index] < 0 else _NOT_FINITE
        draft.save("embeddings", {"embeddings": block}, shard=shard)
    return failures


def unreadable(runtime: Runtime, table: SampleTable, reader: ImageReader) -> Failures:
    """Return the images that cannot be read, since no encoder has looked at them; all ranks call this.

    Parameters
    ----------
    runtime : Runtime
        Workers, progress, and the ranks, each of which looks at a part.
    table : SampleTable
        All samples.
    reader : ImageReader
        Of their images.

    Returns
    -------
    dict of int to (Outcome, str)
        What all ranks have found.
    """
    rows = np.flatnonzero(table.usable())
    start, stop = runtime.ranks.part(len(rows))
    rows = rows[start:stop]
    workers = runtime.workers_for(len(rows))
    with runtime.ranks.working(), runtime.progress.task("embed: look at the images", len(rows), "images") as task:
        failures = unreadable_rows(reader, rows, num_workers=workers, advance=runtime.advancing(task))
    said = runtime.ranks.collect({str(row): [int(outcome), reason] for row, (outcome, reason) in failures.items()})
    return {int(row): (Outcome(code), reason) for part in said for row, (code, reason) in part.items()}
