"""Images to embeddings and nearest neighbours."""

import json
import platform
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.config import EmbedConfig
from elfs.data.decoding import BadImageError
from elfs.data.hashing import listing_digest
from elfs.data.samples import Outcome, SampleTable
from elfs.data.sources import ImageReader, Source, open_source
from elfs.errors import InputDataError, UsageError
from elfs.stages.embedding_rows import (
    REMARKS,
    Failures,
    RowEncoder,
    check_broken,
    draft_rows,
    embedding_pieces,
    noted,
    publish_pieces,
    require_all,
)
from elfs.stages.job import Job, Prepared, Result
from elfs.stages.known_rows import find_known_rows
from elfs.stages.neighbor_search import write_neighbors
from elfs.stages.own_embeddings import copy_embeddings, own_embeddings, unreadable
from elfs.stages.pieces import Run
from elfs.stages.pool_encoder import PoolEncoder, pool_encoder
from elfs.train.encoding import typical_side
from elfs.train.limits import require_rows
from elfs.workspace.files import atomic_write, json_bytes, sha256_file
from elfs.workspace.tensors import load_tensors, save_tensors

__all__ = ["Found", "Listing", "finish", "join", "prepare", "row_encoder", "run", "share"]

_LISTING_NAME = "listing.safetensors"
_INPUTS_NAME = "listing.json"
_IMAGES_TRIED = 16


@dataclass(frozen=True, kw_only=True)
class Listing(Prepared):
    """Every sample of the source.

    Attributes
    ----------
    source : Source
        Where the images come from.
    table : SampleTable
        Every sample, in its final order.
    """

    source: Source
    table: SampleTable

    @cached_property
    def reader(self) -> ImageReader:
        """Reads the images of the table."""
        return self.source.reader(self.table)


@dataclass(frozen=True)
class Found:
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
    """

    encoder: str
    image_side: int | None
    key: str | None
    failures: Failures
    remarks: NDArray[np.uint8]


def prepare(config: EmbedConfig, source_root: Path | None) -> Listing:
    """List the source.

    Parameters
    ----------
    config : EmbedConfig
        What to embed.
    source_root : Path or None
        Folder of the images or of the named data sets.

    Returns
    -------
    Listing
        The samples and the digests of all outside inputs.

    Raises
    ------
    InputDataError
        If the source is not there, is empty, a named file does not exist, or embeddings have ids that it lacks.
    UsageError
        If files are listed for a source that is no folder.
    """
    inputs = {}
    for option in ("weights", "embeddings", "ids"):
        name = getattr(config, option)
        if name is not None:
            if not Path(name).is_file():
                raise InputDataError(f"--{option} {name}: there is no such file.")
            inputs[f"external:{option}"] = sha256_file(Path(name))
    if config.files is not None and config.source != "files":
        raise UsageError(f"--files lists images below a folder, and the source is '{config.source}'.")
    source = open_source(
        config.source, source_root, download=config.download, max_pixels=config.max_pixels, files=config.files
    )
    if source.has_images:
        table = source.list()
        if config.embeddings is not None:
            table.rows_of(own_embeddings(config)[0])  # all of them, before --limit leaves some out
    else:
        ids, embeddings = own_embeddings(config)
        table = SampleTable.from_ids(ids, np.zeros(len(embeddings), np.uint8), np.zeros(len(embeddings), np.int64))
    if config.limit is not None and config.limit < len(table):
        table = table.take(np.linspace(0, len(table) - 1, config.limit).round().astype(np.int64))
    inputs["external:source"] = listing_digest(table)
    return Listing(inputs, source=source, table=table)


def share(prepared: Listing, directory: Path) -> None:
    """Write the listing down for the other ranks.

    Parameters
    ----------
    prepared : Listing
        As `prepare` gave it to the first rank.
    directory : Path
        Of the draft.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    save_tensors(directory / _LISTING_NAME, prepared.table.tensors())
    with atomic_write(directory / _INPUTS_NAME) as file:
        file.write(json_bytes(prepared.inputs))


def join(config: EmbedConfig, source_root: Path | None, directory: Path) -> Listing:
    """Take over the listing of the first rank, on another one.

    Parameters
    ----------
    config : EmbedConfig
        What to embed.
    source_root : Path or None
        Folder of the images or of the named data sets.
    directory : Path
        Of the draft.

    Returns
    -------
    Listing
        The same as on the first rank.

    Raises
    ------
    InputDataError
        If this host cannot see the images.
    """
    table = SampleTable.from_tensors(load_tensors(directory / _LISTING_NAME))
    inputs: dict[str, str] = json.loads((directory / _INPUTS_NAME).read_bytes())
    try:
        source = open_source(config.source, source_root, download=config.download, max_pixels=config.max_pixels)
        listing = Listing(inputs, source=source, table=table)
        if source.has_images:
            _require_images(listing)
    except InputDataError as error:
        message = f"{platform.node()} cannot see the images: {error.message}"
        raise InputDataError(message, hint=error.hint) from None
    return listing


