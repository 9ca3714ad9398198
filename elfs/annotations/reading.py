"""Which reader takes a file: told by what is in it, whatever it is called."""

import io
import json
import zipfile
import zlib
from collections.abc import Callable
from lzma import LZMAError
from pathlib import Path
from typing import Any

from elfs.annotations.answers import Answer, UnknownFormatError
from elfs.annotations.coco import is_coco, read_coco
from elfs.annotations.cvat import read_cvat
from elfs.annotations.folders import read_folders
from elfs.annotations.label_studio import is_label_studio, read_label_studio
from elfs.annotations.records import answers_of_records, read_table
from elfs.data.decoded_text import NoTextError, decoded
from elfs.errors import InputDataError

__all__ = ["is_document", "read_answers"]

_JSON_KINDS: tuple[tuple[Callable[[Any], bool], Callable[[Any], list[Answer]]], ...] = (
    (is_coco, read_coco),
    (is_label_studio, read_label_studio),
    (lambda document: _are_records(document), answers_of_records),
)
"""What tells a kind of JSON, and its reader."""

_IN_ARCHIVES = (".xml", ".json", ".jsonl", ".csv", ".tsv")
_ZIP = b"PK\x03\x04"
_BAD_ARCHIVE = (zipfile.BadZipFile, zlib.error, LZMAError, EOFError, ValueError, NotImplementedError, RuntimeError)
"""What `zipfile` and the decompressors that it calls say of damage."""

_LOOKED_AT = 4096
_MAX_UNPACKED = 1 << 31


def read_answers(path: Path) -> list[Answer]:
    """Read what people said about images, in any format that annotation tools give.

    Parameters
    ----------
    path : Path
        Label Studio's JSON, JSON-MIN, CSV or TSV; CVAT for images; COCO; any table or JSON records with a column for
        the image and one for its label; a ZIP file with one of them in it; or a folder with a folder for each class.

    Returns
    -------
    list of Answer
        In the order of the file. Which images of a workspace they are about is not looked at.

    Raises
    ------
    InputDataError
        If it is not there, cannot be read, or is of another kind.
    """
    try:
        if path.is_dir():
            return read_folders(path)
        return _read(path.read_bytes())
    except UnknownFormatError as error:
        raise InputDataError(f"{path} {error}.") from None
    except OSError as error:
        raise InputDataError(f"{path}: {error.strerror or error}.") from None


def is_document(path: Path) -> bool:
    """Return whether a file looks like XML, JSON or a ZIP file rather than a table or a list.

    Parameters
    ----------
    path : Path
        A file.

    Returns
    -------
    bool
        By its first sign; False where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT)
        return start.startswith(_ZIP) or decoded(start).lstrip()[:1] in ("<", "{", "[")
    except (OSError, NoTextError):
        return False


def _read(data: bytes) -> list[Answer]:
    if data.startswith(_ZIP):
        data = _unpacked(data)
    try:
        text = decoded(data)
    except NoTextError:
        raise UnknownFormatError("is no text: a table, JSON or XML with labels was expected") from None
    first = text.lstrip()[:1]
    if first == "<":
        return read_cvat(data)
    try:
        return _read_json(text) if first in ("{", "[") else read_table(text)
    except RecursionError:
        raise UnknownFormatError("is JSON nested too deeply to be labels") from None


def _read_json(text: str) -> list[Answer]:
    try:
        document = json.loads(text)
    except ValueError as error:
        try:
            document = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError:
            raise UnknownFormatError(f"is no JSON that can be read: {error}") from None
    if isinstance(document, dict) and not is_coco(document):
        document = [document] if "data" in document else _as_records(document)
    for tells, read in _JSON_KINDS:
        if tells(document):
            return read(document)
    raise UnknownFormatError(
        "is JSON without labels in a form that is known: Label Studio, COCO, or records with id and label"
    )


def _are_records(document: Any) -> bool:
    return isinstance(document, list) and bool(document) and all(isinstance(entry, dict) for entry in document)


def _as_records(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an object that names the label of each image as records; a single record as it is."""
    values = list(document.values())
    if any(isinstance(value, list | dict) for value in values):
        lists = [value for value in values if _are_records(value)]
        return lists[0] if len(lists) == 1 else []
    if {"label", "class", "choice"} & set(document):
        return [document]
    return [{"id": name, "label": value} for name, value in document.items()]


def _unpacked(data: bytes) -> bytes:
    """Return the one file of an archive that can hold labels."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            found = [entry for entry in archive.infolist() if entry.filename.lower().endswith(_IN_ARCHIVES)]
            if len(found) != 1:
                raise UnknownFormatError(f"is an archive with {len(found)} files that could hold labels, expected one")
            if found[0].file_size > _MAX_UNPACKED:
                raise UnknownFormatError("is an archive with more than 2 GiB in it")
            return archive.read(found[0])
    except UnknownFormatError:
        raise
    except _BAD_ARCHIVE as error:
        raise UnknownFormatError(f"is an archive that cannot be read: {str(error) or 'it is cut off'}") from None
