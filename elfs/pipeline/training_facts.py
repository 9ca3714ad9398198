"""What train and predict report, for whoever reads it later. Importing this costs no torch."""

from dataclasses import dataclass
from typing import Any

from elfs.workspace.parsing import Facts

__all__ = ["LabelFacts", "ModelFacts", "PredictionFacts", "TrainFacts"]


@dataclass(frozen=True)
class LabelFacts(Facts):
    """What became of the labels that people gave.

    Attributes
    ----------
    selected, labelled : int
        Images that are learned from, and those of them that have a label.
    without : str
        Some of those that have none, by name; empty where all have one.
    outside : int
        Images with a label that are neither learned from nor tested on.
    remarks : tuple of str
        A sentence for each kind of label that came to nothing.
    unknown, ambiguous, ties, skipped : int or None
        How many these are; None where the labels came with the source.
    """

    selected: int
    labelled: int
    without: str
    outside: int
    remarks: tuple[str, ...]
    unknown: int | None = None
    ambiguous: int | None = None
    ties: int | None = None
    skipped: int | None = None


@dataclass(frozen=True)
class TrainFacts(Facts):
    """What train reports of its networks, beside the protocol (`TrainingFacts`).

    Attributes
    ----------
    selection : str
        What is learned from.
    images : int
        Images of it that have a label.
    accuracies : tuple of float
        One for each seed, in [0, 1], higher = better; empty where nothing could be tested.
    mean, deviation : float or None
        Of them; sample standard deviation. None where there are too few.
    folds : int or None
        Over how many parts of the images each accuracy is cross-validated; 0 where there are test images.
    held_out : int or None
        Test images that were drawn from the pool.
    groups : int or None
        Groups of the images, which no fold splits; None where nobody named any.
    unlabelled : int or None
        Images of the pool without a label.
    confusion : tuple or None
        True class, named class and number of images, over all seeds.
    labels : LabelFacts or None
        What became of the labels.
    classes : tuple of str or None
        Name of each class.
    """

    selection: str
    images: int
    accuracies: tuple[float, ...]
    mean: float | None
    deviation: float | None
    folds: int | None
    held_out: int | None
    groups: int | None
    unlabelled: int | None
    confusion: tuple[tuple[int, ...], ...] | None
    labels: LabelFacts | None
    classes: tuple[str, ...] | None


@dataclass(frozen=True)
class ModelFacts(Facts):
    """What lies beside a trained network, as far as it is needed to let it name images.

    Attributes
    ----------
    classes : tuple of str
        Name of each class.
    image_size : int or None
        Largest side of its images in pixels; None where it sees embeddings.
    learned_from : tuple of tuple or None
        Id and class of each image that it has learned from; None where an older version did not say.
    """

    classes: tuple[str, ...]
    image_size: int | None
    learned_from: tuple[tuple[Any, ...], ...] | None


@dataclass(frozen=True)
class PredictionFacts(Facts):
    """What predict reports.

    Attributes
    ----------
    selection : str
        What the network has learned from.
    images, confident : int
        Images that it named, and those of them that it named surely.
    by_class : dict of str to int
        How many of each class.
    """

    selection: str
    images: int
    confident: int
    by_class: dict[str, int]
