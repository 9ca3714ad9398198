"""Answers from "CVAT for images 1.1": XML with an element for each image and a tag or shapes in it."""

from typing import NoReturn
from xml.parsers import expat

from elfs.annotations.answers import Answer, UnknownFormatError, text_of

__all__ = ["read_cvat"]

_ROOT, _IMAGE, _TAG = "annotations", "image", "tag"
_SHAPES = {"box", "polygon", "polyline", "points", "cuboid", "mask", "ellipse", "skeleton"}
_NAME, _LABEL = "name", "label"


class _Reader:
    """Handlers of one pass through the file: nothing is built but the answers."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self._image: str | None = None
        self._tags: list[str] = []
        self._shapes: list[str] = []
        self._is_first = True

    def start(self, element: str, attributes: dict[str, str]) -> None:
        if self._is_first and element != _ROOT:
            raise UnknownFormatError(f"is XML of another kind: <{element[:40]}>, expected CVAT's <{_ROOT}>")
        self._is_first = False
        if element == "track":
            raise UnknownFormatError("holds the tracks of a video, expected the format 'CVAT for images 1.1'")
        if element == _IMAGE:
            self._image, self._tags, self._shapes = attributes.get(_NAME, ""), [], []
        elif self._image is not None and element == _TAG:
            self._tags.append(text_of(attributes.get(_LABEL)))
        elif self._image is not None and element in _SHAPES:
            self._shapes.append(text_of(attributes.get(_LABEL)))

    def end(self, element: str) -> None:
        if element == _IMAGE and self._image:
            chosen = dict.fromkeys(name for name in self._tags or self._shapes if name)
            self.answers.append(Answer(self._image, tuple(chosen)))
            self._image = None


def _refuse_document_type(*declaration: object) -> NoReturn:
    raise UnknownFormatError("declares a document type of its own, which no export does: it is not read")


def read_cvat(data: bytes) -> list[Answer]:
    """Read XML of CVAT; entities and document types are refused, nothing outside the file is looked at.

    Parameters
    ----------
    data : bytes
        The whole file.

    Returns
    -------
    list of Answer
        One for each image: its tags, or the classes of its shapes where it has no tag.

    Raises
    ------
    UnknownFormatError
        If it is no XML, or XML of another kind.
    """
    reader, parser = _Reader(), expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.StartDoctypeDeclHandler = _refuse_document_type
    try:
        parser.Parse(data, True)
    except UnknownFormatError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:  # the latter two of encodings
        raise UnknownFormatError(f"is no XML that can be read: {error}") from None
    return reader.answers
