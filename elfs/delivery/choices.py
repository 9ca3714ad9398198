"""The classes that annotators choose from, and which of them a pseudo-label stands for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elfs.annotations.kept import kept_annotations
from elfs.data.decoded_text import decoded
from elfs.delivery.chosen import Selection
from elfs.errors import InputDataError, UsageError
from elfs.workspace.workspace import Workspace

__all__ = ["Choices", "choices_of", "parse_classes"]

_EXAMPLES = ("class 1", "class 2")


@dataclass(frozen=True)
class Choices:
    """What annotators choose from.

    Attributes
    ----------
    names : tuple of str
        Each once, in order.
    of_cluster : mapping of int to str
        Name of each cluster; empty where it is not known which class a cluster stands for.
    is_example : bool
        Whether the names only show where real ones belong.
    is_scored : bool
        Whether the score of an image says how sure its class is.
    are_clusters : bool
        Whether they are clusters because nobody gave names, rather than to offer each image its own.
    """

    names: tuple[str, ...]
    of_cluster: Mapping[int, str]
    is_example: bool = False
    is_scored: bool = False
    are_clusters: bool = False


def parse_classes(text: str) -> tuple[str, ...]:
    """Return the classes that ``--classes`` names.

    Parameters
    ----------
    text : str
        Names separated by commas, or a file with one name a line.

    Returns
    -------
    tuple of str
        In their order; the same name may come several times.

    Raises
    ------
    UsageError
        If there is no name.
    InputDataError
        If the file cannot be read.
    """
    parts = text.split(",")
    if Path(text).is_file():
        try:
            parts = decoded(Path(text).read_bytes()).splitlines()
        except (OSError, ValueError) as error:
            raise InputDataError(f"--classes {text}: {error}.") from None
    names = tuple(part.strip() for part in parts if part.strip())
    if not names:
        raise UsageError(f"--classes is {text!r}, expected names such as cat,dog or a file with one a line.")
    return names


def choices_of(selection: Selection, classes: Sequence[str] | None, *, pre_annotate: bool) -> Choices:
    """Return what the annotators of a selection choose from.

    Parameters
    ----------
    selection : Selection
        What is annotated.
    classes : sequence of str or None
        Names that a person gave. Where clusters are offered as pre-annotations, the first is that of cluster 0, and so
        on. None for the classes that people have annotated already, and for the clusters themselves before that.
    pre_annotate : bool
        Whether clusters are offered.

    Returns
    -------
    Choices
        Examples where there are neither names nor clusters.

    Raises
    ------
    UsageError
        If clusters are to be offered and there are none, or more or fewer than names.
    """
    clusters = _clusters(selection)
    if pre_annotate and any(image.pseudo_label is None for image in selection.images):
        raise UsageError(f"--pre-annotate needs pseudo-labels, and selection '{selection.name}' was made without.")
    if classes is None:
        known = kept_annotations(selection.workspace).names
        names = dict(enumerate(selection.class_names or [f"cluster {cluster}" for cluster in range(clusters)]))
        offered = known if known and not pre_annotate else tuple(dict.fromkeys([*known, *names.values()]))
        unnamed = bool(offered) and not (known or selection.class_names or pre_annotate)
        return Choices(offered or _EXAMPLES, names, is_example=not offered, are_clusters=unnamed)
    if pre_annotate and len(classes) != clusters:
        raise UsageError(
            f"--classes has {len(classes)} names and there are {clusters} clusters: --pre-annotate needs one for each "
            "cluster, in order (the same name for several is fine)."
        )
    named = dict(enumerate(classes)) if len(classes) == clusters else {}
    return Choices(tuple(dict.fromkeys(classes)), named)


def _clusters(selection: Selection) -> int:
    """Return how many clusters there are; as many as the selection needs where the labels are gone."""
    highest = max((image.pseudo_label for image in selection.images if image.pseudo_label is not None), default=-1)
    workspace: Workspace = selection.workspace
    if highest >= 0 and workspace.has("pseudo_labels"):
        values = np.asarray(workspace.arrays("pseudo_labels")["pseudo_labels"])
        highest = max(highest, int(values.max(initial=-1)))
    return highest + 1
