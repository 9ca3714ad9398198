"""What is to be embedded: the source with all its samples, as every rank sees it. Importing this costs no torch."""

import contextlib
import json
import os
import platform
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elfs.config import EmbedConfig
from elfs.data.decoding import BadImageError
from elfs.data.embeddings_file import embeddings_shape, load_embeddings, read_ids
from elfs.data.hashing import listing_digest
from elfs.data.samples import Outcome, SampleTable
from elfs.data.sources import ImageReader, Source, open_source
from elfs.data.sources.file_list import require_readable
from elfs.data.sources.folder import FolderReader
from elfs.data.text_column import TextColumn
from elfs.errors import InputDataError, UsageError
from elfs.pipeline.job import Prepared
from elfs.workspace.files import atomic_write, json_bytes, sha256_file
from elfs.workspace.tensors import load_tensors, save_tensors

__all__ = [
    "UNKNOWN_TIME",
    "Listing",
    "file_times",
    "own_embeddings",
    "prepare",
    "read_listing",
    "require_named_files",
    "write_listing",
]

_LISTING_NAME = "listing.safetensors"
_INPUTS_NAME = "listing.json"
_IMAGES_TRIED = 16

UNKNOWN_TIME = -1
"""Stands for the time of a file that cannot be examined."""


@dataclass(frozen=True, kw_only=True)
class Listing(Prepared):
    """Every sample of the source.

    Attributes
    ----------
    source : Source
        Where the images come from.
    table : SampleTable
        Every sample, in its final order.
    times : ndarray of shape (n,), int64, or None
        As `file_times` gives them, before any file is read.
    """

    source: Source
    table: SampleTable
    times: NDArray[np.int64] | None = None

    @cached_property
    def reader(self) -> ImageReader:
        """Reads the images of the table."""
        return self.source.reader(self.table)


def prepare(config: EmbedConfig, source_root: Path | None) -> Listing:
    """List the source, and digest all that is read from outside.

    Refused where the source is not there or empty, a named file does not exist, embeddings have ids that the source
    lacks, or files are listed for a source that is no folder.
    """
    inputs = {f"external:{option}": sha256_file(file) for option, file in _named_files(config).items()}
    if config.files is not None and config.source != "files":
        raise UsageError(f"--files lists images below a folder, and the source is '{config.source}'.")
    source = open_source(
        config.source, source_root, download=config.download, max_pixels=config.max_pixels, files=config.files
    )
    if source.has_images:
        table = source.list()
        _require_usable(table, config.files)
        if config.embeddings is not None:
            table.rows_of(own_embeddings(config)[0])  # all of them, before --limit leaves some out
    else:
        ids, embeddings = own_embeddings(config)
        table = SampleTable.from_ids(ids, np.zeros(len(embeddings), np.uint8), np.zeros(len(embeddings), np.int64))
    if config.limit is not None and config.limit < len(table):
        table = table.take(np.linspace(0, len(table) - 1, config.limit).round().astype(np.int64))
    inputs["external:source"] = listing_digest(table)
    listing = Listing(inputs, source=source, table=table)
    return replace(listing, times=file_times(listing.reader, len(table))) if source.has_images else listing


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


def require_named_files(config: EmbedConfig) -> None:
    """Refuse what `prepare` refuses of the files that are named, without reading embeddings or weights.

    Parameters
    ----------
    config : EmbedConfig
        Names them.

    Raises
    ------
    InputDataError
        If one is not there or cannot be read, or no embeddings or ids can be read from it.
    """
    if config.files is not None:
        require_readable(config.files)
    named = _named_files(config)
    if "embeddings" in named:
        read_ids(named.get("ids"), embeddings_shape(named["embeddings"])[0])


def _named_files(config: EmbedConfig) -> dict[str, Path]:
    """Return by their options the files that are read whole; refuse those that are not there."""
    named = {option: getattr(config, option) for option in ("weights", "embeddings", "ids")}
    for option, name in named.items():
        if name is not None and not Path(name).is_file():
            raise InputDataError(f"--{option} {name}: there is no such file.")
    return {option: Path(name) for option, name in named.items() if name is not None}


def file_times(reader: ImageReader, num_rows: int) -> NDArray[np.int64] | None:
    """Return when the files of a source were last written.

    Parameters
    ----------
    reader : ImageReader
        Of the source.
    num_rows : int
        How many samples it has.

    Returns
    -------
    ndarray of shape (num_rows,), int64, or None
        In nanoseconds; -1 for what cannot be examined. None where the source is no folder of files.
    """
    if not isinstance(reader, FolderReader):
        return None
    times = np.full(num_rows, UNKNOWN_TIME, np.int64)
    for row in range(num_rows):
        with contextlib.suppress(OSError, ValueError):
            times[row] = os.stat(reader.path(row)).st_mtime_ns
    return times


def _require_usable(table: SampleTable, files: str | None) -> None:
    """Refuse a list of which nothing is there, as of quoted paths or a table with more columns."""
    if files is not None and len(table) and not table.usable().any():
        reason = table.reasons().get(0, "it cannot be read")
        raise InputDataError(
            f"none of the {len(table):,} files of --files {files} can be read. The first was looked for as "
            f"{table.id(0)!r}: {reason}. Expected one path a line, without quotes, trailing spaces and more columns."
        )


def write_listing(prepared: Listing, directory: Path) -> None:
    """Write the listing down for the other ranks."""
    save_tensors(directory / _LISTING_NAME, prepared.table.tensors())
    with atomic_write(directory / _INPUTS_NAME) as file:
        file.write(json_bytes(prepared.inputs))


def read_listing(config: EmbedConfig, source_root: Path | None, directory: Path) -> Listing:
    """Take over the listing of the first rank, on another one, whose host has to see the images."""
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
