"""Images through an encoder, with the broken ones kept apart."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from elfs.data.samples import Outcome
from elfs.errors import InputDataError
from elfs.models.encoders import PixelEncoder
from elfs.train.encoding import encode_rows, transformed_sample, typical_side, unreadable_rows
from tests.data_package.pictures import FaultyReader

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


def test_encoded_rows_stand_in_the_order_asked_for() -> None:
    advanced: list[int] = []
    rows = np.array([1, 4, 9])
    encoder = PixelEncoder(4, 1)
    found = encode_rows(GOOD, rows, encoder, batch_size=2, num_workers=0, advance=advanced.append)
    assert (found.embeddings.shape, found.embeddings.dtype, found.failures) == ((3, 16), np.dtype(np.float16), {})
    expected = [float(encoder.transform(GOOD.read(row)).flatten()[0]) for row in rows]
    np.testing.assert_allclose(found.embeddings[:, 0], expected, rtol=1e-3)
    assert advanced == [2, 1]


def test_broken_image_has_no_embedding_and_shifts_nobody() -> None:
    rows = np.arange(1, 7)
    encoder = PixelEncoder(4, 1)
    whole = encode_rows(GOOD, rows, encoder, batch_size=2, num_workers=0, advance=lambda _: None)
    found = encode_rows(FAULTY, rows, encoder, batch_size=2, num_workers=0, advance=lambda _: None)
    assert found.failures == BROKEN
    assert np.isnan(found.embeddings[[1, 4]]).all()
    np.testing.assert_array_equal(found.embeddings[[0, 2, 3, 5]], whole.embeddings[[0, 2, 3, 5]])


def test_embedding_that_is_not_finite_counts_as_broken() -> None:
    rows = np.arange(4)
    found = encode_rows(GOOD, rows, Overflowing(4, 1), batch_size=4, num_workers=0, advance=lambda _: None)
    assert found.failures == {3: (Outcome.BROKEN, "its embedding is not finite")}
    assert np.isnan(found.embeddings[3]).all()
    assert np.isfinite(found.embeddings[:3]).all()


def test_unreadable_rows_are_named() -> None:
    advanced: list[int] = []
    assert unreadable_rows(FAULTY, np.arange(1, 7), num_workers=0, advance=advanced.append) == BROKEN
    assert unreadable_rows(FAULTY, np.zeros(0, np.int64), num_workers=0, advance=advanced.append) == {}
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
    assert typical_side(Sides(), np.array([8, 9, 1000])) == 9
    assert typical_side(Sides(), np.arange(1, 101)) == 50  # 16 of them, evenly spread


def test_typical_side_of_nothing_is_refused() -> None:
    with pytest.raises(
        InputDataError, match=r"^none of the 2 images that were tried could be read; the first: bad 2\.$"
    ):
        typical_side(FAULTY, np.array([2, 5]))
    with pytest.raises(InputDataError, match=r"^none of the 0 images that were tried could be read\.$"):
        typical_side(FAULTY, np.zeros(0, np.int64))
