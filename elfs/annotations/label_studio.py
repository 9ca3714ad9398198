"""Answers from the JSON export of Label Studio: tasks, each with the annotations of all people."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from elfs.annotations.answers import Answer, UnknownFormatError, one_or_more, text_of
from elfs.annotations.records import EXPORTED_ID, image_column, looks_like_picture, person

__all__ = ["is_label_studio", "read_label_studio"]

_ANNOTATIONS = ("annotations", "completions")
"""Under which key a task holds them; the second is of versions before 1.0."""

_CONTROL = "choice"
"""The control of the labelling config that an export of elfs comes with."""


def is_label_studio(document: Any) -> bool:
    """Return whether a JSON document is a list of tasks.

    Parameters
    ----------
    document : Any
        The parsed file.

    Returns
    -------
    bool
        True if every entry has data, and one has annotations, be it none.
    """
    if not isinstance(document, list) or not document:
        return False
    return all(isinstance(task, dict) and isinstance(task.get("data"), dict) for task in document)


def read_label_studio(tasks: Sequence[dict[str, Any]]) -> list[Answer]:
    """Read tasks.

    Parameters
    ----------
    tasks : sequence of dict
        As Label Studio exports them.

    Returns
    -------
    list of Answer
        One for each annotation, without labels where it was cancelled; one without labels for a task that has none.

    Raises
    ------
    UnknownFormatError
        If several controls of the config could hold the label, or a task names no image.
    """
    control = _control(tasks)
    found = []
    for task in tasks:
        image = _image(task)
        annotations = [entry for entry in _annotations(task) if isinstance(entry, dict)]
        for entry in annotations:
            chosen: tuple[str, ...] = ()
            if not entry.get("was_cancelled") and not entry.get("skipped"):
                results = [part for part in _results(entry) if control in (None, part.get("from_name"))]
                chosen = one_or_more([part.get("value") for part in results])
            when = text_of(entry.get("updated_at") or entry.get("created_at"))
            found.append(Answer(image, chosen, person(entry.get("completed_by")), when))
        if not annotations:
            found.append(Answer(image, ()))
    return found


def _annotations(task: dict[str, Any]) -> list[Any]:
    return next((task[key] for key in _ANNOTATIONS if isinstance(task.get(key), list)), [])


def _results(entry: dict[str, Any]) -> list[dict[str, Any]]:
    parts = entry.get("result")
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _control(tasks: Sequence[dict[str, Any]]) -> str | None:
    """Return which control holds the label; None where there is one at most."""
    controls: Counter[str] = Counter()
    for task in tasks:
        for entry in _annotations(task):
            parts = _results(entry) if isinstance(entry, dict) else []
            controls.update(str(part.get("from_name")) for part in parts if one_or_more(part.get("value") or {}))
    if len(controls) < 2:
        return None
    if _CONTROL in controls:
        return _CONTROL
    raise UnknownFormatError(
        f"has answers to several questions ({', '.join(sorted(controls)[:5])}), expected one, or one with the name "
        f"{_CONTROL}"
    )


def _image(task: dict[str, Any]) -> str:
    """Return which image a task is about: by the id that elfs gave it, or else by its address."""
    data, meta = task["data"], task.get("meta")
    if EXPORTED_ID in data:
        return str(data[EXPORTED_ID])
    if isinstance(meta, dict) and isinstance(meta.get("id"), str) and "rank" in meta:  # exports before elfs_id
        return str(meta["id"])
    name = image_column(list(data), [data])
    if name is None or not isinstance(data[name], str):
        name = next((key for key, value in data.items() if looks_like_picture(value)), None)
    if name is None:
        raise UnknownFormatError(
            f"has a task without an image: its data are {', '.join(map(str, data)) or 'empty'}"[:200]
        )
    return str(data[name])
