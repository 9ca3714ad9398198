import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elfs.data.samples import SampleTable
from elfs.delivery.chosen import load_selection
from elfs.delivery.pictures import Pictures
from elfs.delivery.thumbnails import Thumbnail, Thumbnails


def thumbnails_of(shop: Any) -> Thumbnails:
    return Thumbnails(Pictures(load_selection(shop.path, None)))


def opened(thumbnail: Thumbnail) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(thumbnail.address.partition(",")[2])))


def test_tiny_pictures_keep_their_pixels(shop: Any) -> None:
    thumbnail = thumbnails_of(shop).thumbnail(8)
    assert thumbnail.tiny
    assert thumbnail.address.startswith("data:image/png;base64,")
    assert (opened(thumbnail).size, opened(thumbnail).getpixel((0, 0))) == ((12, 8), (8, 100, 200))


def test_large_pictures_become_small(empty: Any) -> None:
    empty.draw(["x.png"], size=(1000, 500))
    empty.embed()
    empty.select(method="random", budget="1", name="one")
    thumbnail = thumbnails_of(empty).thumbnail(0)
    assert not thumbnail.tiny
    assert (opened(thumbnail).format, opened(thumbnail).size) == ("JPEG", (160, 80))
    assert len(thumbnail.address) < 10_000


def test_a_picture_that_is_gone_is_counted(shop: Any) -> None:
    (shop.root / "a/08.png").unlink()
    thumbnails = thumbnails_of(shop)
    assert thumbnails.thumbnail(8) == Thumbnail(problem="missing")
    assert thumbnails.problems == ["missing: No such file or directory (ENOENT)"]


def test_a_data_set_that_cannot_be_had_is_counted(empty: Any, tmp_path: Path) -> None:
    empty.embed(SampleTable.from_ids(["cifar10/train/00000"], 0, 0), source="cifar10")
    empty.select(method="random", budget="1", name="one")
    thumbnails = thumbnails_of(empty)
    assert thumbnails.thumbnail(0) == Thumbnail(problem="no image")
    assert len(thumbnails.problems) == 1


def test_embeddings_alone_are_no_problem(empty: Any) -> None:
    empty.embed(SampleTable.from_ids(["x"], 0, 0), source="embeddings", has_images=False)
    empty.select(method="random", budget="1", name="one")
    thumbnails = thumbnails_of(empty)
    assert thumbnails.thumbnail(0).problem == "no image"
    assert thumbnails.problems == []


@pytest.mark.parametrize("side", [60, 400])
@pytest.mark.parametrize("count", [1, 1_800])
def test_each_picture_of_many_gets_an_equal_share_of_the_page(empty: Any, side: int, count: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)  # nothing is larger
    empty.root.mkdir()
    Image.fromarray(noise).save(empty.root / "x.png")
    empty.embed()
    empty.select(method="random", budget="1", name="one")
    thumbnail = thumbnails_of(empty).large(0, count)
    assert len(thumbnail.address) * count <= 11_000_000
    assert thumbnail.tiny == (side == 60)
    assert max(opened(thumbnail).size) == min(side, 384) if count == 1 else 32 <= max(opened(thumbnail).size) <= side
