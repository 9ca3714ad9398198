import html
import re
from pathlib import Path

import numpy as np
import pytest

import elfs
from elfs.errors import InputDataError, MissingUpstreamError, UsageError
from tests.chain import CORRUPT, make_embeddings, make_pictures, run_chain, run_stage


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("view")
    make_pictures(folder / "photos & more", corrupt=True)
    run_chain(folder / "w", root=folder / "photos & more", source="folder")
    return folder


def test_what_it_holds(folder: Path) -> None:
    opened = elfs.open_workspace(folder / "w")
    assert opened.path == folder / "w"
    assert len(opened.ids) == 60
    assert opened.embeddings.shape == (60, opened.embeddings.shape[1])
    assert np.isnan(opened.embeddings[opened.ids.index(CORRUPT)]).all()
    assert opened.pseudo_labels.shape == opened.scores["aum"].shape == (60,)
    assert opened.dynamics["margin"].shape == (3, 60)
    assert opened.selections == ("aum-0.2",)


def test_a_selection(folder: Path) -> None:
    opened = elfs.open_workspace(folder / "w")
    picked = opened.selection()
    assert picked.name == "aum-0.2"
    assert picked.path.read_text().count("\n") == len(picked) + 1 == 13
    assert picked.ids == [opened.ids[row] for row in picked.indices]
    assert len(picked.why) == picked.summary["count"] == 12
    assert picked.images() == picked.ids
    assert [image.size for image in picked.images(kind="pil")] == [(8, 8)] * 12
    with pytest.raises(UsageError, match="unknown selection 'aum'"):
        opened.selection("aum")


def test_images_by_row(folder: Path) -> None:
    opened = elfs.open_workspace(folder / "w")
    assert opened.images() == opened.ids
    assert opened.images([1, 0], kind="paths") == [str(folder / "photos & more" / opened.ids[row]) for row in (1, 0)]
    (image,) = opened.images(np.array([2]), kind="pil")
    assert (image.mode, image.size) == ("RGB", (8, 8))
    with pytest.raises(InputDataError, match="rows go from 0 to 60, expected 0 to 59"):
        opened.images([0, 60])
    with pytest.raises(InputDataError, match=f"the image '{CORRUPT}' cannot be read"):
        opened.images([opened.ids.index(CORRUPT)], kind="pil")


def test_images_that_are_none_or_no_files(tmp_path: Path) -> None:
    file = make_embeddings(tmp_path / "e.npy")
    run_stage("embed", tmp_path / "w", source="embeddings", embeddings=str(file), encoder=None)
    with pytest.raises(InputDataError, match="kind='pil' needs images"):
        elfs.open_workspace(tmp_path / "w").images([0], kind="pil")
    run_stage("embed", tmp_path / "d", source="synthetic:classes=3,images=40,test=0,size=16", force=True)
    with pytest.raises(InputDataError, match="no files of their own: take kind='pil'"):
        elfs.open_workspace(tmp_path / "d").images([0], kind="paths")


def test_the_preview(folder: Path) -> None:
    shown = elfs.open_workspace(folder / "w")._repr_html_()
    assert html.escape(str(folder / "w")) in shown
    assert all(f"<td>{stage}" in shown for stage in ("embed", "cluster", "select/aum-0.2"))
    assert len(re.findall(r'<img alt="" width="64" src="data:image/png;base64,', shown)) == 12


def test_the_preview_before_anything_is_selected(tmp_path: Path) -> None:
    file = make_embeddings(tmp_path / "e.npy")
    run_stage("embed", tmp_path / "w", source="embeddings", embeddings=str(file), encoder=None)
    assert "<img" not in elfs.open_workspace(tmp_path / "w")._repr_html_()


def test_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(MissingUpstreamError, match="there is no workspace"):
        elfs.open_workspace(tmp_path)
