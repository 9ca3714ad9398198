"""Answers from records: a table, or a list of JSON objects, with a column for the image and one for its label."""

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from elfs.annotations.answers import Answer, UnknownFormatError, one_or_more, text_of
from elfs.data.decoded_text import table_rows

__all__ = ["EXPORTED_ID", "answers_of_records", "image_column", "looks_like_picture", "person", "read_table"]

EXPORTED_ID = "elfs_id"
"""Column or field under which an export of elfs gives the id of each image, so that it comes back as it was."""

_IMAGE_COLUMNS = (
    EXPORTED_ID,
    *("id", "image_id", "sample_id", "image", "img", "filename", "file_name", "file", "filepath", "file_path", "path"),
    *("image_path", "img_path", "image_name", "image_file", "name", "url", "image_url", "uri", "address", "sample"),
)
_LABEL_COLUMNS = (
    *("label", "class", "category", "choice", "choices", "labels", "class_name", "label_name", "classes", "annotation"),
    *("category_name", "classification", "target", "tag", "tags", "value"),
)
_ANNOTATOR_COLUMNS = (
    *("annotator", "annotator_id", "annotated_by", "completed_by", "labeler", "labeller", "rater", "worker"),
    *("worker_id", "workerid", "user", "username", "user_id", "email", "created_by"),
)
_WHEN_COLUMNS = ("updated_at", "created_at", "timestamp")
_SKIPPED_COLUMNS = ("was_cancelled", "cancelled", "canceled", "skipped", "is_skipped")
_OF_THE_TOOL = {"annotation_id", "annotator", "created_at", "id", "lead_time", "updated_at", "agreement", "inner_id"}
"""Columns that Label Studio adds by itself; its ``id`` is the number of the task."""

_NO = {"", "0", "false", "no", "none", "nan"}
_PICTURE = re.compile(r"\.(png|jpe?g|bmp|gif|webp|tiff?|ppm|pgm|avif|heic|jp2)$", re.IGNORECASE)
_NAMED = 8
_MAX_NAME = 40


def image_column(names: Sequence[str], records: Sequence[Mapping[str, Any]]) -> str | None:
    """Return under which name records say which image they are about.

    Parameters
    ----------
    names : sequence of str
        What there is.
    records : sequence of mapping
        The records, which decide between several that could be meant: numbers alone say less than paths.

    Returns
    -------
    str or None
        None where no name is known.
    """
    known = _known(names, _IMAGE_COLUMNS)
    if "annotation_id" in names or "lead_time" in names:
        known = [name for name in known if name not in _OF_THE_TOOL]
    telling = [name for name in known if not all(text_of(record.get(name)).isdigit() for record in records)]
    return next(iter(telling or known), None)


def read_table(text: str) -> list[Answer]:
    """Read a table with columns divided by comma, semicolon, tab or bar.

    Parameters
    ----------
    text : str
        The whole file. A header names the columns; of two columns without one, where the first holds file names, the
        second is taken for the label.

    Returns
    -------
    list of Answer
        One for each line that names an image.

    Raises
    ------
    UnknownFormatError
        If it is no table, or has no column for the image or none for the label.
    """
    try:
        header, lines = table_rows(text)
    except csv.Error as error:
        raise UnknownFormatError(f"is no CSV file that can be read: {error}") from None
    if len(header) == 2 and _PICTURE.search(header[0]) and not _known(header, _IMAGE_COLUMNS):
        header, lines = [_IMAGE_COLUMNS[1], _LABEL_COLUMNS[0]], [header, *lines]
    return answers_of_records([dict(zip(header, line, strict=False)) for line in lines], header)


def answers_of_records(records: Sequence[Mapping[str, Any]], names: Iterable[str] = ()) -> list[Answer]:
    """Return the answers that records hold.

    Parameters
    ----------
    records : sequence of mapping
        Column or field to value.
    names : iterable of str
        Columns that there are even if no record has them.

    Returns
    -------
    list of Answer
        One for each record that names an image.

    Raises
    ------
    UnknownFormatError
        If none of the names is one for the image or for its label, several could be the label, or there are none.
    """
    names = list(dict.fromkeys([*names, *(name for record in records for name in record)]))
    image, label = image_column(names, records), _label_column(names, records)
    if not names:
        raise UnknownFormatError("is empty, expected a table with the columns id and label")
    if image is None or label is None:
        raise UnknownFormatError(f"has the columns {_shown(names)}, expected id and label")
    annotator, when, skipped = (
        next(iter(_known(names, wanted)), "") for wanted in (_ANNOTATOR_COLUMNS, _WHEN_COLUMNS, _SKIPPED_COLUMNS)
    )
    found = []
    for record in records:
        if not str(record.get(image) or "").strip():
            continue
        chosen = () if text_of(record.get(skipped)).lower() not in _NO else one_or_more(_parsed(record.get(label)))
        who, moment = person(record.get(annotator)), text_of(record.get(when))
        found.append(Answer(str(record[image]), chosen, who, moment))
    return found


def _known(names: Iterable[str], wanted: Sequence[str]) -> list[str]:
    """Return those of the names that are wanted, the most wanted first, whatever their case."""
    plain = {name: name.strip().lower().replace(" ", "_").replace("-", "_") for name in names}
    found = [name for name in plain if plain[name] in wanted]
    return sorted(found, key=lambda name: wanted.index(plain[name]))


def _label_column(names: Sequence[str], records: Sequence[Mapping[str, Any]]) -> str | None:
    if known := _known(names, _LABEL_COLUMNS):
        return known[0]
    if not {"annotation_id", "lead_time"} & set(names):
        return None
    images = _known(names, _IMAGE_COLUMNS)  # the control has a name of its own: what nothing else explains
    others = [name for name in names if name not in _OF_THE_TOOL and name not in images]
    return others[0] if len(others) == 1 else None


def _parsed(value: Any) -> Any:
    """Return what a cell of a table says, which is JSON where several classes were chosen."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def person(value: Any) -> str | None:
    """Return who a person is.

    Parameters
    ----------
    value : Any
        A number, a name, or an object with an address or a number.

    Returns
    -------
    str or None
        None where nothing is said.
    """
    if isinstance(value, dict):
        value = value.get("email") or value.get("id")
    return text_of(value) or None


def _shown(names: Sequence[str]) -> str:
    short = [name if len(name) <= _MAX_NAME else name[:_MAX_NAME] + "..." for name in names[:_NAMED]]
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return (", ".join(short) or "none") + more


def looks_like_picture(value: Any) -> bool:
    """Return whether a value may be the path or address of a picture.

    Parameters
    ----------
    value : Any
        Of a field whose name says nothing.

    Returns
    -------
    bool
        True for text with a slash or the suffix of a picture.
    """
    return isinstance(value, str) and (bool(_PICTURE.search(PurePosixPath(value).name)) or "/" in value)
