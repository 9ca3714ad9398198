"""What becomes of a pool: its encoder at the beginning, samples and neighbours at the end."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elfs.config import EmbedConfig
from elfs.data.samples import SampleTable
from elfs.pipeline.artifact_facts import EmbeddingsNote
from elfs.pipeline.job import Job, Result
from elfs.pipeline.source_facts import SourceFacts
from elfs.stages.embedding.encoder import PoolEncoder, pool_encoder
from elfs.stages.embedding.listing import Listing
from elfs.stages.embedding.neighbors import write_neighbors
from elfs.stages.embedding.reuse import find_known_rows
from elfs.stages.embedding.rows import (
    REMARKS,
    Failures,
    RowEncoder,
    check_broken,
    draft_rows,
    embedding_pieces,
    top_reasons,
)
from elfs.stages.embedding.touched import changed_rows

__all__ = ["Embedded", "finish", "row_encoder"]


@dataclass(frozen=True)
class Embedded:
    """What is known of a pool once every row has its embedding, or a reason for having none.

    Attributes
    ----------
    encoder : str
        Name of the encoder, for people.
    image_side : int or None
        Short side of a typical image, in pixels.
    key : str or None
        Changes with anything that decides what an image becomes; None for embeddings of one's own.
    failures : dict of int to (Outcome, str)
        Images that could not be used; on the first rank.
    remarks : ndarray of shape (num_rows,), uint8
        What is to be said about images, as bits; on the first rank.
    widths : tuple of int
        Width of the embeddings of each part of the encoder; empty where it is not known.
    """

    encoder: str
    image_side: int | None
    key: str | None
    failures: Failures
    remarks: NDArray[np.uint8]
    widths: tuple[int, ...] = ()


def row_encoder(job: Job, config: EmbedConfig) -> tuple[RowEncoder, PoolEncoder]:
    """Return what embeds runs of rows of the pool, and the encoder that it does it with; all ranks call this.

    Parameters
    ----------
    job : Job
        Draft, runtime, and the listing.
    config : EmbedConfig
        What to embed and how.

    Returns
    -------
    tuple of (RowEncoder, PoolEncoder)
        Ready. What the artifacts that are there know already is taken over from them.
    """
    prepared = job.prepared
    assert isinstance(prepared, Listing)
    table, reader = prepared.table, prepared.reader
    pool = pool_encoder(job, config, prepared.source, table, reader)
    changed = functools.partial(changed_rows, prepared, job.workspace, job.runtime)
    known = find_known_rows(job, table, config.source, pool.key, changed)
    pieces = embedding_pieces(job.draft.directory, pool.key)
    return RowEncoder(job.runtime, config, table, reader, pool.encoder, pieces, known), pool


def finish(job: Job, config: EmbedConfig, embedded: Embedded) -> Result:
    """Write samples and neighbours, once the embeddings are in the draft; all ranks call this.

    Parameters
    ----------
    job : Job
        Draft, runtime, and the listing.
    config : EmbedConfig
        What to embed and how.
    embedded : Embedded
        What became of the images.

    Returns
    -------
    Result
        Empty on all ranks but the first.

    Raises
    ------
    InputDataError
        If too many images are broken, or fewer than two are left.
    """
    prepared, ranks = job.prepared, job.runtime.ranks
    assert isinstance(prepared, Listing)
    table, failures = prepared.table, embedded.failures
    if ranks.is_first:
        check_broken(table, failures, config.max_broken)
        outcome = table.outcome.copy()
        outcome[list(failures)] = [code for code, _ in failures.values()]
        table = table.with_outcomes(outcome, {row: reason for row, (_, reason) in failures.items()})
        job.draft.save("samples", table.tensors() | {"remarks": embedded.remarks})
        if reasons := top_reasons(table.reasons()):
            num_broken = int(np.count_nonzero(~table.usable()))
            said = "image is" if num_broken == 1 else "images are"
            job.runtime.warn(f"{num_broken:,} {said} left out: {reasons}.")
    ranks.wait()
    if not ranks.is_first:
        table = SampleTable.from_tensors(job.draft.load("samples"))
    embeddings = draft_rows(job.draft, len(table))
    found_neighbors = write_neighbors(job, table, embeddings, config)
    if not ranks.is_first:
        return Result("", {})
    summary = table.counts() | {"encoder": embedded.encoder, "dimensions": embeddings.shape[1]} | found_neighbors
    summary |= {
        name: count for name, bit in REMARKS.items() if (count := int(np.count_nonzero(embedded.remarks & bit)))
    }
    headline = f"{prepared.source.name}, {embedded.encoder} encoder   {len(table):,} x {embeddings.shape[1]}"
    if "neighbor_recall" in found_neighbors:
        headline += f", {found_neighbors['neighbor_recall']:.1%} of the neighbours found"
    note = EmbeddingsNote(embedded.key, embedded.widths if len(embedded.widths) > 1 else None)
    source = prepared.source
    facts = SourceFacts(
        source.name, source.channels, source.mirror, source.num_classes, source.has_images, embedded.image_side
    )
    return Result(headline, summary, {"samples": facts.as_json(), "embeddings": note.as_json()})
