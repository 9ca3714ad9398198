import json
from pathlib import Path
from typing import Any

import numpy as np

from elfs.annotations.reading import read_answers
from elfs.data.samples import SampleTable
from elfs.delivery.chosen import Selection
from elfs.delivery.predictions import named_images, predictions_csv, write_pre_annotations


def named(shop: Any) -> Selection:
    table = SampleTable.from_tensors(shop.workspace().arrays("samples"))
    confidence = np.array([0.9, 0.5, 0.7], np.float32)
    return named_images(shop.workspace(), "quarter", table, np.array([3, 1, 12]), np.array([0, 1, 0]), confidence)


def test_a_table_that_comes_back_as_labels(shop: Any, tmp_path: Path) -> None:
    table = predictions_csv(named(shop), ("cat", "dog, big"))
    assert table == b'id,label,confidence\na/01.png,"dog, big",0.5000\na/03.png,cat,0.9000\nb/02.png,cat,0.7000\n'
    (tmp_path / "table.csv").write_bytes(table)
    assert read_answers(tmp_path / "table.csv")[0].classes == ("dog, big",)


def test_pre_annotations_begin_with_the_least_sure(shop: Any, tmp_path: Path) -> None:
    write_pre_annotations(named(shop), ("cat", "dog"), tmp_path / "out", force=False)
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    assert [task["data"]["elfs_id"] for task in tasks] == ["a/01.png", "b/02.png", "a/03.png"]
    [prediction] = tasks[0]["predictions"]
    assert prediction["result"][0]["value"] == {"choices": ["dog"]}
    assert prediction["score"] == 0.5
    assert (tmp_path / "out/config.xml").read_text().count("<Choice ") == 2
    write_pre_annotations(named(shop), ("cat", "dog"), tmp_path / "tasks.json", force=False)
    assert json.loads((tmp_path / "tasks.json").read_text()) == tasks
