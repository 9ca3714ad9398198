"""Named data sets that lie on disk as one file an image: CINIC-10, and ImageNet with its subsets.

They are listed by the names in their folders alone: no file is opened or examined, sizes are not known. The folders
name the classes, but here they only say where an image lies, and which images a subset of ImageNet has.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elfs.data.samples import SampleTable, Split
from elfs.data.sources.folder import FolderReader
from elfs.data.sources.imagenet_subsets import IMAGENET_SUBSETS
from elfs.data.sources.path_table import PathTable, describe_error
from elfs.data.sources.torchvision_sets import default_data_root, fetch
from elfs.errors import InputDataError
from elfs.source_names import DATASETS

__all__ = ["ClassFoldersSource", "find_class_folders"]

_CINIC_URL = "https://datashare.ed.ac.uk/bitstream/handle/10283/3192/CINIC-10.tar.gz"
_CINIC_MD5 = "6ee4d0c996905fe93221de577967a372"
_WNID = re.compile(rb"n\d{8}")
_VALIDATION_IMAGE = re.compile(rb"ILSVRC2012_val_\d{8}\.JPEG")
_EXTENSIONS = (b".png", b".jpg", b".jpeg")

_CINIC_PARTS = {"train": Split.TRAIN, "valid": Split.TRAIN, "test": Split.TEST}
_IMAGENET_PARTS = {"train": Split.TRAIN, "val": Split.TEST}
_CINIC_PLACES = ("CINIC-10", "cinic-10", "cinic10", ".")
_IMAGENET_PLACES = ("imagenet", "ImageNet", "ILSVRC/Data/CLS-LOC", ".")


def find_class_folders(name: str, data_root: Path | None) -> Path:
    """Return the folder that holds ``train`` and the other parts of a data set.

    Parameters
    ----------
    name : str
        A key of ``source_names.DATASETS`` with class folders.
    data_root : Path or None
        Folder of named data sets, or of this one alone; None is `default_data_root`.

    Returns
    -------
    Path
        The first that has all parts, of: ``CINIC-10``, ``cinic-10``, ``cinic10`` or ``imagenet``, ``ImageNet``,
        ``ILSVRC/Data/CLS-LOC`` below the root, and the root itself.

    Raises
    ------
    InputDataError
        If there is none; the message says which files to put where.
    """
    root = default_data_root() if data_root is None else data_root
    is_cinic = name == "cinic10"
    parts = _CINIC_PARTS if is_cinic else _IMAGENET_PARTS
    for place in _CINIC_PLACES if is_cinic else _IMAGENET_PLACES:
        if all((root / place / part).is_dir() for part in parts):
            return root / place
    if is_cinic:
        advice = f"Put CINIC-10.tar.gz there for --download to unpack, or its folders in {root / 'CINIC-10'}"
        hint = f"elfs embed {name} --download"
    else:
        advice = (
            f"Put train (a folder for each class, n01440764 and so on) and val (the same, or the 50,000 files as they "
            f"were) in {root / 'imagenet'}; from ILSVRC2012_img_train.tar and its like torchvision.datasets.ImageNet "
            "makes them"
        )
        hint = f"elfs embed {name} --data-root FOLDER"
    raise InputDataError(
        f"{name} was not found in {root}: no folder there has {', '.join(parts)}. {advice}, "
        "or give their folder with --data-root.",
        hint=hint,
    )


@dataclass(frozen=True)
class ClassFoldersSource:
    """A named data set of one file an image.

    Attributes
    ----------
    name : str
        A key of ``source_names.DATASETS`` with class folders.
    root : Path or None
        As `find_class_folders` takes it.
    download : bool
        Whether CINIC-10 may be fetched if it is absent; ImageNet cannot be.
    max_pixels : int
        Larger images are TOO_LARGE.
    """

    name: str
    root: Path | None
    download: bool
    max_pixels: int

    channels = 3
    has_images = True

    @property
    def mirror(self) -> bool:
        """Whether a mirrored image still shows the same thing."""
        return DATASETS[self.name].mirror

    @property
    def num_classes(self) -> int | None:
        """How many classes the makers of the set drew."""
        return DATASETS[self.name].num_classes

    def list(self) -> SampleTable:
        """List train, then test images, in ascending order of the paths' bytes in each of their folders.

        Ids such as ``imagenet/train/n01440764/n01440764_10026.JPEG``; sizes are 0, unknown. Refused where a class of a
        subset is absent, or the images of ImageNet's val lie flat, which does not tell those of a subset.
        """
        folder = os.fsencode(self._folder())
        is_cinic = self.name == "cinic10"
        rows, splits = PathTable(), []
        for part, split in (_CINIC_PARTS if is_cinic else _IMAGENET_PARTS).items():
            directory, before = os.path.join(folder, part.encode()), len(rows)
            for path in _cinic_paths(directory) if is_cinic else self._imagenet_paths(directory):
                rows.add(b"/".join((self.name.encode(), part.encode(), path)), 0)
            if len(rows) == before:
                raise InputDataError(f"{self.name} has no image in {os.fsdecode(directory)}, expected class folders.")
            splits += [(split, len(rows) - before)]
        table = rows.table()
        codes, counts = zip(*splits, strict=True)
        return SampleTable.from_ids(table.names, np.repeat(np.array(codes, np.uint8), counts), table.num_bytes)

    def reader(self, table: SampleTable) -> FolderReader:
        """Return what reads the files."""
        prefix = f"{self.name}/"
        if len(table) and not table.id(0).startswith(prefix):
            raise InputDataError(f"the samples are not those of {self.name}: the first is {table.id(0)!r}.")
        folder = find_class_folders(self.name, self.root)
        return FolderReader(os.fsencode(os.path.abspath(folder)), table.names, self.max_pixels, len(prefix))

    def _folder(self) -> Path:
        try:
            return find_class_folders(self.name, self.root)
        except InputDataError:
            if not self.download or self.name != "cinic10":
                raise
        root = default_data_root() if self.root is None else self.root
        advice = "Put CINIC-10.tar.gz there, or give the folder of train, valid and test with --data-root."
        fetch(self.name, _CINIC_URL, _CINIC_MD5, root / "CINIC-10", advice)
        return find_class_folders(self.name, self.root)

    def _imagenet_paths(self, directory: bytes) -> Iterator[bytes]:
        """Yield the images of the set's classes, or all of a part that lies flat."""
        classes = [name for name in _names(directory, folders=True) if _WNID.fullmatch(name)]
        wanted = IMAGENET_SUBSETS.get(self.name)
        if not classes and directory.endswith(b"val"):
            if wanted is not None:
                raise InputDataError(
                    f"the images in {os.fsdecode(directory)} lie flat, which does not tell those of {self.name}; "
                    "expected a folder for each class, as torchvision.datasets.ImageNet makes them."
                )
            yield from (name for name in _names(directory) if _VALIDATION_IMAGE.fullmatch(name))
        elif wanted is not None:
            missing = sorted(wanted - {name.decode() for name in classes})
            if missing:
                raise InputDataError(
                    f"{len(missing)} of {len(wanted)} classes of {self.name} have no folder in "
                    f"{os.fsdecode(directory)}: {', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}."
                )
            classes = [name for name in classes if name.decode() in wanted]
        for name in classes:
            yield from _images(directory, name)


def _cinic_paths(directory: bytes) -> Iterator[bytes]:
    for name in _names(directory, folders=True):
        yield from _images(directory, name)


def _images(directory: bytes, class_name: bytes) -> Iterator[bytes]:
    for name in _names(os.path.join(directory, class_name)):
        if name.lower().endswith(_EXTENSIONS):
            yield class_name + b"/" + name


def _names(directory: bytes, *, folders: bool = False) -> list[bytes]:
    """Return the names in a directory that do not begin with a dot, sorted; what they are is known from the listing."""
    try:
        with os.scandir(directory) as entries:
            return sorted(
                entry.name for entry in entries if not entry.name.startswith(b".") and entry.is_dir() == folders
            )
    except OSError as error:
        message = f"{os.fsdecode(directory)} cannot be listed: {describe_error(error)}."
        raise InputDataError(message) from None
