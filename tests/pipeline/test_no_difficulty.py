"""Pools that hold no signal of difficulty finish the whole chain, and are told so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elfs.catalog import STAGES
from elfs.delivery.export import ExportOptions, prepare_export
from elfs.delivery.report import write_report
from elfs.parallel.runtime import Runtime
from tests.chain import run_stage

pytestmark = pytest.mark.usefixtures("no_drawing")


class Listener:
    """Collects what stages warn of."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def runtime(self) -> Runtime:
        return Runtime(devices="cpu", warn=self.said.append)


def identical(folder: Path) -> None:
    for number in range(24):
        Image.new("RGB", (8, 8), (120, 30, 60)).save(folder / f"{number:02d}.png")


def nearly_identical(folder: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(24):
        pixels = 120 + random.integers(0, 2, (8, 8, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02d}.png")


def blank_with_one_dot(folder: Path) -> None:
    for number in range(24):
        image = Image.new("L", (8, 8), 0)
        image.putpixel((number % 8, number // 8), 1)
        image.save(folder / f"{number:02d}.png")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "method"),
    [
        (identical, "graph"),
        (identical, "temi"),
        (identical, "kmeans"),
        (identical, "turtle"),
        (nearly_identical, "graph"),
        (blank_with_one_dot, "temi"),
    ],
)
def test_row_47_a_pool_without_difference_finishes(tmp_path: Path, make: Callable[[Path], None], method: str) -> None:
    folder, workspace, listener = tmp_path / "pictures", tmp_path / "workspace", Listener()
    folder.mkdir()
    make(folder)
    for stage in STAGES:
        settings: dict[str, dict[str, Any]] = {
            "embed": {"source": "folder"},
            "cluster": {"clusters": 2, "method": method}
            | ({"heads": None, "epochs": None} if method != "temi" else {}),
            "select": {"budget": "5"},
        }
        changes = settings.get(stage, {})
        run_stage(stage, workspace, root=folder if stage == "embed" else None, runtime=listener.runtime(), **changes)
    assert len(prepare_export(workspace, None, ExportOptions()).selection.images) == 5
    write_report(workspace, None, tmp_path / "report.html")
    if make is identical:
        assert [text for text in listener.said if "no signal of difficulty" in text]
        assert not [text for text in listener.said if "Try --clusters 2" in text]


@pytest.mark.parametrize("recipe", ["small", "ensemble"])
def test_row_47_one_pseudo_label_is_recorded_with_a_warning(tmp_path: Path, recipe: str) -> None:
    folder, workspace, listener = tmp_path / "pictures", tmp_path / "workspace", Listener()
    folder.mkdir()
    identical(folder)
    run_stage("embed", workspace, root=folder, source="folder", encoder="pixels")
    run_stage("cluster", workspace, clusters=2, method="kmeans", heads=None, epochs=None)
    run_stage("label", workspace)
    run_stage("dynamics", workspace, recipe=recipe, runtime=listener.runtime())
    assert [text for text in listener.said if "all images have the same pseudo-label" in text]
