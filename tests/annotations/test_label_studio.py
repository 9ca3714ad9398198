import json
from pathlib import Path
from typing import Any

import pytest

from elfs.annotations.answers import Answer
from elfs.annotations.reading import read_answers
from elfs.errors import InputDataError
from tests.annotations.exports import studio_task


def answers(tmp_path: Path, *tasks: Any) -> list[Answer]:
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    return read_answers(tmp_path / "export.json")


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({}, ("cat",)),
        ({"was_cancelled": True}, ()),
        ({"skipped": True}, ()),
        ({"result": []}, ()),
        ({"result": None}, ()),
        ({"result": [{"from_name": "c", "type": "choices", "value": {"choices": ["a", "b"]}}]}, ("a", "b")),
        ({"result": [{"from_name": "c", "type": "taxonomy", "value": {"taxonomy": [["animal", "cat"]]}}]}, ("cat",)),
        ({"result": [{"from_name": "b", "value": {"x": 1, "rectanglelabels": ["cat"]}}] * 2}, ("cat",)),
        ({"result": [{"from_name": "t", "type": "textarea", "value": {"text": ["hm"]}}]}, ()),
    ],
)
def test_what_one_annotation_says(tmp_path: Path, changes: dict[str, Any], labels: tuple[str, ...]) -> None:
    [answer] = answers(tmp_path, studio_task(1, {"image": "a.png"}, "cat", **changes))
    assert (answer.image, answer.classes, answer.annotator) == ("a.png", labels, "1")


@pytest.mark.parametrize(
    ("completed_by", "annotator"),
    [(7, "7"), ({"id": 7, "email": "ann@example.org"}, "ann@example.org"), ({"id": 7}, "7"), (None, None)],
)
def test_who_said_it(tmp_path: Path, completed_by: Any, annotator: str | None) -> None:
    [answer] = answers(tmp_path, studio_task(1, {"image": "a.png"}, "cat", completed_by=completed_by))
    assert answer.annotator == annotator


@pytest.mark.parametrize(
    ("data", "image"),
    [
        ({"image": "/data/upload/1/x.png", "elfs_id": "a/x.png"}, "a/x.png"),
        ({"picture": "s3://b/x.png", "note": "none"}, "s3://b/x.png"),
        ({"id": 5, "url": "https://h/x.png"}, "https://h/x.png"),
    ],
)
def test_which_image_it_is_about(tmp_path: Path, data: dict[str, Any], image: str) -> None:
    assert answers(tmp_path, studio_task(1, data, "cat"))[0].image == image


def test_an_export_of_an_earlier_elfs_has_the_id_elsewhere(tmp_path: Path) -> None:
    task = studio_task(1, {"image": "/data/upload/1/x.png"}, "cat") | {"meta": {"id": "a/x.png", "rank": 1}}
    assert answers(tmp_path, task)[0].image == "a/x.png"


def test_tasks_without_annotations_are_answers_without_labels(tmp_path: Path) -> None:
    """Also those of versions before 1.0, which call annotations completions."""
    task = {"id": 1, "data": {"image": "a.png"}}
    old = {"data": {"image": "b.png"}, "completions": studio_task(1, {}, "dog")["annotations"]}
    found = answers(tmp_path, task, task | {"annotations": []}, old)
    assert [(answer.image, answer.classes) for answer in found] == [("a.png", ()), ("a.png", ()), ("b.png", ("dog",))]


def region(name: str, *choices: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "image", "type": "choices", "value": {"choices": list(choices)}}


def test_of_several_questions_that_of_the_export_counts(tmp_path: Path) -> None:
    both = [region("quality", "blurred"), region("choice", "cat")]
    [answer] = answers(tmp_path, studio_task(1, {"image": "a.png"}, result=both))
    assert answer.classes == ("cat",)
    other = [region("quality", "blurred"), region("animal", "cat")]
    with pytest.raises(InputDataError, match=r"has answers to several questions \(animal, quality\), expected one, or"):
        answers(tmp_path, studio_task(1, {"image": "a.png"}, result=other))


def test_a_task_without_an_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"has a task without an image: its data are text\.$"):
        answers(tmp_path, studio_task(1, {"text": "hello"}, "cat"))
