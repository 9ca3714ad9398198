"""What CVAT is given."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from elfs.annotations.reading import read_answers
from elfs.delivery.export import prepare_export
from elfs.delivery.export_options import ExportOptions
from elfs.errors import InputDataError


def exported(shop: Any, out: Path, **options: Any) -> Path:
    prepare_export(shop.path, None, ExportOptions(format="cvat", **options)).write(out, force=False)
    return out


def test_the_folder_holds_all_that_a_task_is_made_of(shop: Any, tmp_path: Path) -> None:
    out = exported(shop, tmp_path / "out", classes=("cat", "dog", "cat"))
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "labels.json", "manifest.jsonl"]
    labels = json.loads((out / "labels.json").read_text())
    assert labels == [{"name": name, "type": "tag", "attributes": []} for name in ("cat", "dog")]
    text = (out / "README.md").read_text()
    assert "**Predefined**" in text
    assert f"elfs train --selection quarter --labels annotations.xml --network linear --workspace {shop.path}" in text


def test_pre_annotations_come_back_as_they_went(shop: Any, tmp_path: Path) -> None:
    out = exported(shop, tmp_path / "out", pre_annotate=True, classes=("a", 'b & "c"', "d"))
    found = {answer.image: answer.classes for answer in read_answers(out / "annotations.xml")}
    names = ("a", 'b & "c"', "d")
    assert found == {f"{'a' if row < 10 else 'b'}/{row % 10:02d}.png": (names[row % 3],) for row in range(8, 13)}
    assert "annotations.xml" in (out / "README.md").read_text().partition("Back again")[0]


@pytest.mark.parametrize("pre_annotate", [False, True])
def test_every_label_is_one_of_the_task(shop: Any, tmp_path: Path, pre_annotate: bool) -> None:
    out = exported(shop, tmp_path / "out", pre_annotate=pre_annotate)
    names = {entry["name"] for entry in json.loads((out / "labels.json").read_text())}
    assert names == {"cluster 0", "cluster 1", "cluster 2"}
    if pre_annotate:
        assert {label for answer in read_answers(out / "annotations.xml") for label in answer.classes} <= names


@pytest.mark.parametrize("name", ["cat", "a & \u00df", "x" * 64, "x" * 65, "\u00df" * 65])
def test_labels_are_what_cvats_own_client_sends(shop: Any, tmp_path: Path, name: str) -> None:
    models = pytest.importorskip("cvat_sdk.models", reason="cvat-sdk is not installed")
    options = {"classes": (name, "dog"), "pre_annotate": False}
    if len(name) > 64:
        with pytest.raises(ValueError, match="length must be less than or equal to `64`"):
            models.PatchedLabelRequest(name=name)
        with pytest.raises(InputDataError, match=r"CVAT takes labels of at most 64 characters, and .* has 65"):
            exported(shop, tmp_path / "out", **options)
        return
    for entry in json.loads((exported(shop, tmp_path / "out", **options) / "labels.json").read_text()):
        label = models.PatchedLabelRequest(**entry)
        assert label.to_dict() == entry
        assert str(models.LabelType(entry["type"])) == "tag"


def test_datumaro_reads_the_pre_annotations(shop: Any, tmp_path: Path) -> None:
    """The reader of CVAT's own formats, which wants the labels declared before the images."""
    reason = "datumaro is not installed: make annotation-tools"
    dataset = pytest.importorskip("datumaro.components.dataset", reason=reason)
    out = exported(shop, tmp_path / "out", pre_annotate=True, classes=("a & b", "c", "d"))
    (out / "images").symlink_to(shop.root)
    found = dataset.Dataset.import_from(str(out / "annotations.xml"), "cvat")
    [labels] = [category.items for category in found.categories().values()]
    assert [label.name for label in labels] == ["a & b", "c", "d"]
    assert {item.id: [labels[each.label].name for each in item.annotations] for item in found} == {
        f"{'a' if row < 10 else 'b'}/{row % 10:02d}": [("a & b", "c", "d")[row % 3]] for row in range(8, 13)
    }


def test_every_label_is_declared_before_the_images(shop: Any, tmp_path: Path) -> None:
    out = exported(shop, tmp_path / "out", pre_annotate=True, classes=("a & b", "c", "d"))
    root = ElementTree.parse(out / "annotations.xml").getroot()
    assert [name.text for name in root.findall("meta/task/labels/label/name")] == ["a & b", "c", "d"]
    assert [part.tag for part in root][:2] == ["version", "meta"]
