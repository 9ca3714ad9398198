import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from elfs.ops.database import Database
from elfs.ops.wide_rows import WideRows


def array(dtype: str) -> NDArray[np.floating]:
    return np.random.default_rng(0).standard_normal((20, 6)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("kind", ["array", "tensor"])
@pytest.mark.parametrize("rows", [None, np.array([0, 3, 4, 9, 19])])
def test_rows_as_they_are_as_float64(dtype: str, kind: str, rows: NDArray[np.int64] | None) -> None:
    values = array(dtype)
    database = Database(values if kind == "array" else torch.from_numpy(values), device="cpu", rows=rows)
    wide = WideRows(database, 4)
    expected = values if rows is None else values[rows]
    for positions in ([4, 0, 4], [1], [2, 3, 1, 0], []):
        found = wide.take(torch.tensor(positions, dtype=torch.int64))
        assert found.dtype == torch.float64
        np.testing.assert_array_equal(found.numpy(), expected[positions].astype(np.float64))


def test_the_next_rows_take_the_same_place() -> None:
    wide = WideRows(Database(array("float16"), device="cpu"), 3)
    first = wide.take(torch.tensor([1, 2]))
    second = wide.take(torch.tensor([3, 4]))
    assert first.data_ptr() == second.data_ptr()
