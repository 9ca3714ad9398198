"""The 1,797 scanned digits that scikit-learn carries along (test set of UCI's optical recognition of digits)."""

import functools
import gzip
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elfs.data.samples import SampleTable, Split
from elfs.data.sources.arrays import ArrayReader, array_reader, array_table
from elfs.errors import InputDataError
from elfs.source_names import DATASETS

__all__ = ["NUM_PIXELS", "NUM_TEST", "DigitsSource", "digits_columns", "digits_order"]

NUM_DIGITS = 1797
NUM_TEST = 360
NUM_PIXELS = 64


def digits_order() -> NDArray[np.int64]:
    """Return which of scikit-learn's digits each row is.

    Returns
    -------
    ndarray of shape (1797,), int64
        Index into ``load_digits().images``: 1,437 train rows, then 360 test rows, each in the original order. The test
        rows are the first 360 of ``numpy.random.RandomState(0).permutation(1797)``.
    """
    is_test = np.zeros(NUM_DIGITS, bool)
    is_test[np.random.RandomState(0).permutation(NUM_DIGITS)[:NUM_TEST]] = True
    return np.concatenate([np.flatnonzero(~is_test), np.flatnonzero(is_test)]).astype(np.int64)


def digits_columns(columns: Sequence[int]) -> NDArray[np.float64]:
    """Read columns of the table that scikit-learn makes its digits of, which takes a second less than importing that.

    Parameters
    ----------
    columns : sequence of int
        Which of 65: the gray levels of a digit from 0 to 16 row by row, then its class.

    Returns
    -------
    ndarray of shape (1797, n_columns), float64
        In the order of ``load_digits``.

    Raises
    ------
    InputDataError
        If scikit-learn does not carry the table.
    """
    return _read_columns(tuple(columns)).copy()


@functools.cache
def _read_columns(columns: tuple[int, ...]) -> NDArray[np.float64]:
    """Read columns once: that takes 20 ms, and every stage lists the digits anew."""
    package = importlib.util.find_spec("sklearn")
    path = Path(str(package.origin if package else "")).parent / "datasets" / "data" / "digits.csv.gz"
    if not path.is_file():
        raise InputDataError("scikit-learn's digits are not there: digits.csv.gz. Run: pip install scikit-learn")
    with gzip.open(path) as file:
        return np.loadtxt(file, delimiter=",", usecols=columns, ndmin=2)


@dataclass(frozen=True)
class DigitsSource:
    """Digits of 8x8 pixels with 17 gray levels, spread over 0..255."""

    name = "digits"
    channels = 1
    mirror = DATASETS["digits"].mirror
    num_classes = DATASETS["digits"].num_classes
    has_images = True

    @cached_property
    def _images(self) -> NDArray[np.uint8]:
        levels = digits_columns(range(NUM_PIXELS))[digits_order()].reshape(-1, 8, 8)
        return np.rint(levels * 255 / 16).astype(np.uint8)

    def list(self) -> SampleTable:
        """List ``digits/train/0000`` to ``1436``, then ``digits/test/0000`` to ``0359``, 64 bytes each."""
        num_train = NUM_DIGITS - NUM_TEST
        return array_table(
            self.name, {Split.TRAIN: self._images[:num_train], Split.TEST: self._images[num_train:]}, width=4
        )

    def reader(self, table: SampleTable) -> ArrayReader:
        """Return what reads the digits."""
        return array_reader(self.list(), (self._images,), table)
