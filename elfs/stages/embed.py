"""Images to embeddings and nearest neighbours."""

import json
from collections import Counter
from collections.abc import Callable
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
from elfs.train.encoding import encode_rows, transformed_sample, typical_side, unreadable_rows
from elfs.train.seeding import generator
from elfs.workspace.draft import Draft
from elfs.workspace.files import digest_json, json_bytes, sha256_file
from elfs.workspace.tensors import RowArray

__all__ = ["Listing", "prepare", "run"]

SHARD_ROWS = 65_536
"""Rows of one file of embeddings: the most that a killed run does again."""

Failures = dict[int, tuple[Outcome, str]]
"""Row number to what became of the image and why."""

PRETRAINED = "vit_base_patch16_224.dino"
"""The encoder for images that are not tiny, where its weights can be had."""

_TINY_SIDE = 32
_FIT_IMAGES = 20_000
_REASONS_SHOWN = 3
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
    image_side, remarks = None, Counter[str]()
    if source.has_images:
        image_side = typical_side(source.reader(table), np.flatnonzero(table.usable()))
    if config.embeddings is not None:
        encoder_name = f"own embeddings ({Path(config.embeddings).name})"
        failures = _copy_embeddings(job.draft, prepared, config) | _unreadable(job, prepared)
    else:
        encoder = _fitted_encoder(job, config, prepared, image_side)
        encoder_name = encoder.name
        failures, remarks = _encode(job, config, prepared, encoder)
    _check_broken(table, failures, config.max_broken)
    outcome = table.outcome.copy()
    outcome[list(failures)] = [code for code, _ in failures.values()]
    table = table.with_outcomes(outcome, {row: reason for row, (_, reason) in failures.items()})
    num_neighbors = _write_neighbors(job, table, config.neighbors)
    job.draft.save("samples", table.tensors())
    num_dims = _draft_rows(job.draft, len(table)).shape[1]
    summary = table.counts() | {"encoder": encoder_name, "dimensions": num_dims, "neighbors": num_neighbors}
    summary |= {remark: remarks[remark] for remark in (SEVERAL_FRAMES, ODD_SHAPE) if remarks[remark]}
    headline = f"{source.name}, {encoder_name} encoder   {len(table):,} x {num_dims}"
    return Result(headline, summary, {"samples": _facts(source, image_side)})


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
    return encoder.to(runtime.device())


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


def _encode(job: Job, config: EmbedConfig, prepared: Listing, encoder: Encoder) -> tuple[Failures, Counter[str]]:
    """Write the embeddings shard by shard; a shard that an interrupted run has finished is not done again."""
    table, draft, runtime = prepared.table, job.draft, job.runtime
    reader, workers = prepared.source.reader(table), runtime.workers_for(len(table))
    # Shards of another encoder do not count: what auto means may have changed since an interrupted run.
    mark = digest_json([encoder.name, encoder.dim]).removeprefix("sha256:")[:16]
    for stray in set(draft.directory.glob("failures-*")) - set(draft.directory.glob(f"failures-{mark}-*")):
        stray.unlink()
    failures: Failures = {}
    remarks: Counter[str] = Counter()
    with runtime.progress.task("embed", len(table), "images") as task:
        for start, stop, shard in _shards(len(table)):
            log = draft.directory / f"failures-{mark}-{start:012d}.json"
            if draft.has_shard("embeddings", shard) and log.exists():
                done = json.loads(log.read_bytes())
                failures |= {int(row): (Outcome(code), reason) for row, (code, reason) in done["failures"].items()}
                remarks += Counter(done["remarks"])
                task.advance(stop - start)
                continue
            rows = start + np.flatnonzero(table.usable()[start:stop])
            found = encode_rows(
                reader, rows, encoder, batch_size=config.batch_size, num_workers=workers, advance=task.advance
            )
            block = np.full((stop - start, encoder.dim), np.nan, dtype=np.float16)
            block[rows - start] = found.embeddings
            seen = {str(row): [int(outcome), reason] for row, (outcome, reason) in found.failures.items()}
            log.write_bytes(json_bytes({"failures": seen, "remarks": found.remarks}))
            draft.save("embeddings", {"embeddings": block}, shard=shard)
            failures |= found.failures
            remarks += found.remarks
            _check_broken(table, failures, config.max_broken)
    return failures, remarks


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
