"""Images through an encoder, with the broken ones kept apart."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from elfs.data.hashing import NO_CONTENT
from elfs.data.samples import Outcome
from elfs.data.sources import ImageReader
from elfs.errors import DeviceError, InputDataError
from elfs.models.pixels import PixelEncoder
from elfs.stages.embedding.batches import (
    Encoding,
    encode_rows,
    inspect_images,
    transformed_sample,
    typical_side,
)
from elfs.stages.embedding.memory import is_out_of_memory, out_of_memory
from elfs.stages.embedding.passes import BatchEncoder, Landing
from tests.data_package.pictures import FaultyReader
from tests.data_package.test_workers import Hostile, kill, posix

GOOD = FaultyReader(frozenset())
FAULTY = FaultyReader(frozenset({2, 5}))
BROKEN = {row: (Outcome.BROKEN, f"bad {row}") for row in (2, 5)}


class Sides:
    """Images as large as their row number says."""

    def read(self, row: int) -> Image.Image:
        return Image.new("RGB", (row, 2 * row))


class Overflowing(PixelEncoder):
    """Gives infinity for bright images."""

    def encode(self, batch: Tensor) -> Tensor:
        return torch.where(batch.flatten(1) > batch.max() - 1e-6, 1e6, batch.flatten(1))


class Greedy(PixelEncoder):
    """Has memory for some images at once, and notes how many it was given."""

    def __init__(self, room: int, error: type[Exception] = torch.OutOfMemoryError, text: str = "no memory") -> None:
        super().__init__(4, 1)
        self.sizes: list[int] = []
        self.room, self.error = room, error(text)

    def encode(self, batch: Tensor) -> Tensor:
        self.sizes.append(len(batch))
        if len(batch) > self.room:
            raise self.error
        return super().encode(batch)


def batches(encoder: PixelEncoder, size: int, said: list[str] | None = None) -> BatchEncoder:
    ignored: list[str] = []
    return BatchEncoder(encoder, size, torch.device("cpu"), (ignored if said is None else said).append)


def encoded(
    reader: ImageReader, rows: NDArray[np.int64], encoder: BatchEncoder, advance: Callable[[int], None]
) -> Encoding:
    (found,) = encode_rows(reader, rows, encoder, ends=[10**6], num_workers=0, advance=advance)
    return found


def test_encoded_rows_stand_in_the_order_asked_for() -> None:
    advanced: list[int] = []
    rows = np.array([1, 4, 9])
    encoder = PixelEncoder(4, 1)
    found = encoded(GOOD, rows, batches(encoder, 2), advance=advanced.append)
    assert (found.embeddings.shape, found.embeddings.dtype, found.failures) == ((3, 16), np.dtype(np.float16), {})
    expected = [float(encoder.transform(GOOD.read(row)).flatten()[0]) for row in rows]
    np.testing.assert_allclose(found.embeddings[:, 0], expected, rtol=1e-3)
    assert advanced == [2, 1]


def test_broken_image_has_no_embedding_and_shifts_nobody() -> None:
    rows = np.arange(1, 7)
    encoder = PixelEncoder(4, 1)
    whole = encoded(GOOD, rows, batches(encoder, 2), advance=lambda _: None)
    found = encoded(FAULTY, rows, batches(encoder, 2), advance=lambda _: None)
    assert found.failures == BROKEN
    assert np.isnan(found.embeddings[[1, 4]]).all()
    np.testing.assert_array_equal(found.embeddings[[0, 2, 3, 5]], whole.embeddings[[0, 2, 3, 5]])


def test_where_a_batch_is_begun_before_the_last_is_looked_at_the_same_comes_in_the_same_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, said = np.arange(1, 7), list[str]()

    class Said(Landing):
        def numpy(self) -> NDArray[np.float16]:
            said.append("looked at")
            return super().numpy()

    class Saying(PixelEncoder):
        def encode(self, batch: torch.Tensor) -> torch.Tensor:
            said.append("begun")
            return super().encode(batch)

    def run() -> tuple[Encoding, list[str]]:
        said.clear()
        found = encoded(FAULTY, rows, batches(Saying(4, 1), 1), advance=lambda count: said.append(f"{count} done"))
        return found, list(said)

    monkeypatch.setattr("elfs.stages.embedding.batches.Landing", Said)
    one_by_one, in_turn = run()
    monkeypatch.setattr(BatchEncoder, "num_ahead", 1)
    ahead, overlapped = run()
    np.testing.assert_array_equal(ahead.embeddings, one_by_one.embeddings)
    np.testing.assert_array_equal(ahead.contents, one_by_one.contents)
    assert ahead.failures == one_by_one.failures == BROKEN
    assert in_turn[:6] == ["begun", "looked at", "1 done", "1 done", "begun", "looked at"]  # the second is broken
    assert overlapped[:7] == ["begun", "looked at", "1 done", "begun", "1 done", "begun", "looked at"]
    assert (len(overlapped), overlapped[-1]) == (len(in_turn), "1 done")


def test_embedding_that_is_not_finite_counts_as_broken() -> None:
    rows = np.arange(4)
    found = encoded(GOOD, rows, batches(Overflowing(4, 1), 4), advance=lambda _: None)
    assert found.failures == {3: (Outcome.BROKEN, "its embedding is not finite")}
    assert np.isnan(found.embeddings[3]).all()
    assert np.isfinite(found.embeddings[:3]).all()


def test_inspect_images_are_named() -> None:
    advanced: list[int] = []
    failures, contents = inspect_images(FAULTY, np.arange(1, 7), num_workers=0, advance=advanced.append)
    assert failures == BROKEN
    assert np.array_equal(contents == NO_CONTENT, np.isin(np.arange(1, 7), list(BROKEN)))
    assert inspect_images(FAULTY, np.zeros(0, np.int64), num_workers=0, advance=advanced.append)[0] == {}
    assert advanced == [6]


def test_sample_leaves_broken_images_out() -> None:
    advanced: list[int] = []
    found = transformed_sample(FAULTY, np.arange(6), PixelEncoder(4, 1), num_workers=0, advance=advanced.append)
    assert (found.shape[0], sum(advanced)) == (4, 6)


@pytest.mark.parametrize("rows", [[2, 5], []])
def test_sample_without_any_image_is_refused(rows: list[int]) -> None:
    with pytest.raises(InputDataError, match=rf"^none of {len(rows)} training images could be read"):
        transformed_sample(FAULTY, np.array(rows, np.int64), PixelEncoder(4, 1), num_workers=0, advance=lambda _: None)


def test_typical_side_is_the_median_short_side() -> None:
    assert typical_side(Sides(), np.array([8, 9, 1000]), num_workers=0) == 9
    assert typical_side(Sides(), np.arange(1, 101), num_workers=0) == 50  # 16 of them, evenly spread


def test_typical_side_of_nothing_is_refused() -> None:
    with pytest.raises(
        InputDataError, match=r"^none of the 2 images that were tried could be read; the first: bad 2\.$"
    ):
        typical_side(FAULTY, np.array([2, 5]), num_workers=0)
    with pytest.raises(InputDataError, match=r"^none of the 0 images that were tried could be read\.$"):
        typical_side(FAULTY, np.zeros(0, np.int64), num_workers=0)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 2.00 GiB."),
        (RuntimeError, "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        (RuntimeError, "[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried"),
        (MemoryError, ""),
    ],
)
def test_row_54_memory_halves_the_batch_and_the_results_stay(error: type[Exception], text: str) -> None:
    """Room for 3 of 8: passes of 8 and 4 fail, all later ones have 2, filled up; said once."""
    said: list[str] = []
    rows = np.arange(19)
    whole = encoded(FAULTY, rows, batches(PixelEncoder(4, 1), 8), advance=lambda _: None)
    encoder = Greedy(3, error, text)
    found = encoded(FAULTY, rows, batches(encoder, 8, said), advance=lambda _: None)
    np.testing.assert_array_equal(found.embeddings, whole.embeddings)
    assert found.failures == whole.failures == BROKEN
    assert encoder.sizes[:3] == [8, 4, 2]
    assert set(encoder.sizes[3:]) == {2}
    assert said == ["cpu has not enough memory for 8 images at once; going on with half as many, or fewer still."]


def test_memory_that_failed_once_is_not_tried_again() -> None:
    encoder = Greedy(3)
    one = batches(encoder, 8)
    for _ in range(2):
        encoded(GOOD, np.arange(4), one, advance=lambda _: None)
    assert encoder.sizes == [8, 4, 2, 2, 2, 2]


def test_row_54_no_memory_for_one_image_is_refused() -> None:
    with pytest.raises(
        DeviceError,
        match=r"^cpu has not enough memory for the encoder pixels and one image: free memory, or take a smaller "
        r"--encoder\. What was embedded so far is kept\.$",
    ) as error:
        encoded(GOOD, np.arange(4), batches(Greedy(0), 8), advance=lambda _: None)
    assert (error.value.exit_code, error.value.hint) == (8, None)
    on_gpu = out_of_memory("vit", torch.device("cuda:1"))
    assert on_gpu.hint == "elfs embed --devices cpu"
    assert "cuda:1 has not enough memory for the encoder vit and one image: free memory there, take" in on_gpu.message


def test_other_errors_are_not_about_memory() -> None:
    assert not is_out_of_memory(ValueError("not enough memory"))
    with pytest.raises(RuntimeError, match="shapes differ"):
        batches(Greedy(0, RuntimeError, "shapes differ"), 8).encode(torch.zeros(2, 1, 4, 4))


def test_every_pass_has_the_same_number_of_images() -> None:
    """What an image becomes does not depend on how many others there are."""
    encoder = Greedy(8)
    for num_rows in (1, 7, 8, 9, 20):
        found = encoded(GOOD, np.arange(num_rows), batches(encoder, 8), advance=lambda _: None)
        assert np.isfinite(found.embeddings).all()
    assert encoder.sizes == [8] * (1 + 1 + 1 + 2 + 3)


@posix
def test_typical_side_survives_an_image_that_kills() -> None:
    assert typical_side(Hostile((1,), kill), np.arange(3), num_workers=1) == 4


@pytest.mark.parametrize("size", [1, 3, 4, 50])
def test_parts_are_cut_where_they_end(size: int) -> None:
    """Rows 1 to 6, 8 and 9 in parts up to 3, 3, 8 and 20; 2 and 5 are broken."""
    rows = np.array([1, 2, 3, 4, 5, 6, 8, 9])
    whole = encoded(FAULTY, rows, batches(PixelEncoder(4, 1), size), lambda _: None)
    given: dict[str, Any] = {"num_workers": 0, "advance": lambda _: None}
    parts = list(encode_rows(FAULTY, rows, batches(PixelEncoder(4, 1), size), ends=[3, 3, 8, 20], **given))
    assert [part.rows.tolist() for part in parts] == [[1, 2], [], [3, 4, 5, 6], [8, 9]]
    assert [sorted(part.failures) for part in parts] == [[2], [], [5], []]
    np.testing.assert_array_equal(np.concatenate([part.embeddings for part in parts]), whole.embeddings)
    assert whole.rows.tolist() == rows.tolist()


def test_a_part_is_handed_out_before_the_next_is_begun() -> None:
    advanced: list[int] = []
    parts = encode_rows(
        GOOD, np.arange(9), batches(PixelEncoder(4, 1), 3), ends=[3, 9], num_workers=0, advance=advanced.append
    )
    assert next(parts).rows.tolist() == [0, 1, 2]
    assert advanced == [3]
