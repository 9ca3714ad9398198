"""Where images can come from, by name: data sets, kinds of sources, and how a source is typed. Plain data."""

from dataclasses import dataclass

__all__ = ["DATASETS", "SOURCES", "SYNTHETIC_PREFIX", "Dataset", "has_root", "is_files", "typed_source"]


SYNTHETIC_PREFIX = "synthetic:"
"""What the names of drawn pools begin with."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set that can be named instead of a folder.

    Attributes
    ----------
    summary : str
        One line for people.
    num_classes : int
        How many classes its makers drew: the default number of clusters, nothing more.
    mirror : bool
        Whether a mirrored image still shows the same thing (digits and letters do not).
    torchvision : str or None
        Name of the class in ``torchvision.datasets``; None where elfs reads it by itself.
    class_folders : bool
        Whether it lies on disk as one file an image, in one folder a class.
    """

    summary: str
    num_classes: int
    mirror: bool = True
    torchvision: str | None = None
    class_folders: bool = False


DATASETS: dict[str, Dataset] = {
    "digits": Dataset("1,797 scanned digits of 8x8 pixels, bundled with scikit-learn; needs no download", 10, False),
    "cifar10": Dataset("60,000 photos of 32x32 pixels", 10, True, "CIFAR10"),
    "cifar100": Dataset("60,000 photos of 32x32 pixels", 100, True, "CIFAR100"),
    "cifar20": Dataset("CIFAR-100 with its 20 coarse classes", 20, True, "CIFAR100"),
    "cinic10": Dataset("270,000 photos of 32x32 pixels; train and valid make the train split", 10, class_folders=True),
    "fashion-mnist": Dataset("70,000 pictures of clothes, 28x28 pixels", 10, True, "FashionMNIST"),
    "imagenet": Dataset("1,331,167 photos (ILSVRC 2012, train and val)", 1000, class_folders=True),
    "imagenet-100": Dataset("100 classes of ImageNet (SCAN, ECCV 2020)", 100, class_folders=True),
    "imagenet-200": Dataset("200 classes of ImageNet (SCAN, ECCV 2020)", 200, class_folders=True),
    "imagenet-50": Dataset("50 classes of ImageNet (SCAN, ECCV 2020)", 50, class_folders=True),
    "mnist": Dataset("70,000 scanned digits of 28x28 pixels", 10, False, "MNIST"),
    "stl10": Dataset("13,000 photos of 96x96 pixels", 10, True, "STL10"),
    "svhn": Dataset("99,289 house numbers of 32x32 pixels", 10, False, "SVHN"),
}
"""Data sets by name. Anything else that is named as a source is one of `SOURCES`."""

SOURCES: dict[str, str] = {
    "folder": "a folder of images, at any depth",
    "files": "the images that --files lists, below a folder",
    "tar": "tar:PATH[:SUFFIX], uncompressed tar shards (WebDataset): one file, or a folder of them",
    "parquet": "parquet:PATH, Parquet files with an image column: one file, or a folder of them",
    "hf": "hf:NAME[:SPLIT], a Hugging Face data set: from the hub, or a folder that save_to_disk wrote",
    "synthetic": "synthetic:SPEC, drawn from a seed: a preset or name=value pairs (docs/synthetic.md)",
    "embeddings": "rows that have embeddings and no images",
}
"""Kinds of sources that are no data set by name. The name of a source is its kind, alone or with ``:`` and more."""

_SAVED = "hf:."  # the data set lies in the source's root, in the format of save_to_disk


def has_root(source: str) -> bool:
    """Return whether a source lies in a folder or file of the user's own, which ``--root`` can name anew.

    Parameters
    ----------
    source : str
        Name of a source, as the manifest has it.

    Returns
    -------
    bool
        False for data sets by name, what comes from a hub, and embeddings.
    """
    return source.partition(":")[0] in ("folder", "files", "tar", "parquet") or source.split(":")[:2] == ["hf", "."]


def is_files(source: str) -> bool:
    """Return whether each image of a source is a file of its own, whose path below the root is the id.

    Parameters
    ----------
    source : str
        Name of a source, as the manifest has it.

    Returns
    -------
    bool
        True for folders and lists of files.
    """
    return source in ("folder", "files")


def typed_source(source: str, root: str | None) -> str | None:
    """Return what is typed as SOURCE to name a source again.

    Parameters
    ----------
    source : str
        Name of a source, as the manifest has it; empty if there is none.
    root : str or None
        Its root.

    Returns
    -------
    str or None
        None where nothing is typed: for embeddings, and where the root is not known.
    """
    if source in ("", "embeddings") or (has_root(source) and root is None):
        return None
    if is_files(source):
        return root
    if not has_root(source):
        return source
    if source.startswith(_SAVED):
        return f"hf:{root}{source.removeprefix(_SAVED)}"
    kind, colon, suffix = source.partition(":")
    return f"{kind}:{root}{colon}{suffix}"
