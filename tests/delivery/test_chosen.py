import shutil
from pathlib import Path
from typing import Any

from elfs.delivery.chosen import load_selection


def test_images_come_in_rank_order_with_what_is_known(shop: Any) -> None:
    selection = load_selection(shop.path, None)
    assert selection.name == "quarter"
    assert selection.rows.tolist() == [8, 9, 10, 11, 12]
    first = selection.images[0]
    assert (first.rank, first.id, first.pseudo_label, first.score) == (1, "a/08.png", 2, 8.0)
    assert selection.remark is None
    assert first.why.startswith("40.0% of the pool is harder by aum")
    assert (selection.source, selection.root) == ("folder", shop.root)
    assert selection.csv == (shop.path / "selections/quarter/selection.csv").read_bytes()


def test_a_selection_by_chance_needs_no_scores(empty: Any) -> None:
    empty.draw([f"{number}.png" for number in range(4)])
    empty.embed()
    empty.select(method="random", budget="2", name="chance")
    assert {(image.pseudo_label, image.score) for image in load_selection(empty.path, None).images} == {(None, None)}


def test_ids_stand_whatever_became_of_the_rows(shop: Any) -> None:
    before = load_selection(shop.path, None)
    shop.draw(["a/00a.png"])
    (shop.root / "a/09.png").unlink()
    shop.embed()
    selection = load_selection(shop.path, None)
    assert selection.images == before.images
    assert selection.csv == before.csv
    assert selection.places.tolist() == [9, -1, 10, 11, 12]
    assert selection.rows.tolist() == [row for _, row in selection.in_pool()] == [9, 10, 11, 12]
    assert selection.remark == (
        "selection 'quarter' is taken as it is: it was made from older samples, scores; 1 of its images are not in the "
        "pool any more: 'a/09.png'."
    )


def test_a_workspace_that_was_moved_is_read_where_it_is(shop: Any, tmp_path: Path) -> None:
    shutil.move(shop.path, tmp_path / "moved")
    assert len(load_selection(tmp_path / "moved", "quarter").images) == 5
