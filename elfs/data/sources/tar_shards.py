"""Uncompressed tar files of images, such as the shards of WebDataset.

A sample is a regular member whose name has an image's extension, or a link to one of the same shard. Its WebDataset
key is its name up to the first dot of the last part. The id is the key if no key comes twice in all shards; else the
shard's name and the key; else the shard's name and the member's whole name, where a member that a later one of the same
name replaces is left out. A source that is one file lends no shard's name. Names are ids and nothing else: nothing is
unpacked. Only headers are read to list a shard; an image is read where it lies. Where a header is damaged the list goes
on at the next one that is right, with a warning; so it does, without one, where archives were joined. Splits follow the
names of the shards (`elfs.data.sources.shards.shard_splits`).
"""

import contextlib
import functools
import itertools
import logging
import os
import posixpath
import shlex
import tarfile
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elfs.data.decoding import BadImageError, decode
from elfs.data.samples import Outcome, SampleTable
from elfs.data.sniffing import IMAGE_EXTENSIONS
from elfs.data.sources.folder import most_bytes
from elfs.data.sources.path_table import describe_error, outcome_of
from elfs.data.sources.shards import find_shards, shard_splits
from elfs.data.sources.tar_damage import Shard, has_whole_name, tell_end, tell_gap
from elfs.data.text_column import TextColumn
from elfs.errors import InputDataError

__all__ = ["TarReader", "TarSource"]

_log = logging.getLogger(__name__)

_COMPRESSED_EXTENSIONS = {
    ".tar.gz": "gunzip",
    ".tgz": "gunzip",
    ".tar.bz2": "bunzip2",
    ".tar.xz": "unxz",
    ".tar.zst": "unzstd",
}
_MAX_LINKS = 8
_COMPRESSED_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


@dataclass(frozen=True, slots=True)
class TarReader:
    """Reads members of tar files. A file is opened for each image, so that processes share nothing.

    Attributes
    ----------
    shards : tuple of str
        Absolute paths.
    shard : ndarray of shape (n,), int32
        Which of them, by row.
    offset, num_bytes : ndarray of shape (n,), int64
        Where in the file the image begins, and its length.
    max_pixels : int
        Larger images are TOO_LARGE.
    """

    shards: tuple[str, ...]
    shard: NDArray[np.int32]
    offset: NDArray[np.int64]
    num_bytes: NDArray[np.int64]
    max_pixels: int

    def read(self, row: int) -> Image.Image:
        """Read and decode one member.

        MISSING where the shard is gone, BROKEN where it is cut off, TOO_LARGE where the member is longer than any image
        of `max_pixels` could be.
        """
        expected, limit = int(self.num_bytes[row]), most_bytes(self.max_pixels)
        if expected > limit:
            raise BadImageError(Outcome.TOO_LARGE, f"a member of {expected:,} bytes, expected at most {limit:,}")
        try:
            with open(self.shards[self.shard[row]], "rb", buffering=0) as file:
                file.seek(int(self.offset[row]))
                data = file.read(expected)
        except OSError as error:
            raise BadImageError(outcome_of(error), describe_error(error)) from None
        if len(data) < expected:
            raise BadImageError(Outcome.BROKEN, f"the shard ends after {len(data):,} of its {expected:,} bytes")
        return decode(data, self.max_pixels)


