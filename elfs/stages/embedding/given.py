"""Embeddings that somebody else has made."""

import numpy as np
from numpy.typing import NDArray

from elfs.config import EmbedConfig
from elfs.data.embeddings_file import finite_rows
from elfs.data.hashing import NO_CONTENT, content_of_rows
from elfs.data.samples import Outcome, SampleTable
from elfs.data.sources import ImageReader
from elfs.parallel.runtime import Runtime
from elfs.stages.embedding.batches import inspect_images
from elfs.stages.embedding.listing import own_embeddings
from elfs.stages.embedding.rows import Failures, file_runs
from elfs.workspace.draft import Draft

__all__ = ["copy_embeddings", "inspected"]

_NOT_GIVEN = (Outcome.MISSING, "no embedding was given for it")
_NOT_FINITE = (Outcome.BROKEN, "its embedding is not finite")


def copy_embeddings(
    draft: Draft, table: SampleTable, config: EmbedConfig, contents: NDArray[np.int64] | None
) -> Failures:
    """Write the embeddings in the order of the samples.

    Parameters
    ----------
    draft : Draft
        Of embed.
    table : SampleTable
        All samples.
    config : EmbedConfig
        Names the file.
    contents : ndarray of shape (n,), int64, or None
        Numbers that equal pictures share; None where there are none to look at: equal embeddings then share theirs.

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
        unknown = np.flatnonzero(~finite_rows(block))
        for index in unknown.tolist():
            failures[start + index] = _NOT_GIVEN if found[index] < 0 else _NOT_FINITE
        block[unknown] = np.nan
        numbers = content_of_rows(block) if contents is None else contents[start:stop]
        draft.save("embeddings", {"embeddings": block, "content": numbers}, shard=shard)
    return failures


def inspected(runtime: Runtime, table: SampleTable, reader: ImageReader) -> tuple[Failures, NDArray[np.int64]]:
    """Return what is to be known of images that no encoder has looked at; all ranks call this.

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
    tuple of (dict of int to (Outcome, str), ndarray of shape (n,), int64)
        Which cannot be read, and the numbers that equal pictures share: what all ranks have found.
    """
    rows = np.flatnonzero(table.usable())
    start, stop = runtime.ranks.part(len(rows))
    rows = rows[start:stop]
    workers = runtime.workers_for(len(rows))
    with runtime.ranks.working(), runtime.progress.task("embed: look at the images", len(rows), "images") as task:
        failures, numbers = inspect_images(reader, rows, num_workers=workers, advance=runtime.advancing(task))
    found = {str(row): [int(outcome), reason] for row, (outcome, reason) in failures.items()}
    contents = np.full(len(table), NO_CONTENT, np.int64)
    everything: Failures = {}
    for part, its_rows, its_numbers in runtime.ranks.collect([found, rows.tolist(), numbers.tolist()]):
        everything |= {int(row): (Outcome(code), reason) for row, (code, reason) in part.items()}
        contents[its_rows] = its_numbers
    return everything, contents
