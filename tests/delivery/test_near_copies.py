"""Groups of near copies."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elfs.delivery import near_copies as module
from elfs.delivery.chosen import Selection, load_selection
from elfs.delivery.near_copies import near_copies
from elfs.delivery.pool import load_pool
from tests.chain import run_stage


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[], Selection]:
    """Forty noisy pictures, of which 3, 17 and 29, and 5 and 6, differ by a step of one pixel alone."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    for source, copies in ((3, (17, 29)), (5, (6,))):
        for number, copy in enumerate(copies):
            pixels[copy] = pixels[source]
            pixels[copy, number, 0, 0] ^= 1
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{number:02d}.png")

    def select() -> Selection:
        run_stage("embed", tmp_path / "ws", root=folder, source="folder")
        run_stage("select", tmp_path / "ws", method="random", budget="10", dedup="off", name="x")
        return load_selection(tmp_path / "ws", "x")

    return select


def test_groups_are_found_the_largest_first(copied: Callable[[], Selection], monkeypatch: pytest.MonkeyPatch) -> None:
    selection = copied()
    pool = load_pool(selection)
    assert [group.tolist() for group in near_copies(selection, pool)] == [[3, 17, 29], [5, 6]]
    monkeypatch.setattr(module, "_MOST_ROWS", 39)
    assert near_copies(selection, pool) == []
