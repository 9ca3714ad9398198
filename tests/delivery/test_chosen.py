import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.delivery.chosen import load_selection
from elfs.errors import CorruptArtifactError, StaleUpstreamError


def test_images_come_in_rank_order_with_what_is_known(shop: Any) -> None:
    selection = load_selection(shop.path, None)
    assert selection.name == "quarter"
    assert selection.rows.tolist() == [8, 9, 10, 11, 12]
    first = selection.images[0]
    assert (first.rank, first.row, first.id, first.pseudo_label, first.score) == (1, 8, "a/08.png", 2, 8.0)
    assert first.why.startswith("40.0% of the pool is harder by aum")
    assert (selection.source, selection.root) == ("folder", shop.root)
    assert selection.csv == (shop.path / "selections/quarter/selection.csv").read_bytes()


def test_a_selection_by_chance_needs_no_scores(empty: Any) -> None:
    empty.draw([f"{number}.png" for number in range(4)])
    empty.embed()
    empty.select(method="random", budget="2", name="chance")
    assert {(image.pseudo_label, image.score) for image in load_selection(empty.path, None).images} == {(None, None)}


def test_samples_that_were_listed_anew_make_it_stale(shop: Any) -> None:
    shop.draw(["c/new.png"])
    shop.embed()
    with pytest.raises(StaleUpstreamError, match="'quarter' is stale: the samples were listed anew") as caught:
        load_selection(shop.path, None)
    assert "elfs select" in (caught.value.hint or "")


def rewrite(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert len(old) == len(new)
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b"rank,id", b"rang,id", "its columns are"),
        (b"1,a/08.png", b"1,a/07.png", "line 1 is 'a/07.png' of rank 1, expected 'a/08.png'"),
        (b"1,a/08.png", b"7,a/08.png", "of rank 7"),
        (b"\n2,a/09", b",2,a/09", "too many values"),
        (b",2,8,40", b",x,8,40", "invalid literal for int"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(shop: Any, old: bytes, new: bytes, problem: str) -> None:
    rewrite(shop.path / "selections/quarter/selection.csv", old, new)
    with pytest.raises(CorruptArtifactError, match=re.escape(problem)) as caught:
        load_selection(shop.path, None)
    assert (caught.value.hint or "").endswith("--force")


def test_rows_outside_the_table_are_refused(shop: Any) -> None:
    path = shop.path / "selections/quarter/indices.safetensors"
    rewrite(path, np.array([8, 9], "<i8").tobytes(), np.array([8, 99], "<i8").tobytes())
    with pytest.raises(CorruptArtifactError, match=r"the rows span 8\.\.99 of 20 samples"):
        load_selection(shop.path, None)


def test_a_workspace_that_was_moved_is_read_where_it_is(shop: Any, tmp_path: Path) -> None:
    shutil.move(shop.path, tmp_path / "moved")
    assert len(load_selection(tmp_path / "moved", "quarter").images) == 5
