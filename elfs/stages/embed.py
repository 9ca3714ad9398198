"""Images to embeddings and nearest neighbours."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.config import EmbedConfig
from elfs.data.decoding import ODD_SHAPE, SEVERAL_FRAMES
from elfs.data.embeddings_file import finite_rows, load_embeddings
from elfs.data.hashing import listing_digest
from elfs.data.samples import Outcome, SampleTable
from elfs.data.sources import Source, open_source
from elfs.data.text_column import TextColumn
from elfs.errors import InputDataError, UsageError
from elfs.models.encoders import Encoder, build_encoder
from elfs.ops.neighbors import cosine_neighbors
from elfs.stages.job import Job, Prepared, Result
from elfs.stages.known_rows import embedding_key, find_known_rows
from elfs.train.encoding import (
    BatchEncoder,
    encode_rows,
    is_out_of_memory,
    out_of_memory,
    transformed_sample,
    typical_side,
    unreadable_rows,
)
from elfs.train.seeding import generator
from elfs.workspace.draft import Draft
from elfs.workspace.files import atomic_write, json_bytes, sha256_file
from elfs.workspace.tensors import RowArray

__all__ = ["Listing", "prepare", "run"]

SHARD_ROWS = 16_384
"""Rows of one file of embeddings: the most that a killed run does again."""

Failures = dict[int, tuple[Outcome, str]]
"""Row number to what became of the image and why."""

PRETRAINED = "vit_base_patch16_224.dino"
"""The encoder for images that are not tiny, where its weights can be had."""

_TINY_SIDE = 32
_FIT_IMAGES = 20_000
_REASONS_SHOWN = 3
_REMARKS = {SEVERAL_FRAMES: 1, ODD_SHAPE: 2}
_NOT_GIVEN = (Outcome.MISSING, "no embedding was given for it")
_NOT_FINITE = (Outcome.BROKEN, "its embedding is not finite")


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
            table.rows_of(_own_embeddings(config)[0])  # all of them, before --limit leaves some out
    else:
        ids, embeddings = _own_embeddings(config)
        table = SampleTable.from_ids(ids, np.zeros(len(embeddings), np.uint8), np.zeros(len(embeddings), np.int64))
    if config.limit is not None and config.limit < len(table):
        table = table.take(np.linspace(0, len(table) - 1, config.limit).round().astype(np.int64))
    inputs["external:source"] = listing_digest(table)
    return Listing(inputs, source=source, table=table)


def _own_embeddings(config: EmbedConfig) -> tuple[TextColumn, NDArray[np.floating]]:
    if config.embeddings is None:
        raise InputDataError(
            "no images and no --embeddings: there is nothing to embed.", hint="elfs embed --embeddings FILE"
        )
    return load_embeddings(Path(config.embeddings), None if config.ids is None else Path(config.ids))


def run(job: Job, config: EmbedConfig) -> Result:
    """Write samples, embeddings and neighbours.

    Parameters
    ----------
    job : Job
        Workspace, draft, runtime; ``job.prepared`` is the result of ``prepare``.
    config : EmbedConfig
        What to embed and how.

    Returns
    -------
    Result
        Sizes, encoder, what was left out and why.

    Raises
    ------
    InputDataError
        If too many images are broken, or fewer than two are left.
    """
    prepared = job.prepared
    assert isinstance(prepared, Listing)
    table, source = prepared.table, prepared.source
    image_side, key, remarks = None, None, np.zeros(len(table), np.uint8)
    if source.has_images:
        usable, workers = np.flatnonzero(table.usable()), job.runtime.workers_for(len(table))
        image_side = typical_side(source.reader(table), usable, num_workers=min(1, workers))
    if config.embeddings is not None:
        encoder_name = f"own embeddings ({Path(config.embeddings).name})"
        failures = _copy_embeddings(job.draft, prepared, config) | _unreadable(job, prepared)
    else:
        encoder = _fitted_encoder(job, config, prepared, image_side)
        encoder_name = encoder.name
        key = embedding_key(job, config, encoder.fingerprint)
        failures, remarks = _encode(job, config, prepared, encoder, key)
    _check_broken(table, failures, config.max_broken)
    outcome = table.outcome.copy()
    outcome[list(failures)] = [code for code, _ in failures.values()]
    table = table.with_outcomes(outcome, {row: reason for row, (_, reason) in failures.items()})
    num_neighbors = _write_neighbors(job, table, config.neighbors)
    job.draft.save("samples", table.tensors() | {"remarks": remarks})
    num_dims = _draft_rows(job.draft, len(table)).shape[1]
    summary = table.counts() | {"encoder": encoder_name, "dimensions": num_dims, "neighbors": num_neighbors}
    summary |= {name: count for name, bit in _REMARKS.items() if (count := int(np.count_nonzero(remarks & bit)))}
    headline = f"{source.name}, {encoder_name} encoder   {len(table):,} x {num_dims}"
    metadata = {"samples": _facts(source, image_side), "embeddings": {} if key is None else {"key": key}}
    return Result(headline, summary, metadata)


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


def _shards(num_rows: int) -> list[tuple[int, int, tuple[int, int] | None]]:
    """Return (first row, last row + 1, shard) of every file; a single file has no shard number."""
    count = -(-num_rows // SHARD_ROWS)
    bounds = [(start, min(start + SHARD_ROWS, num_rows)) for start in range(0, num_rows, SHARD_ROWS)]
    return [(start, stop, (index, count) if count > 1 else None) for index, (start, stop) in enumerate(bounds)]


def _fitted_encoder(job: Job, config: EmbedConfig, prepared: Listing, image_side: int | None) -> Encoder:
    """Return the encoder on its device, fitted to a sample of the pool if it learns from it."""
    assert image_side is not None  # prepare refuses a source that has neither images nor embeddings
    source, table, runtime = prepared.source, prepared.table, job.runtime
    encoder = _encoder(config, image_side, source.channels, runtime.warn)
    if encoder.needs_fit:
        rows = np.flatnonzero(table.eligible())
        chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), _FIT_IMAGES)).round().astype(np.int64)]
        reader, workers = source.reader(table), runtime.workers_for(len(chosen))
        with runtime.progress.task("embed: learn the encoder", len(chosen), "images") as task:
            images = transformed_sample(reader, chosen, encoder, num_workers=workers, advance=task.advance)
            encoder.fit(images, generator(config.seed, "encoder"))
    device = runtime.device()
    try:
        return encoder.to(device)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise out_of_memory(encoder.name, device) from None
        raise


def _encoder(config: EmbedConfig, image_side: int, channels: int, warn: Callable[[str], None]) -> Encoder:
    """Return the encoder that was asked for; else the best that can be had."""
    weights = None if config.weights is None else Path(config.weights)
    if config.encoder is not None:
        return build_encoder(config.encoder, weights=weights, image_size=image_side, channels=channels)
    if weights is not None:
        raise UsageError(f"--weights {weights} needs --encoder: which model are they for?")
    if image_side > _TINY_SIDE:
        try:
            return build_encoder(PRETRAINED, weights=None, image_size=image_side, channels=channels)
        except InputDataError as error:
            warn(f"{error} Taking the patches encoder, which needs no weights but knows less.")
    return build_encoder("patches", weights=None, image_size=image_side, channels=channels)


def _encode(
    job: Job, config: EmbedConfig, prepared: Listing, encoder: Encoder, key: str
) -> tuple[Failures, NDArray[np.uint8]]:
    """Write the embeddings shard by shard, and return failures and remarks.

    What an interrupted run has finished is not done again, nor what the artifacts that are there know already.
    """
    table, runtime, reader = prepared.table, job.runtime, prepared.source.reader(prepared.table)
    log, shards = _ShardLog(job.draft, key[:16]), _shards(len(table))
    finished = [job.draft.has_shard("embeddings", shard) and log.has(start) for start, _, shard in shards]
    is_open = np.repeat(~np.array(finished), [stop - start for start, stop, _ in shards])
    known = find_known_rows(job, table, config.source, key)
    is_known = is_open & (known.position >= 0) if known is not None else np.zeros(len(table), np.bool_)
    rows = np.flatnonzero(table.usable() & is_open & ~is_known)
    batches = BatchEncoder(encoder, config.batch_size, runtime.device(), runtime.warn)
    workers, ends = (
        runtime.workers_for(len(rows)),
        [stop for (_, stop, _), over in zip(shards, finished, strict=True) if not over],
    )
    failures: Failures = {}
    remarks = np.zeros(len(table), np.uint8)
    with (
        runtime.progress.task("embed", len(table), "images") as task,
        closing(encode_rows(reader, rows, batches, ends=ends, num_workers=workers, advance=task.advance)) as parts,
    ):
        for (start, stop, shard), over in zip(shards, finished, strict=True):
            if over:
                seen, remarks[start:stop] = log.read(start, stop)
                task.advance(stop - start)
            else:
                found, taken = next(parts), start + np.flatnonzero(is_known[start:stop])
                block = np.full((stop - start, encoder.dim), np.nan, dtype=np.float16)
                block[found.rows - start] = found.embeddings
                remarks[list(found.remarks)] = [sum(map(_REMARKS.__getitem__, said)) for said in found.remarks.values()]
                seen = found.failures
                if known is not None:
                    block[taken - start] = known.embeddings.take(known.position[taken])
                    remarks[taken] = known.remarks[known.position[taken]]
                    seen |= known.failures(taken)
                    task.advance(len(taken))
                job.draft.save("embeddings", {"embeddings": block}, shard=shard)
                log.write(start, seen, remarks[start:stop])
            failures |= seen
            _check_broken(table, failures, config.max_broken)
    return failures, remarks


class _ShardLog:
    """What a draft notes of the images of a finished shard, beside their embeddings."""

    def __init__(self, draft: Draft, mark: str) -> None:
        self._directory, self._mark = draft.directory, mark
        for stray in set(self._directory.glob("shard-*")) - set(self._directory.glob(f"shard-{mark}-*")):
            stray.unlink()  # what auto means may have changed since an interrupted run: not of the same encoder

    def _path(self, start: int) -> Path:
        return self._directory / f"shard-{self._mark}-{start:012d}.json"

    def has(self, start: int) -> bool:
        """Return whether the shard that begins at this row was finished."""
        return self._path(start).exists()

    def write(self, start: int, failures: Failures, remarks: NDArray[np.uint8]) -> None:
        """Note failures and remarks; their embeddings have been written."""
        seen = {str(row): [int(outcome), reason] for row, (outcome, reason) in failures.items()}
        bits = {str(index): int(remarks[index]) for index in np.flatnonzero(remarks).tolist()}
        with atomic_write(self._path(start)) as file:
            file.write(json_bytes({"failures": seen, "remarks": bits}))

    def read(self, start: int, stop: int) -> tuple[Failures, NDArray[np.uint8]]:
        """Return what was noted."""
        noted, remarks = json.loads(self._path(start).read_bytes()), np.zeros(stop - start, np.uint8)
        for index, bits in noted["remarks"].items():
            remarks[int(index)] = bits
        return {int(row): (Outcome(code), reason) for row, (code, reason) in noted["failures"].items()}, remarks


def _copy_embeddings(draft: Draft, prepared: Listing, config: EmbedConfig) -> Failures:
    """Write embeddings that somebody else has made, in the order of the samples."""
    table = prepared.table
    ids, embeddings = _own_embeddings(config)
    position = ids.find(table.names)
    failures: Failures = {}
    for start, stop, shard in _shards(len(table)):
        block = np.full((stop - start, embeddings.shape[1]), np.nan, dtype=embeddings.dtype)
        found = position[start:stop]
        block[found >= 0] = embeddings[found[found >= 0]]
        for index in np.flatnonzero(~finite_rows(block)).tolist():
            failures[start + index] = _NOT_GIVEN if found[index] < 0 else _NOT_FINITE
        draft.save("embeddings", {"embeddings": block}, shard=shard)
    return failures


def _unreadable(job: Job, prepared: Listing) -> Failures:
    """Return the images that cannot be read, where embeddings come from elsewhere and no encoder has looked at them."""
    if not prepared.source.has_images:
        return {}
    rows, runtime = np.flatnonzero(prepared.table.usable()), job.runtime
    reader, workers = prepared.source.reader(prepared.table), runtime.workers_for(len(rows))
    with runtime.progress.task("embed: look at the images", len(rows), "images") as task:
        return unreadable_rows(reader, rows, num_workers=workers, advance=task.advance)


def _check_broken(table: SampleTable, failures: Failures, max_broken: float) -> None:
    """Stop where more images are left out than the user allows."""
    usable = table.usable()
    usable[list(failures)] = False
    num_left_out = int(np.count_nonzero(~usable))
    if num_left_out <= max_broken * len(table) and num_left_out < len(table):
        return
    reasons = table.reasons() | {row: reason for row, (_, reason) in failures.items()}
    top = Counter(reasons.values()).most_common(_REASONS_SHOWN)
    raise InputDataError(
        f"{num_left_out:,} of {len(table):,} images cannot be used, --max-broken allows {max_broken:.0%}. "
        f"Reasons: {'; '.join(f'{count:,} x {reason}' for reason, count in top)}. "
        f"The first is {table.id(min(reasons))!r}."
    )


def _write_neighbors(job: Job, table: SampleTable, wanted: int) -> int:
    """Write the neighbours of every image that can be selected, among those images; return how many each has."""
    rows = np.flatnonzero(table.eligible())
    if len(rows) < 2:
        raise InputDataError(f"only {len(rows)} usable training images: neighbours need at least 2.")
    num_neighbors = min(wanted, len(rows) - 1)
    if num_neighbors < wanted:
        job.runtime.warn(
            f"{len(rows):,} images have at most {num_neighbors} neighbours: --neighbors {wanted} is too many."
        )
    embeddings = _draft_rows(job.draft, len(table))
    with job.runtime.progress.task("embed: neighbours", 1, "pass") as task:
        positions_MK, similarity_MK = cosine_neighbors(
            embeddings.take(rows), num_neighbors, device=job.runtime.device()
        )
        task.advance()
    indices = np.full((len(table), num_neighbors), -1, dtype=np.int32)
    similarity = np.full((len(table), num_neighbors), np.nan, dtype=np.float32)
    indices[rows] = rows[positions_MK.numpy()]
    similarity[rows] = similarity_MK.numpy()
    job.draft.save("neighbors", {"indices": indices, "similarity": similarity})
    return num_neighbors


def _draft_rows(draft: Draft, num_rows: int) -> RowArray:
    return RowArray([draft.load("embeddings", shard)["embeddings"] for _, _, shard in _shards(num_rows)])
