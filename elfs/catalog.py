"""Names that a user can type, with one line about each. Plain data: importing this costs nothing.

The code behind a name lives elsewhere (a score in ``elfs.ops.scores``, a selector in ``elfs.ops.selection``, a data set
in ``elfs.data``); tests hold the two lists equal. Completion, ``--help`` and error messages read only this file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from elfs.errors import UsageError

__all__ = [
    "CLUSTER_LOSSES",
    "CLUSTER_METHODS",
    "DATASETS",
    "ENCODERS",
    "EXPORT_FORMATS",
    "NETWORKS",
    "RECIPES",
    "SCORES",
    "SELECTORS",
    "STAGES",
    "Dataset",
    "Score",
    "choose",
    "suggestion",
]

STAGES = ("embed", "cluster", "label", "dynamics", "score", "select")
"""The six stages, in the order in which they run."""


@dataclass(frozen=True, slots=True)
class Score:
    """What one difficulty score means.

    Attributes
    ----------
    harder : {"higher", "lower"}
        Which end of the score's range holds the hard samples.
    summary : str
        One line for people.
    """

    harder: Literal["higher", "lower"]
    summary: str


SCORES: dict[str, Score] = {
    "aum": Score("lower", "area under the margin: sum over epochs of p(pseudo-label) - max p(other)"),
    "correctness": Score("lower", "number of epochs in which the prediction is the pseudo-label"),
    "el2n": Score("higher", "error norm |p - onehot|, summed over the first epochs"),
    "entropy": Score("higher", "entropy of the prediction, mean of the last epochs (nats)"),
    "forgetting": Score("higher", "number of times a learned sample is forgotten"),
    "loss": Score("higher", "cross-entropy against the pseudo-label, mean of the last epochs (nats)"),
}
"""Every key that ``elfs score`` writes and ``elfs select --key`` takes."""

SELECTORS: dict[str, str] = {
    "elfs": "double-end: drop the hardest share (--hard-rate), keep the next hardest (ELFS, ICLR 2025)",
    "easiest": "the easiest samples by --key",
    "hardest": "the hardest samples by --key",
    "random": "a uniform random sample",
}
"""Every method that ``elfs select --method`` takes."""


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
    """

    summary: str
    num_classes: int
    mirror: bool = True
    torchvision: str | None = None


DATASETS: dict[str, Dataset] = {
    "digits": Dataset("1,797 scanned digits of 8x8 pixels, bundled with scikit-learn; needs no download", 10, False),
    "cifar10": Dataset("60,000 photos of 32x32 pixels", 10, True, "CIFAR10"),
    "cifar100": Dataset("60,000 photos of 32x32 pixels", 100, True, "CIFAR100"),
    "fashion-mnist": Dataset("70,000 pictures of clothes, 28x28 pixels", 10, True, "FashionMNIST"),
    "mnist": Dataset("70,000 scanned digits of 28x28 pixels", 10, False, "MNIST"),
    "stl10": Dataset("13,000 photos of 96x96 pixels", 10, True, "STL10"),
    "svhn": Dataset("99,289 house numbers of 32x32 pixels", 10, False, "SVHN"),
}
"""Data sets by name. Anything else that is named as a source is taken for a folder."""

ENCODERS: dict[str, str] = {
    "patches": "whitened patches, k-means dictionary, pooled on a grid (Coates et al. 2011); learned from the pool",
    "pixels": "the pixels themselves, at most 32x32",
}
"""Encoders that need no weights. Every other name is a timm model."""

CLUSTER_METHODS: dict[str, str] = {
    "temi": "many small heads trained on neighbour pairs (TEMI, BMVC 2023)",
    "kmeans": "k-means on the embeddings, scaled to length 1",
}

CLUSTER_LOSSES: dict[str, str] = {
    "temi": "pointwise mutual information, weighted by the agreement of all teachers",
    "wmi": "pointwise mutual information, weighted by each head's own teacher",
    "pmi": "pointwise mutual information, unweighted",
    "scan": "neighbour consistency plus assignment entropy (SCAN, ECCV 2020)",
}

NETWORKS: dict[str, str] = {
    "resnet8": "three residual blocks, 16 to 64 channels, for small images on a CPU",
    "resnet18": "ResNet-18 for small images: 3x3 stem, no max-pool",
    "mlp": "two layers on the frozen embeddings; needs no images",
}
"""Proxy networks by name. Every other name is a timm model."""

RECIPES: dict[str, str] = {
    "cifar": "200 epochs, SGD 0.1 cosine, crop and flip, at most 32 pixels (ELFS, CIFAR)",
    "imagenet": "60 epochs, SGD 0.1 cosine, random resized crop at 224 pixels (ELFS, ImageNet)",
    "small": "100 epochs, batch 64, at most 32 pixels: minutes on a CPU",
}

EXPORT_FORMATS: dict[str, str] = {
    "csv": "rank, id, pseudo-label, score, why",
    "txt": "one path a line",
    "json": "one document with every selected image",
    "label-studio": "Label Studio tasks, optionally with the pseudo-label as a pre-annotation",
    "cvat": "a CVAT manifest (JSON lines)",
    "images": "a folder with the images themselves and a labels.csv to fill in",
}
"""Every format that ``elfs export --format`` takes."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the close match as a clause for an error message, or nothing.

    Parameters
    ----------
    name : str
        What was typed.
    known : Iterable of str
        What exists.

    Returns
    -------
    str
        ``" Did you mean 'aum'?"`` with its leading space, or the empty string.
    """
    close = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


def choose(what: str, name: str, known: Iterable[str]) -> str:
    """Return `name` if it is known.

    Parameters
    ----------
    what : str
        What the name stands for, as in "unknown score key".
    name : str
        What was typed.
    known : Iterable of str
        What exists.

    Returns
    -------
    str
        `name` itself.

    Raises
    ------
    UsageError
        If `name` is not known; the message suggests the nearest name and lists all.
    """
    names = sorted(known)
    if name in names:
        return name
    raise UsageError(f"unknown {what} '{name}'.{suggestion(name, names)} Available: {', '.join(names)}.")