@dataclass(frozen=True)
class TarSource:
    """Images in tar files.

    Attributes
    ----------
    root : Path
        A tar file, or a folder of them.
    max_pixels : int
        Larger images are TOO_LARGE.
    suffix : str
        Of members, those count whose names end so, in either case, such as ``.jpg`` or ``.rgb.png`` where a sample has
        masks beside its image. Empty: all images.
    """

    root: Path
    max_pixels: int
    suffix: str = ""

    channels = 3
    mirror = True
    num_classes = None
    has_images = True

    @property
    def name(self) -> str:
        """``tar``, with ``:`` and the suffix where there is one."""
        return f"tar:{self.suffix}" if self.suffix else "tar"

    def list(self) -> SampleTable:
        """List the images, shard by shard in ascending order of their names, each in its own order.

        Ids follow the rule of this module. Refused where a shard is compressed or no tar file.
        """
        return self._index[0]

    def reader(self, table: SampleTable) -> TarReader:
        """Return what reads the images; the headers of the shards are read unless `list` has done so."""
        listing, index = self._index
        rows = listing.rows_of(table.names)
        return TarReader(index.shards, index.shard[rows], index.offset[rows], index.num_bytes[rows], self.max_pixels)

    def count(self, enough: int) -> int:
        """Return how many images there are at most, counted no further than is enough; nothing is said of damage.

        Parameters
        ----------
        enough : int
            The headers of no more images than this are read.

        Returns
        -------
        int
            At most `enough`.

        Raises
        ------
        InputDataError
            If there is no shard.
        tarfile.TarError, OSError
            If one cannot be read.
        """
        return sum(1 for _ in itertools.islice(self._names(), enough))

    def _names(self) -> Iterator[str]:
        suffix = self.suffix.lower()
        for path in find_shards(self.root, ".tar")[0]:
            with _open(path) as shard:
                while (member := shard.next()) is not None:
                    shard.members.clear()  # type: ignore[attr-defined]  # else it keeps each
                    if _is_image(member) and member.name.lower().endswith(suffix):
                        yield member.name

    @functools.cached_property
    def _index(self) -> tuple[SampleTable, TarReader]:
        """Return the listing, and what reads all of it."""
        _refuse_compressed(self.root)
        paths, shards = find_shards(self.root, ".tar")
        members = _Members(self.suffix.lower())
        names = TextColumn.from_strings(members.names(paths))
        if not len(names):
            ending = f" whose name ends in {self.suffix!r}" if self.suffix else ""
            raise InputDataError(f"no image{ending} in the {len(paths):,} tar files of {self.root}.")
        shard = np.repeat(np.arange(len(paths), dtype=np.int32), members.counts)
        ids, rows = _ids(names, shards, shard)
        splits, sizes = shard_splits(shards, members.counts)[rows], np.frombuffer(members.sizes, np.int64)[rows]
        reader = TarReader(
            tuple(os.path.abspath(path) for path in paths),
            shard[rows],
            np.frombuffer(members.starts, np.int64)[rows],
            sizes,
            self.max_pixels,
        )
        return SampleTable.from_ids(ids, splits, sizes), reader


