import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elfs.data.samples import SampleTable
from elfs.data.sources import open_source
from elfs.delivery.chosen import load_selection
from elfs.delivery.pictures import Pictures
from elfs.errors import CorruptArtifactError, InputDataError, StorageError


def pictures_of(shop: Any) -> Pictures:
    return Pictures(load_selection(shop.path, None))


def digits(empty: Any) -> Any:
    table = open_source("digits", None, download=False, max_pixels=1 << 30).list()
    empty.embed(table.take(np.arange(30)), source="digits")
    empty.select(method="random", budget="3", name="three")
    return empty


def by_ids(empty: Any, *names: str, **facts: Any) -> Any:
    empty.embed(SampleTable.from_ids(names, 0, 0), **facts)
    empty.select(method="random", budget="1", name="one")
    return empty


def test_a_file_keeps_its_name_and_bytes(shop: Any, tmp_path: Path) -> None:
    pictures = pictures_of(shop)
    assert pictures.exist
    assert pictures.are_files
    assert pictures.name("a/08.png") == "a/08.png"
    assert pictures.file("a/08.png") == str(shop.root / "a/08.png")
    pictures.copy(8, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (shop.root / "a/08.png").read_bytes()


def test_a_picture_of_a_data_set_becomes_a_png(empty: Any, tmp_path: Path) -> None:
    pictures = pictures_of(digits(empty))
    assert not pictures.are_files
    assert pictures.name("digits/train/0007") == "digits/train/0007.png"
    assert pictures.file("digits/train/0007") == "digits/train/0007"
    assert pictures.size(7) == (8, 8)
    pictures.copy(7, tmp_path / "copy.png")
    with Image.open(tmp_path / "copy.png") as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), np.asarray(pictures.image(7)))


def test_size_follows_the_orientation(empty: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    empty.root.mkdir()
    Image.new("RGB", (30, 20)).save(empty.root / "turned.jpg", exif=exif)
    Image.new("RGB", (30, 20)).save(empty.root / "upright.jpg")
    empty.embed()
    empty.select(method="random", budget="2", name="two")
    pictures = pictures_of(empty)
    assert [pictures.size(row) for row in (0, 1)] == [(20, 30), (30, 20)]
    assert pictures.image(0).size == (20, 30)


def test_the_decoder_is_asked_where_the_header_does_not_tell(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = pictures_of(shop)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert pictures.size(8) == (12, 8)


def test_a_file_that_is_gone(shop: Any, tmp_path: Path) -> None:
    pictures = pictures_of(shop)
    (shop.root / "a/08.png").unlink()
    with pytest.raises(InputDataError, match=r"'a/08\.png' can no longer be read: No such file") as caught:
        pictures.copy(8, tmp_path / "copy")
    assert "elfs embed --root FOLDER" in (caught.value.hint or "")
    with pytest.raises(InputDataError, match=r"'a/08\.png' can no longer be read: missing"):
        pictures.size(8)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(shop: Any, tmp_path: Path) -> None:
    (shop.root / "a/08.png").unlink()
    os.mkfifo(shop.root / "a/08.png")
    with pytest.raises(InputDataError, match="it is no regular file"):
        pictures_of(shop).copy(8, tmp_path / "copy")


def test_nothing_is_overwritten(shop: Any, tmp_path: Path) -> None:
    (tmp_path / "copy").touch()
    with pytest.raises(StorageError, match=r"cannot write .*copy: File exists"):
        pictures_of(shop).copy(8, tmp_path / "copy")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a//b.png", "a/./b.png"])
def test_an_id_that_leads_out_of_the_folder_is_refused(empty: Any, name: str) -> None:
    pictures = pictures_of(by_ids(empty, name))
    for use in (lambda: pictures.name(name), lambda: pictures.file(name), lambda: pictures.image(0)):
        with pytest.raises(CorruptArtifactError, match="leads out of the folder of images"):
            use()


def test_embeddings_alone_have_no_pictures(empty: Any) -> None:
    pictures = pictures_of(by_ids(empty, "x", source="embeddings", has_images=False))
    assert (pictures.exist, pictures.name("x"), pictures.file("x")) == (False, "x", "x")
    with pytest.raises(InputDataError, match="--format cvat needs images, but this workspace was made from embeddings"):
        pictures.require("--format cvat")
