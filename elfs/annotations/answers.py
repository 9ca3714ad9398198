"""One answer of one person about one image, and what a file of them is called."""

from dataclasses import dataclass
from typing import Any

from elfs.data.decoded_text import from_code_page

__all__ = ["Answer", "UnknownFormatError", "one_or_more", "text_of"]


class UnknownFormatError(ValueError):
    """A file is not what a reader expects; the message follows the file's name, without full stop."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person said about one image.

    Attributes
    ----------
    image : str
        Its id, path or address, as the tool writes it.
    classes : tuple of str
        Those that were chosen: none where the image was skipped or not annotated, several where the person could
        not decide, or the tool allows it.
    annotator : str or None
        Who said it; None where the file does not tell. Of several answers of one person the latest counts.
    when : str
        When it was said, sortable; empty where the file does not tell.
    """

    image: str
    classes: tuple[str, ...]
    annotator: str | None = None
    when: str = ""


def text_of(value: Any) -> str:
    """Return a value as text, without blanks around it.

    Parameters
    ----------
    value : Any
        A string, number or None out of a file.

    Returns
    -------
    str
        Empty for None, and for a number that is none, as data frames hold where nothing is said.
    """
    return "" if value is None or value != value else from_code_page(str(value)).strip()


def one_or_more(values: Any) -> tuple[str, ...]:
    """Return the classes that a value names.

    Parameters
    ----------
    values : Any
        Text, a number, a list of them, or what Label Studio makes of several: ``{"choices": [...]}``, a list of regions
        with ``rectanglelabels`` and the like.

    Returns
    -------
    tuple of str
        Each once, in their order; of a path in a taxonomy the last part.
    """
    found: list[str] = []
    if isinstance(values, dict):
        for name, value in values.items():
            if name == "taxonomy" and isinstance(value, list):
                found += [text_of(path[-1]) for path in value if isinstance(path, list) and path]
            elif name == "choices" or name.endswith("labels"):
                found += one_or_more(value)
    elif isinstance(values, list):
        for value in values:
            found += one_or_more(value)
    else:
        found.append(text_of(values))
    return tuple(dict.fromkeys(name for name in found if name))
