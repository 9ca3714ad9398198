from pathlib import Path
from typing import Any

import pytest

from elfs.annotations.annotating import annotate
from elfs.delivery.choices import choices_of, parse_classes
from elfs.delivery.chosen import load_selection
from elfs.errors import InputDataError, UsageError


@pytest.mark.parametrize("text", ["cat,dog", " cat , dog ,", "cat\ndog\n", "\ufeffcat\r\n\r\ndog"])
def test_classes_are_typed_or_listed(tmp_path: Path, text: str) -> None:
    if "\n" in text:
        (tmp_path / "classes.txt").write_bytes(text.encode())
        text = str(tmp_path / "classes.txt")
    assert parse_classes(text) == ("cat", "dog")


@pytest.mark.parametrize("text", ["", ",", " "])
def test_no_classes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^--classes is '.*', expected names such as cat,dog or a file"):
        parse_classes(text)


def test_a_file_that_is_no_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    with pytest.raises(InputDataError, match=r"^--classes .*x\.png: it is no text\.$"):
        parse_classes(str(tmp_path / "x.png"))


def test_names_of_clusters(shop: Any) -> None:
    selection = load_selection(shop.path, None)
    plain = choices_of(selection, None, pre_annotate=True)
    assert (plain.names, plain.of_cluster[2]) == (("cluster 0", "cluster 1", "cluster 2"), "cluster 2")
    named = choices_of(selection, ("a", "b", "a"), pre_annotate=True)
    assert (named.names, dict(named.of_cluster)) == (("a", "b"), {0: "a", 1: "b", 2: "a"})
    assert choices_of(selection, ("a", "b"), pre_annotate=False).names == ("a", "b")
    with pytest.raises(UsageError, match=r"^--classes has 2 names and there are 3 clusters: --pre-annotate needs"):
        choices_of(selection, ("a", "b"), pre_annotate=True)


def annotated(shop: Any, tmp_path: Path) -> None:
    (tmp_path / "said.csv").write_text("id,label\na/00.png,dog\na/01.png,cat\n")
    annotate(shop.path, tmp_path / "said.csv")


def test_people_are_offered_the_classes_that_they_use_already(shop: Any, tmp_path: Path) -> None:
    annotated(shop, tmp_path)
    selection = load_selection(shop.path, None)
    assert choices_of(selection, None, pre_annotate=False).names == ("cat", "dog")
    assert choices_of(selection, ("a", "b"), pre_annotate=False).names == ("a", "b")


def test_a_pseudo_label_stands_for_the_class_that_it_was_learned_as(shop: Any, tmp_path: Path) -> None:
    """Cluster 2 of three had no annotated image within reach."""
    annotated(shop, tmp_path)
    shop.label(20, names=["cat", "dog", "cluster 2"])
    learned = shop.select(method="elfs", budget="0.25", hard_rate=0.4, name="learned")
    offered = choices_of(load_selection(shop.path, learned), None, pre_annotate=True)
    assert offered.names == ("cat", "dog", "cluster 2")
    assert dict(offered.of_cluster) == {0: "cat", 1: "dog", 2: "cluster 2"}


def test_names_of_other_pseudo_labels_than_the_selection_saw_are_not_taken(shop: Any, tmp_path: Path) -> None:
    annotated(shop, tmp_path)
    shop.label(20, names=["cat", "dog", "cluster 2"], first=1)
    offered = choices_of(load_selection(shop.path, "quarter"), None, pre_annotate=True)
    assert offered.of_cluster[0] == "cluster 0"
    assert offered.names == ("cat", "dog", "cluster 0", "cluster 1", "cluster 2")
