"""One set of answers in the formats of the tools that give them back."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

Answers = Mapping[str, str]


def table(answers: Answers, delimiter: str = ",", columns: tuple[str, str] = ("id", "label"), more: str = "") -> str:
    """Return a table with the columns in the other order where `more` names another one before them."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow([more, *reversed(columns)] if more else columns)
    for number, (name, label) in enumerate(answers.items()):
        writer.writerow([number, label, name] if more else [name, label])
    return text.getvalue()


def studio_task(number: int, data: dict[str, Any], *choices: str, **changes: Any) -> dict[str, Any]:
    """Return a task of Label Studio's JSON export with one annotation."""
    value = {"choices": list(choices)}
    result = {"value": value, "id": f"r{number}", "from_name": "choice", "to_name": "image", "type": "choices"}
    annotation = {
        "id": 100 + number,
        "completed_by": 1,
        "result": [result | {"origin": "manual"}] if choices else [],
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-01-01T10:00:00.000000Z",
        "updated_at": "2026-01-01T10:00:00.000000Z",
        "lead_time": 2.5,
    }
    facts = {"drafts": [], "predictions": [], "meta": {}, "inner_id": number, "total_annotations": 1, "project": 1}
    return {"id": number, "annotations": [annotation | changes], "data": data} | facts


def local(name: str) -> str:
    return f"/data/local-files/?d={quote(name)}"


def studio(answers: Answers, address: Callable[[str], str] = local) -> str:
    """Return Label Studio's JSON export."""
    tasks = (studio_task(n, {"image": address(name)}, label) for n, (name, label) in enumerate(answers.items()))
    return json.dumps(list(tasks))


def studio_rows(answers: Answers) -> list[dict[str, Any]]:
    """Return the records of Label Studio's JSON-MIN, CSV and TSV exports; ``id`` is the number of the task."""
    return [
        {
            "image": f"/data/local-files/?d=pool/{quote(name)}",
            "id": number,
            "choice": label,
            "annotator": 1,
            "annotation_id": 100 + number,
            "created_at": "2026-01-01T10:00:00.000000Z",
            "updated_at": "2026-01-01T10:00:00.000000Z",
            "lead_time": 2.5,
        }
        for number, (name, label) in enumerate(answers.items())
    ]


def studio_table(answers: Answers, delimiter: str) -> str:
    """Return Label Studio's CSV or TSV export: the columns in alphabetical order."""
    rows = studio_rows(answers)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, sorted(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def cvat(answers: Answers, inside: str = '<tag label={} source="manual"></tag>') -> str:
    """Return XML of "CVAT for images 1.1"."""
    images = "".join(
        f'<image id="{number}" name={quoteattr(name)} width="8" height="8">{inside.format(quoteattr(label))}</image>'
        for number, (name, label) in enumerate(answers.items())
    )
    meta = "<meta><task><labels><label><name>cat</name></label></labels></task></meta>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}{images}</annotations>'


def coco(answers: Answers) -> dict[str, Any]:
    """Return COCO with one annotation an image."""
    names = sorted(set(answers.values()))
    images = [{"id": n, "file_name": name, "width": 8, "height": 8} for n, name in enumerate(answers)]
    found = [
        {"id": n, "image_id": n, "category_id": names.index(label) + 1, "bbox": [0, 0, 8, 8]}
        for n, label in enumerate(answers.values())
    ]
    categories = [{"id": n, "name": name} for n, name in enumerate(names, 1)]
    return {"info": {}, "images": images, "annotations": found, "categories": categories}
