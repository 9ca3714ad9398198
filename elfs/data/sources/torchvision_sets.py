"""Named data sets whose files torchvision can read and fetch. Only their images are looked at here."""

import contextlib
import os
import shutil
import sys
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.data.samples import SampleTable, Split
from elfs.data.sources.arrays import ArrayReader, array_reader, array_table
from elfs.errors import InputDataError
from elfs.source_names import DATASETS

__all__ = ["TorchvisionSource", "default_data_root", "fetch", "open_torchvision"]

_NAMES_ITS_SPLIT = frozenset(("SVHN", "STL10"))
_MAX_REASON = 300


def default_data_root() -> Path:
    """Return the folder that holds named data sets unless the user says otherwise.

    Returns
    -------
    Path
        ``data`` in ``ELFS_CACHE_DIR``, else ``elfs/data`` in ``XDG_CACHE_HOME``, else in ``~/.cache``.
    """
    if cache := os.environ.get("ELFS_CACHE_DIR"):
        return Path(cache) / "data"
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "elfs" / "data"


def open_torchvision(name: str, root: Path | None, split: Split, download: bool) -> Any:
    """Open one split of a named data set with torchvision.

    Parameters
    ----------
    name : str
        A key of ``source_names.DATASETS`` that has a torchvision class.
    root : Path or None
        Folder that torchvision calls ``root``; None is `default_data_root`.
    split : Split
        Which part.
    download : bool
        Whether to fetch the files if they are absent.

    Returns
    -------
    torchvision.datasets.VisionDataset
        The data set, in torchvision's order. Whoever takes labels from it must be in ``elfs.evaluation``.

    Raises
    ------
    InputDataError
        If the files are absent or damaged, or could not be fetched.
    """
    from torchvision import datasets

    folder = default_data_root() if root is None else root
    class_name = DATASETS[name].torchvision
    assert class_name is not None
    part = split.name.lower()
    options = {"split": part} if class_name in _NAMES_ITS_SPLIT else {"train": split == Split.TRAIN}
    try:
        with contextlib.redirect_stdout(sys.stderr):  # stdout carries data only; torchvision may print
            return getattr(datasets, class_name)(str(folder), download=download, **options)
    except Exception as error:  # URLError, md5 mismatch, bad archive, bad pickle: to the user all are "not there"
        reason = _reason(error)
        advice = f"Put the files that torchvision's {class_name} reads there, or give their folder with --data-root."
        if download:
            message = f"could not download {name} to {folder} ({reason}). {advice}"
        else:
            message = f"{name} was not found in {folder} ({reason}); nothing was downloaded. {advice}"
        raise InputDataError(message, hint=f"elfs embed {name} --download") from error


def fetch(name: str, url: str, md5: str, folder: Path, advice: str) -> None:
    """Download a tar archive and unpack it into a folder, which is there as a whole or not at all.

    Parameters
    ----------
    name : str
        Of the data set, for messages.
    url : str
        Of the archive. A file with its name beside the folder, if its digest is right, is not downloaded again.
    md5 : str
        Digest of the archive in hexadecimal.
    folder : Path
        Where its contents go.
    advice : str
        What else the user can do, for the message.

    Raises
    ------
    InputDataError
        If it could not be had.
    """
    from torchvision.datasets import utils

    try:
        with contextlib.redirect_stdout(sys.stderr):
            utils.download_url(url, str(folder.parent), md5=md5)
            unfinished = folder.with_name(folder.name + ".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            with tarfile.open(folder.parent / url.rpartition("/")[2]) as archive:
                archive.extractall(unfinished, filter="data")
            unfinished.rename(folder)
    except Exception as error:  # as in open_torchvision
        raise InputDataError(f"could not download {name} to {folder.parent} ({_reason(error)}). {advice}") from error


def _reason(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:_MAX_REASON]


@dataclass(frozen=True)
class TorchvisionSource:
    """Train split, then test split, of a data set that torchvision knows.

    Attributes
    ----------
    name : str
        A key of ``source_names.DATASETS``.
    root : Path or None
        Folder that holds the files; None is `default_data_root`.
    download : bool
        Whether to fetch them if they are absent.
    """

    name: str
    root: Path | None
    download: bool

    has_images = True

    @property
    def mirror(self) -> bool:
        """Whether a mirrored image still shows the same thing."""
        return DATASETS[self.name].mirror

    @property
    def num_classes(self) -> int | None:
        """How many classes the makers of the set drew."""
        return DATASETS[self.name].num_classes

    @property
    def channels(self) -> int:
        """1 for gray images, else 3; opens the files."""
        return 1 if self._images[Split.TRAIN].ndim == 3 else 3

    @cached_property
    def _images(self) -> dict[Split, NDArray[np.uint8]]:
        return {
            split: _channels_last(open_torchvision(self.name, self.root, split, self.download).data) for split in Split
        }

    def list(self) -> SampleTable:
        """List train and test images in torchvision's order: ``cifar10/train/00001``; sizes are those of the pixels."""
        return array_table(self.name, self._images, width=5)

    def reader(self, table: SampleTable) -> ArrayReader:
        """Return what reads the images."""
        return array_reader(self.list(), tuple(self._images.values()), table)


def _channels_last(images: Any) -> NDArray[np.uint8]:
    """Return (n, height, width) or (n, height, width, 3), whichever way torchvision keeps them."""
    pixels = np.asarray(images, np.uint8)
    return np.moveaxis(pixels, 1, -1) if pixels.ndim == 4 and pixels.shape[-1] != 3 else pixels
