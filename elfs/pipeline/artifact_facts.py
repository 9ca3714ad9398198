"""What stages note about their artifacts beside the source (`SourceFacts`). Importing this costs no torch."""

from dataclasses import dataclass
from typing import Any

from elfs.workspace.parsing import Facts

__all__ = ["EmbeddingsNote", "GroupsNote", "ProxyNote", "PseudoLabelsNote"]


@dataclass(frozen=True)
class EmbeddingsNote(Facts):
    """What is noted about ``embeddings``.

    Attributes
    ----------
    key : str or None
        Digest of all that decides them; None where they are somebody's own.
    widths : tuple of int or None
        Of each encoder, where there are several.
    """

    key: str | None = None
    widths: tuple[int, ...] | None = None


@dataclass(frozen=True)
class PseudoLabelsNote(Facts):
    """What is noted about ``pseudo_labels``, beside `TrustFacts`.

    Attributes
    ----------
    names : tuple of str or None
        Of the classes, where they were learned from annotations.
    """

    names: tuple[str, ...] | None


@dataclass(frozen=True)
class GroupsNote(Facts):
    """What is noted about ``groups``.

    Attributes
    ----------
    said_by : str
        File that says them.
    """

    said_by: str


@dataclass(frozen=True)
class ProxyNote(Facts):
    """What is noted about ``proxy``: what builds a network again and feeds it.

    Attributes
    ----------
    recipe : dict
        Fields of `elfs.train.recipes.Recipe`.
    num_classes : int
        Number of classes.
    image_size : int or None
        Side of the images in pixels; None for a network on embeddings.
    dim : int or None
        Dimensions of the embeddings; None for a network on images.
    networks : int or None
        How many lie side by side; None stands for one.
    """

    recipe: dict[str, Any]
    num_classes: int
    image_size: int | None
    dim: int | None
    networks: int | None
