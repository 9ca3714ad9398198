from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from elfs.data.loaders import decode_batches, load_images, nearly_equal
from elfs.data.samples import Outcome
from elfs.data.sources.arrays import ArrayReader
from elfs.data.sources.folder import FolderSource
from elfs.errors import InputDataError
from tests.data_package.pictures import FaultyReader, noise, reader_of, seeded, to_tensor


@pytest.mark.parametrize("num_workers", [0, 2])
def test_row_26_bad_images_are_reported_and_the_others_keep_their_rows(num_workers: int) -> None:
    rows = torch.tensor([7, 3, 5, 1, 4, 4, 2])
    reader = FaultyReader(frozenset((3, 1, 4)))
    batches = list(decode_batches(reader, rows, to_tensor, batch_size=2, num_workers=num_workers))
    assert [batch.rows.tolist() for batch in batches] == [[7], [5], [], [2]]
    assert [[row for row, _, _ in batch.failures] for batch in batches] == [[3], [1], [4, 4], []]
    assert batches[0].failures == [(3, Outcome.BROKEN, "bad 3")]
    assert [batch.images[:, 0, 0, 0].tolist() for batch in batches if len(batch.rows)] == [[7], [5], [2]]
    assert batches[2].images.shape == (0,)
    assert batches[0].rows.dtype == torch.int64


def nothing(_: Image.Image) -> Tensor:
    return torch.zeros(1)


def test_remarks_are_kept_by_row(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for name in ("a.gif", "b.gif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    Image.new("RGB", (4, 70)).save(tmp_path / "c.png")
    Image.new("RGB", (4, 5)).save(tmp_path / "d.png")
    source = FolderSource(tmp_path, 1000)
    reader = source.reader(source.list())
    batches = decode_batches(reader, torch.tensor([2, 0, 3, 1]), nothing, batch_size=2, num_workers=1)
    assert [batch.remarks for batch in batches] == [
        {2: ["odd_shape"], 0: ["several_frames"]},
        {1: ["several_frames"]},
    ]


def test_decoding_no_rows_gives_no_batches() -> None:
    reader = FaultyReader(frozenset())
    assert not list(decode_batches(reader, torch.empty(0, dtype=torch.int64), to_tensor, batch_size=2, num_workers=0))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_decoding_leaves_the_global_generator_alone(num_workers: int) -> None:
    before = torch.get_rng_state()
    list(decode_batches(FaultyReader(frozenset()), torch.arange(3), to_tensor, batch_size=2, num_workers=num_workers))
    assert torch.equal(torch.get_rng_state(), before)


def test_decoding_may_be_left_early() -> None:
    batches = decode_batches(FaultyReader(frozenset()), torch.arange(50), to_tensor, batch_size=2, num_workers=1)
    assert next(iter(batches)).rows.tolist() == [0, 1]


def test_a_folder_with_every_kind_of_trouble_is_decoded_to_the_end(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"")
    (tmp_path / "c.jpg").write_text("<html>404</html>")
    (tmp_path / "d.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    Image.new("RGB", (40, 40)).save(tmp_path / "e.png")
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "f.gif", "PNG")
    source = FolderSource(tmp_path, 1000)
    table = source.list()
    (batch,) = decode_batches(source.reader(table), torch.arange(6), to_tensor, batch_size=8, num_workers=0)
    assert batch.rows.tolist() == [0, 5]
    outcomes = {table.id(row): outcome for row, outcome, _ in batch.failures}
    assert set(outcomes) == {"b.jpg", "c.jpg", "d.heic", "e.png"}
    assert outcomes["b.jpg"] == outcomes["c.jpg"] == Outcome.BROKEN
    assert outcomes["d.heic"] in (Outcome.UNSUPPORTED, Outcome.BROKEN)  # by whether a decoder is installed
    assert outcomes["e.png"] == Outcome.TOO_LARGE


@pytest.mark.parametrize("num_workers", [0, 2])
def test_load_images_keeps_the_order_of_rows(num_workers: int) -> None:
    images = noise(150, 6)
    rows = torch.randperm(150, generator=seeded())
    loaded = load_images(reader_of(images), rows, 6, num_workers=num_workers)
    assert loaded.dtype == torch.uint8
    assert torch.equal(loaded, images[rows])


def test_load_images_resizes_the_short_side_and_crops() -> None:
    pixels = np.zeros((1, 8, 24, 3), np.uint8)
    pixels[:, :, 8:16] = 200
    loaded = load_images(ArrayReader((pixels,), np.arange(1)), torch.tensor([0]), 4, num_workers=0)
    assert loaded.shape == (1, 3, 4, 4)
    assert loaded[..., 1:3].min() > 190


def test_load_images_refuses_what_can_no_longer_be_read() -> None:
    with pytest.raises(InputDataError, match=r"the image of row 3 could be read before and is now broken \(bad 3\)"):
        load_images(FaultyReader(frozenset((3,))), torch.arange(5), 4, num_workers=0)


@pytest.mark.parametrize(("count", "length", "sizes"), [(0, 4, []), (9, 4, [3, 3, 3]), (5, 4, [3, 2]), (4, 4, [4])])
def test_pieces_are_nearly_equal(count: int, length: int, sizes: list[int]) -> None:
    assert [len(piece) for piece in nearly_equal(torch.arange(count), length)] == sizes


@pytest.mark.parametrize("num_workers", [0, 1])
def test_lengths_of_the_batches_can_be_given(num_workers: int) -> None:
    rows = torch.tensor([4, 2, 0, 3, 1, 5])
    batches = decode_batches(FaultyReader(frozenset()), rows, to_tensor, batch_size=[1, 3, 2], num_workers=num_workers)
    assert [batch.rows.tolist() for batch in batches] == [[4], [2, 0, 3], [1, 5]]