def _require_images(listing: Listing) -> None:
    """Refuse a listing of which no image is there."""
    rows = np.flatnonzero(listing.table.usable())
    reason = ""
    for row in rows[np.linspace(0, len(rows) - 1, min(len(rows), _IMAGES_TRIED)).astype(np.int64)].tolist():
        try:
            listing.reader.read(row)
        except BadImageError as error:
            if error.outcome == Outcome.MISSING:
                reason = f"{listing.table.id(row)}: {error.reason}"
                continue
        return
    if reason:
        raise InputDataError(f"none of {min(len(rows), _IMAGES_TRIED)} that were tried is there ({reason}).")


def run(job: Job, config: EmbedConfig) -> Result:
    """Write samples, embeddings and neighbours; all ranks call this.

    Parameters
    ----------
    job : Job
        Workspace, draft, runtime; ``job.prepared`` is the result of ``prepare`` or ``join``.
    config : EmbedConfig
        What to embed and how.

    Returns
    -------
    Result
        Sizes, encoder, what was left out and why; empty on all ranks but the first.

    Raises
    ------
    InputDataError
        If too many images are broken, fewer than two are left, or there are more ranks than images.
    """
    prepared, ranks = job.prepared, job.runtime.ranks
    assert isinstance(prepared, Listing)
    require_rows(len(prepared.table), ranks)
    return finish(job, config, _found(job, config, prepared))


def _found(job: Job, config: EmbedConfig, prepared: Listing) -> Found:
    if config.embeddings is None:
        return _embed(job, config, prepared)
    table, runtime = prepared.table, job.runtime
    image_side, failures = None, Failures()
    if prepared.source.has_images:
        failures = unreadable(runtime, table, prepared.reader)
    if runtime.ranks.is_first:
        if prepared.source.has_images:
            usable, workers = np.flatnonzero(table.usable()), runtime.workers_for(len(table))
            image_side = typical_side(prepared.reader, usable, num_workers=min(1, workers))
        failures = copy_embeddings(job.draft, table, config) | failures
    name = f"own embeddings ({Path(config.embeddings).name})"
    return Found(name, image_side, None, failures, np.zeros(len(table), np.uint8))


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
    known = find_known_rows(job, table, config.source, pool.key)
    pieces = embedding_pieces(job.draft.directory, pool.key)
    return RowEncoder(job.runtime, config, table, reader, pool.encoder, pieces, known), pool


def _embed(job: Job, config: EmbedConfig, prepared: Listing) -> Found:
    """Make the rows that are not there yet, each rank its share, and put the files of embeddings together."""
    table, runtime, ranks = prepared.table, job.runtime, job.runtime.ranks
    rows, pool = row_encoder(job, config)
    pieces, plan = rows.pieces, None
    if ranks.is_first:
        if pool.difference:
            runtime.warn(f"what --shard has made does not count, it was made in another way: {pool.difference}.")
        for path in pieces.drop_damaged():
            runtime.warn(f"{path.name} is damaged: its images are embedded again.")
        plan = rows.plan((0, len(table)), ranks.size)
    runs: list[Run] = [(start, stop) for start, stop in ranks.share(plan)[ranks.rank]]
    rows.encode(runs, lambda failures: check_broken(table, failures, config.max_broken))
    ranks.wait()
    failures, remarks = Failures(), np.zeros(len(table), np.uint8)
    if ranks.is_first:
        require_all(pieces, len(table))
        failures, remarks = noted(pieces, len(table))
        check_broken(table, failures, config.max_broken)
        publish_pieces(job.draft, pieces, len(table))
    return Found(pool.encoder.name, pool.image_side, pool.key, failures, remarks)


def finish(job: Job, config: EmbedConfig, found: Found) -> Result:
    """Write samples and neighbours, once the embeddings are in the draft; all ranks call this.

    Parameters
    ----------
    job : Job
        Draft, runtime, and the listing.
    config : EmbedConfig
        What to embed and how.
    found : Found
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
    table, failures = prepared.table, found.failures
    if ranks.is_first:
        check_broken(table, failures, config.max_broken)
        outcome = table.outcome.copy()
        outcome[list(failures)] = [code for code, _ in failures.values()]
        table = table.with_outcomes(outcome, {row: reason for row, (_, reason) in failures.items()})
        job.draft.save("samples", table.tensors() | {"remarks": found.remarks})
    ranks.wait()
    if not ranks.is_first:
        table = SampleTable.from_tensors(job.draft.load("samples"))
    embeddings = draft_rows(job.draft, len(table))
    found_neighbors = write_neighbors(job, table, embeddings, config)
    if not ranks.is_first:
        return Result("", {})
    summary = table.counts() | {"encoder": found.encoder, "dimensions": embeddings.shape[1]} | found_neighbors
    summary |= {name: count for name, bit in REMARKS.items() if (count := int(np.count_nonzero(found.remarks & bit)))}
    headline = f"{prepared.source.name}, {found.encoder} encoder   {len(table):,} x {embeddings.shape[1]}"
    if "neighbor_recall" in found_neighbors:
        headline += f", {found_neighbors['neighbor_recall']:.1%} of the neighbours found"
    key = {} if found.key is None else {"key": found.key}
    return Result(headline, summary, {"samples": _facts(prepared.source, found.image_side), "embeddings": key})


def _facts(source: Source, image_side: int | None) -> dict[str, Any]:
    """Return what later stages need to know of the source."""
    return {
        "source": source.name,
        "channels": source.channels,
        "mirror": source.mirror,
        "num_classes": source.num_classes,
        "has_images": source.has_images,
        "image_side": image_side,
    }