@dataclass(slots=True)
class _Members:
    """Where the images of all shards lie: offset and size of each, and how many each shard has."""

    suffix: str
    starts: "array[int]" = field(default_factory=lambda: array("q"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    counts: list[int] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)

    def names(self, paths: tuple[Path, ...]) -> Iterator[str]:
        """Read the headers of the shards and yield the images' names, without ``.``, ``..`` and empty parts."""
        for path in paths:
            before = len(self.starts)
            try:
                with _open(path) as shard, path.open("rb") as file:
                    yield from self._images(path, shard, file)
                if self.links:
                    with _open(path) as shard:
                        yield from self._linked(path, shard)
            except tarfile.TarError as error:
                raise InputDataError(f"{path} is no tar file that can be read to its end: {error}.") from None
            except OSError as error:
                raise InputDataError(f"{path} cannot be read: {describe_error(error)}.") from None
            self.counts.append(len(self.starts) - before)

    def _images(self, path: Path, shard: tarfile.TarFile, file: BinaryIO) -> Iterator[str]:
        """Yield what regular members there are, and say where headers are damaged; links are kept for later."""
        end, num_sparse = 0, 0
        self.links.clear()
        while (member := shard.next()) is not None:
            shard.members.clear()  # type: ignore[attr-defined]  # else it keeps each
            tell_gap(path, file, end, member.offset)
            end = shard.offset
            if "\0" in member.name or not has_whole_name(file, member):
                _log.warning("%s is damaged: the name of the member at byte %d; it is not listed", path, member.offset)
            elif _is_image(member) and member.name.lower().endswith(self.suffix):
                if member.islnk() or member.issym():
                    self.links[_clean(member.name)] = _target(member)
                elif member.issparse():
                    num_sparse += 1
                elif member.isreg():
                    self.starts.append(member.offset_data)
                    self.sizes.append(member.size)
                    yield _clean(member.name)
        tell_end(path, file, end)
        if num_sparse:
            _log.warning("%s: %d sparse members are not listed, their bytes do not lie together", path, num_sparse)

    def _linked(self, path: Path, shard: tarfile.TarFile) -> Iterator[str]:
        """Yield the members that are links to images of the same shard, behind all others."""
        wanted, found = set(self.links.values()) - self.links.keys(), dict[str, tuple[int, int]]()
        while (member := shard.next()) is not None:
            shard.members.clear()  # type: ignore[attr-defined]
            if (name := _clean(member.name)) in wanted and member.isreg() and not member.issparse():
                found[name] = (member.offset_data, member.size)
        num_lost = 0
        for name, target in self.links.items():
            for _ in range(_MAX_LINKS):
                target = self.links.get(target, target)
            if target not in found:
                num_lost += 1
                continue
            start, size = found[target]
            self.starts.append(start)
            self.sizes.append(size)
            yield name
        if num_lost:
            _log.warning("%s: %d links lead to no member of it and are not listed", path, num_lost)


def _open(path: Path) -> tarfile.TarFile:
    return Shard.open(path, "r:", encoding="utf-8", errors="surrogateescape", ignore_zeros=True)


def _clean(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", ".", ".."))


def _target(member: tarfile.TarInfo) -> str:
    """Return the name that a link leads to: a hard link's from the top, a symbolic link's from where it lies."""
    if member.islnk():
        return _clean(member.linkname)
    target = posixpath.normpath(posixpath.join(posixpath.dirname(_clean(member.name)), member.linkname))
    return "" if target.startswith(("/", "..")) else target


def _is_image(member: tarfile.TarInfo) -> bool:
    name = member.name.rpartition("/")[2]
    extension = os.path.splitext(name)[1].lower().encode("utf-8", "surrogateescape")
    return extension in IMAGE_EXTENSIONS and not name.startswith(".")


def _ids(names: TextColumn, shards: tuple[str, ...], shard: NDArray[np.int32]) -> tuple[TextColumn, NDArray[np.int64]]:
    """Return ids by the rule of this module, and the rows that have one."""
    keys = TextColumn.from_strings(_key(name) for name in names)
    if keys.first_duplicate() is None:
        return keys, np.arange(len(keys))
    prefixes = [f"{name}/" if name else "" for name in shards]
    keys = TextColumn.from_strings(prefixes[number] + key for number, key in zip(shard.tolist(), keys, strict=True))
    first = keys.first_duplicate()
    if first is None:
        return keys, np.arange(len(keys))
    _tell_several(names, shard)
    whole = (prefixes[number] + name for number, name in zip(shard.tolist(), names, strict=True))
    last = {name: row for row, name in enumerate(whole)}
    if len(last) < len(keys):
        _log.warning("%d members of tar files are replaced by later ones of the same name", len(keys) - len(last))
    rows = np.sort(np.fromiter(last.values(), np.int64, len(last)))
    return TextColumn.from_strings(sorted(last, key=last.__getitem__)), rows


def _tell_several(names: TextColumn, shard: NDArray[np.int32]) -> None:
    """Say that samples have several images, such as masks, which are all in the pool."""
    counts = Counter((number, _key(name)) for number, name in dict.fromkeys(zip(shard.tolist(), names, strict=True)))
    several = [place for place, count in counts.items() if count > 1]
    if several:
        example = [
            name for number, name in zip(shard.tolist(), names, strict=True) if (number, _key(name)) == several[0]
        ]
        _log.warning(
            "%d samples have several images each, such as %s: all of them are in the pool, masks too; "
            "tar:PATH:.EXTENSION takes those whose names end so",
            len(several),
            " and ".join(dict.fromkeys(example)),
        )


def _key(name: str) -> str:
    directory, slash, base = name.rpartition("/")
    return directory + slash + base.partition(".")[0]


def _refuse_compressed(root: Path) -> None:
    """Refuse shards in which no image can be reached without unpacking all before it; other archives are told."""
    found = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
    found = [path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts)]
    has_plain = any(path.name.lower().endswith(".tar") for path in found)
    for path in found:
        name = path.name.lower()
        compressed = name.endswith(tuple(_COMPRESSED_EXTENSIONS))
        if compressed and has_plain and path != root:
            _log.warning("%s is compressed and no shard: it is left out", path)
            continue
        if not compressed and (path == root or name.endswith(".tar")):
            with contextlib.suppress(OSError), path.open("rb") as file:  # who reads it next says what is wrong
                compressed = file.read(6).startswith(_COMPRESSED_MAGIC)
        if compressed:
            tool = next((tool for extension, tool in _COMPRESSED_EXTENSIONS.items() if name.endswith(extension)), None)
            raise InputDataError(
                f"{path} is compressed: its images cannot be reached one by one; expected a plain .tar.",
                hint=f"{tool} {shlex.quote(str(path))}" if tool else None,
            )
