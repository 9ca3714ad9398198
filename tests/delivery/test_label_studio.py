"""What Label Studio is given: importable as it is, and by its own validator where that is installed."""

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.annotations.reading import read_answers
from elfs.data.sources import open_source
from elfs.delivery import label_studio
from elfs.delivery.chosen import load_selection
from elfs.delivery.export import prepare_export
from elfs.delivery.export_options import ExportOptions
from tests.annotations.exports import studio_task


def exported(shop: Any, out: Path, **options: Any) -> Path:
    prepare_export(shop.path, None, ExportOptions(format="label-studio", **options)).write(out, force=False)
    return out


def choices_in(out: Path) -> list[str | None]:
    return [choice.get("value") for choice in ElementTree.parse(out / "config.xml").iter("Choice")]


def test_the_folder_holds_all_that_a_person_imports(shop: Any, tmp_path: Path) -> None:
    out = exported(shop, tmp_path / "to label", classes=("cat", "a & b", 'c "q" <d>'))
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.xml", "tasks.json"]
    assert choices_in(out) == ["cat", "a & b", 'c "q" <d>']
    text = (out / "README.md").read_text()
    assert text.startswith("# 5 images to annotate in Label Studio\n")
    assert f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={shop.root.parent}\n" in text
    assert f"`{shop.root}`" in text
    assert f"elfs train --selection quarter --labels the-export.json --network linear --workspace {shop.path}" in text


def test_addresses_lead_to_the_images_below_the_document_root(shop: Any, tmp_path: Path) -> None:
    tasks = json.loads((exported(shop, tmp_path / "out") / "tasks.json").read_text())
    for task in tasks:
        path = task["data"]["image"].removeprefix("/data/local-files/?d=")
        assert (shop.root.parent / path).is_file()


def test_pictures_that_are_no_files_come_along(empty: Any, tmp_path: Path) -> None:
    empty.embed(open_source("digits", None).list().take(np.arange(4)), source="digits")
    empty.select(method="random", budget="2", name="two")
    out = exported(empty, tmp_path / "out")
    for task in json.loads((out / "tasks.json").read_text()):
        assert (tmp_path / task["data"]["image"].removeprefix("/data/local-files/?d=")).is_file()
    text = (out / "README.md").read_text()
    assert f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={tmp_path}\n" in text
    assert f"`{out}`" in text


def test_clusters_are_the_choices_where_no_classes_are_given(shop: Any, tmp_path: Path) -> None:
    out = exported(shop, tmp_path / "out", pre_annotate=True)
    instead = "Put your classes in the place of its clusters first."
    assert instead not in (out / "README.md").read_text()  # the offers would no longer be among them
    assert instead in (exported(shop, tmp_path / "without") / "README.md").read_text()
    cases: list[dict[str, Any]] = [{}, {"pre_annotate": True}, {"classes": ("cat", "dog")}]
    exports = [prepare_export(shop.path, None, ExportOptions(format="label-studio", **case)) for case in cases]
    first, *others = [export.note(tmp_path / "out") for export in exports]
    assert first == "annotators choose from clusters: give --classes cat,dog, or put your classes into config.xml"
    assert others == [None, None]
    choices = choices_in(out)
    assert choices == [f"cluster {number}" for number in range(len(choices))]
    for task in json.loads((out / "tasks.json").read_text()):
        assert task["predictions"][0]["result"][0]["value"]["choices"][0] in choices


def test_an_address_of_ones_own_needs_no_server(shop: Any, tmp_path: Path) -> None:
    text = (exported(shop, tmp_path / "out", prefix="s3://bucket/") / "README.md").read_text()
    assert "LOCAL_FILES" not in text
    assert "Cloud Storage" not in text


def test_many_tasks_are_split(shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_studio, "TASKS_IN_A_FILE", 2)
    out = exported(shop, tmp_path / "out")
    names = [f"tasks-{number}.json" for number in (1, 2, 3)]
    assert sorted(path.name for path in out.glob("tasks*")) == names
    tasks = [task for name in names for task in json.loads((out / name).read_text())]
    assert [task["meta"]["rank"] for task in tasks] == [1, 2, 3, 4, 5]
    assert "`tasks-1.json`, `tasks-2.json`, `tasks-3.json`, one after the other" in (out / "README.md").read_text()


def test_without_classes_and_clusters_the_config_has_examples(empty: Any, tmp_path: Path) -> None:
    empty.draw(["x.png"])
    empty.embed()
    empty.select(method="random", budget="1", name="chance")
    out = exported(empty, tmp_path / "out")
    assert choices_in(out) == ["class 1", "class 2"]
    assert "put your classes here" in (out / "config.xml").read_text()
    assert "Put your classes in the place of its examples first" in (out / "README.md").read_text()


def test_what_is_annotated_comes_back(odd: Callable[..., Any], tmp_path: Path) -> None:
    """Whatever the names: as JSON with the tasks' data as they were imported."""
    shop = odd(b"a\nb.png", b'quote".png', b"comma,.png", b"\xff.png", b"plus+#%.png", b"-n.png", b"=1.png")
    tasks = json.loads((exported(shop, tmp_path / "out") / "tasks.json").read_text())
    back = [studio_task(number, task["data"], "cat") for number, task in enumerate(tasks)]
    (tmp_path / "back.json").write_text(json.dumps(back))
    images = [answer.image for answer in read_answers(tmp_path / "back.json")]
    assert images == [image.id for image in load_selection(shop.path, None).images]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pre_annotate": True},
        {"classes": ("cat", "dog & co")},
        {"classes": ("cat", "dog & co", "cat"), "pre_annotate": True},
    ],
)
def test_label_studios_own_validator_takes_all_of_it(shop: Any, tmp_path: Path, options: dict[str, Any]) -> None:
    reason = "label-studio-sdk is not installed: make annotation-tools"
    sdk = pytest.importorskip("label_studio_sdk.label_interface", reason=reason)
    out = exported(shop, tmp_path / "out", **options)
    interface = sdk.LabelInterface((out / "config.xml").read_text())
    interface.validate()
    for task in json.loads((out / "tasks.json").read_text()):
        predictions = task.pop("predictions", [])  # validate_task of 2.1 calls their check without them
        assert interface.validate_task(task)
        assert len(predictions) == options.get("pre_annotate", False)
        for prediction in predictions:
            assert interface.validate_prediction(prediction, return_errors=True) == []
