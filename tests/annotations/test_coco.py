from typing import Any

import pytest

from elfs.annotations.answers import Answer, UnknownFormatError
from elfs.annotations.coco import is_coco, read_coco
from tests.annotations.exports import coco


def test_all_categories_of_an_image_count() -> None:
    document = coco({"a.png": "cat", "b.png": "dog"})
    document["annotations"] += [
        {"id": 8, "image_id": 0, "category_id": 2},
        {"id": 9, "image_id": 1, "category_id": 2},
    ]
    document["images"].append({"id": 5, "file_name": "c.png"})
    expected = [Answer("a.png", ("cat", "dog")), Answer("b.png", ("dog",)), Answer("c.png", ())]
    assert is_coco(document)
    assert read_coco(document) == expected


@pytest.mark.parametrize(
    ("key", "entry", "message"),
    [
        ("annotations", {"image_id": 0, "category_id": 7}, r"^is COCO with a gap in it: no 7$"),
        ("annotations", {"image_id": 7, "category_id": 1}, r"^is COCO with a gap in it: no 7$"),
        ("images", {"id": 5}, r"^is COCO with a gap in it: no 'file_name'$"),
        ("categories", {"id": 5}, r"^is COCO with a gap in it: no 'name'$"),
        ("images", 3, r"^is COCO with a gap in it: no "),
    ],
)
def test_a_gap_is_named(key: str, entry: Any, message: str) -> None:
    document = coco({"a.png": "cat"})
    document[key].append(entry)
    with pytest.raises(UnknownFormatError, match=message):
        read_coco(document)


def test_other_documents_are_no_coco() -> None:
    assert not any(map(is_coco, ([], {}, {"images": []}, {"images": {}, "annotations": []})))
