"""What embed notes about a source beside the samples table, for all that comes later."""

from dataclasses import dataclass

from elfs.workspace.parsing import Facts

__all__ = ["SourceFacts"]


@dataclass(frozen=True)
class SourceFacts(Facts):
    """The metadata of the artifact ``samples``.

    Attributes
    ----------
    source : str
        Name of the source (`elfs.data.sources.Source`).
    channels : int
        1 if every image is gray, else 3.
    mirror : bool
        Whether a mirrored image still shows the same thing.
    num_classes : int or None
        How many classes the makers of the set drew; None where nobody said.
    has_images : bool
        False for embeddings of one's own.
    image_side : int or None
        Short side of a typical image in pixels; None where there are no images.
    """

    source: str
    channels: int
    mirror: bool
    num_classes: int | None
    has_images: bool
    image_side: int | None
