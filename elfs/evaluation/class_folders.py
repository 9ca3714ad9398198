"""True labels of the data sets that lie in class folders (CINIC-10, ImageNet), and the coarse ones of CIFAR-100."""

import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.data.samples import SampleTable, Split
from elfs.data.sources.class_folders import find_class_folders
from elfs.data.sources.torchvision_sets import open_torchvision
from elfs.errors import InputDataError

__all__ = ["class_folder_labels", "coarse_labels"]

_DEVKIT = "ILSVRC2012_devkit_t12"
_NUM_FLAT_PARTS = 3


def class_folder_labels(name: str, table: SampleTable, root: Path | None) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the classes of images that lie in class folders.

    Parameters
    ----------
    name : str
        A key of ``source_names.DATASETS`` with class folders.
    table : SampleTable
        Samples of that data set.
    root : Path or None
        As `elfs.data.sources.class_folders.find_class_folders` takes it; read only where images of ImageNet's val lie
        flat.

    Returns
    -------
    values : ndarray of shape (n,), int64
        Class of every row.
    names : tuple of str
        Names of the class folders, sorted.

    Raises
    ------
    InputDataError
        If images lie flat and neither ``meta.bin`` nor the development kit is beside ``val``.
    """
    folders: list[str] = []
    validation: dict[str, str] = {}
    for path in table.names:
        parts = path.split("/")
        if len(parts) == _NUM_FLAT_PARTS and not validation:
            validation = _validation_classes(name, find_class_folders(name, root))
        folders.append(validation[parts[-1]] if len(parts) == _NUM_FLAT_PARTS else parts[-2])
    names = tuple(sorted(set(folders)))
    index = {folder: number for number, folder in enumerate(names)}
    return np.fromiter((index[folder] for folder in folders), np.int64, len(folders)), names


def _validation_classes(name: str, folder: Path) -> dict[str, str]:
    """Return the WordNet id of each validation image by its file name."""
    if (folder / "meta.bin").is_file():
        from torchvision.datasets.imagenet import load_meta_file

        classes = load_meta_file(str(folder))[1]
    else:
        from scipy.io import loadmat

        meta: Any = io.BytesIO(_devkit_file(name, folder, "meta.mat"))  # scipy's stubs know paths alone
        synsets = loadmat(meta, squeeze_me=True)["synsets"]
        wnids = {int(synset["ILSVRC2012_ID"]): str(synset["WNID"]) for synset in synsets}
        lines = _devkit_file(name, folder, "ILSVRC2012_validation_ground_truth.txt").split()
        classes = [wnids[int(line)] for line in lines]
    return {f"ILSVRC2012_val_{number:08d}.JPEG": wnid for number, wnid in enumerate(classes, start=1)}


def _devkit_file(name: str, folder: Path, file: str) -> bytes:
    """Return a file of the development kit, unpacked or not."""
    for place in (folder, folder.parent):
        path, archive = place / _DEVKIT / "data" / file, place / f"{_DEVKIT}.tar.gz"
        if path.is_file():
            return path.read_bytes()
        if archive.is_file():
            with tarfile.open(archive) as kit:
                member = kit.extractfile(f"{_DEVKIT}/data/{file}")
                if member is not None:
                    return member.read()
    raise InputDataError(
        f"the images of {name}'s val lie flat in {folder / 'val'}, and what they show is not known; expected meta.bin "
        f"of torchvision or {_DEVKIT}.tar.gz beside it."
    )


def coarse_labels(root: Path | None) -> NDArray[np.int64]:
    """Return the 20 coarse classes of CIFAR-100, of its train images and then of its test images.

    Parameters
    ----------
    root : Path or None
        Folder that holds the data set's files; None is the cache.

    Returns
    -------
    ndarray of shape (n,), int64
        In ``[0, 20)``, in the order of the files.

    Raises
    ------
    InputDataError
        If the files are absent or damaged.
    """
    values: list[int] = []
    for split in Split:
        dataset = open_torchvision("cifar20", root, split, download=False)  # compares the files' digests
        files = dataset.train_list if split == Split.TRAIN else dataset.test_list
        for file, _ in files:
            with open(os.path.join(dataset.root, dataset.base_folder, file), "rb") as opened:
                batch: dict[str, Any] = pickle.load(opened, encoding="latin1")
            values += batch["coarse_labels"]
    return np.array(values, np.int64)
