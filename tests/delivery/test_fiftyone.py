"""What FiftyOne's importer of classification data sets finds: its keys have no extension and are sorted."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from elfs.annotations.reading import read_answers
from elfs.data.sources import open_source
from elfs.delivery.chosen import load_selection
from elfs.delivery.export import prepare_export
from elfs.delivery.export_options import ExportOptions


def exported(shop: Any, out: Path, **options: Any) -> Path:
    prepare_export(shop.path, None, ExportOptions(format="fiftyone", **options)).write(out, force=False)
    return out


def imported(out: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return path and label of each sample in the order of FiftyOne, by the rules of its importer."""
    paths = json.loads((out / "data.json").read_text())
    found = json.loads((out / "labels.json").read_text())
    files = {os.path.splitext(key)[0]: os.path.join(out, path) for key, path in paths.items()}
    return [(files[key], found["labels"][key]) for key in sorted(found["labels"])]


def test_images_come_in_the_order_of_the_ranks_with_what_is_known(shop: Any, tmp_path: Path) -> None:
    shop.select(method="random", budget="1.0", name="mixed")
    ranked = load_selection(shop.path, "mixed").images
    samples = imported(exported(shop, tmp_path / "out"))
    assert [path for path, _ in samples] == [f"{shop.root}/{image.id}" for image in ranked]
    for (_, label), image in zip(samples, ranked, strict=True):
        assert label["label"] == f"cluster {image.pseudo_label}"
        assert (label["attributes"]["elfs_id"], label["attributes"]["rank"]) == (image.id, image.rank)
        assert label["attributes"]["score"] == image.score


def test_pictures_that_are_no_files_come_along(empty: Any, tmp_path: Path) -> None:
    empty.embed(open_source("digits", None).list().take(np.arange(4)), source="digits")
    empty.select(method="random", budget="2", name="two")
    samples = imported(exported(empty, tmp_path / "out"))
    assert all(Path(path).is_file() for path, _ in samples)
    assert [label["label"] for _, label in samples] == ["selected", "selected"]


def test_a_prefix_stands_for_images_elsewhere(shop: Any, tmp_path: Path) -> None:
    samples = imported(exported(shop, tmp_path / "out", prefix="/mnt/set/"))
    assert [path for path, _ in samples[:2]] == ["/mnt/set/a/08.png", "/mnt/set/a/09.png"]


def test_the_way_back_is_told_and_works(shop: Any, tmp_path: Path) -> None:
    text = (exported(shop, tmp_path / "out") / "README.md").read_text()
    assert '{"elfs.elfs_id": "id", "ground_truth.label": "label"}' in text
    assert f"elfs train --selection quarter --labels labels.csv --network linear --workspace {shop.path}" in text
    (tmp_path / "labels.csv").write_text("filepath,id,label\n/elsewhere/08.png,a/08.png,cat\n")
    assert [(answer.image, answer.classes) for answer in read_answers(tmp_path / "labels.csv")] == [
        ("a/08.png", ("cat",))
    ]
