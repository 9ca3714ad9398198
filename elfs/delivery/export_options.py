"""How to export: the format, and what goes with it."""

from dataclasses import dataclass
from pathlib import Path

from elfs.catalog import EXPORT_FORMATS
from elfs.errors import UsageError
from elfs.suggestions import choose

__all__ = ["ExportOptions", "format_of"]

_FORMAT_OF_SUFFIX = {".csv": "csv", ".txt": "txt", ".json": "json", ".jsonl": "jsonl", ".parquet": "parquet"}

_WITH_PATHS = ("txt", "json", "jsonl", "parquet", "label-studio", "cvat", "coco", "fiftyone")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """How to export.

    Attributes
    ----------
    format : str
        A key of ``catalog.EXPORT_FORMATS``.
    prefix : str or None
        Put before each id; None for what suits the format.
    pre_annotate : bool
        Offer the pseudo-label to annotators as a prediction.
    null : bool
        End each line of ``txt`` with a NUL instead of a line feed.
    classes : tuple of str or None
        What annotators choose from; None for the clusters.
    """

    format: str = "csv"
    prefix: str | None = None
    pre_annotate: bool = False
    null: bool = False
    classes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        choose("export format", self.format, EXPORT_FORMATS)
        for option, given, formats in (
            ("--prefix", self.prefix is not None, _WITH_PATHS),
            ("--pre-annotate", self.pre_annotate, ("label-studio", "cvat", "coco")),
            ("--classes", self.classes is not None, ("label-studio", "cvat", "coco")),
            ("--null", self.null, ("txt",)),
        ):
            if given and self.format not in formats:
                raise UsageError(f"{option} has no meaning for --format {self.format}, only for {', '.join(formats)}.")


def format_of(output: str) -> str:
    """Return the format that the name of a file asks for.

    Parameters
    ----------
    output : str
        What was typed after ``--output``; ``-`` for stdout.

    Returns
    -------
    str
        A key of ``catalog.EXPORT_FORMATS``; ``csv`` where the name has no suffix.

    Raises
    ------
    UsageError
        If the suffix is that of no format.
    """
    suffix = Path(output).suffix.lower()
    if suffix and suffix not in _FORMAT_OF_SUFFIX:
        raise UsageError(
            f"--output {output} does not tell the format, expected {', '.join(_FORMAT_OF_SUFFIX)}, or --format."
        )
    return _FORMAT_OF_SUFFIX.get(suffix, "csv")
