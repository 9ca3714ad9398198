"""COCO, as pycocotools reads it."""

import json
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO

from elfs.annotations.reading import read_answers
from elfs.delivery.export import prepare_export
from elfs.delivery.export_options import ExportOptions


@pytest.mark.parametrize("pre_annotate", [False, True])
def test_the_reference_reader_takes_it(
    shop: Any, tmp_path: Path, pre_annotate: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ExportOptions(format="coco", pre_annotate=pre_annotate, prefix="set/", classes=("x", "y", "x"))
    prepare_export(shop.path, None, options).write(tmp_path / "coco.json", force=False)
    found = COCO(str(tmp_path / "coco.json"))
    assert [image["file_name"] for image in found.loadImgs(found.getImgIds())] == [
        "set/a/08.png",
        "set/a/09.png",
        "set/b/00.png",
        "set/b/01.png",
        "set/b/02.png",
    ]
    assert [category["name"] for category in found.loadCats(found.getCatIds())] == ["x", "y"]
    assert {(image["width"], image["height"]) for image in found.imgs.values()} == {(12, 8)}
    assert len(found.getAnnIds()) == (5 if pre_annotate else 0)
    assert len(found.getImgIds(catIds=[2])) == (1 if pre_annotate else 0)
    capsys.readouterr()


def test_it_comes_back_as_it_went(shop: Any, tmp_path: Path) -> None:
    export = prepare_export(shop.path, None, ExportOptions(format="coco", pre_annotate=True))
    export.write(tmp_path / "coco.json", force=False)
    found = [answer.classes for answer in read_answers(tmp_path / "coco.json")]
    assert found == [(f"cluster {row % 3}",) for row in range(8, 13)]
    images = [answer.image for answer in read_answers(tmp_path / "coco.json")]
    assert images == [image["elfs_id"] for image in json.loads(export.document())["images"]]
