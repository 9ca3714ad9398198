import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from elfs.ops import wide_products as module
from elfs.ops.database import Database
from elfs.ops.wide_products import wide_products

CANDIDATES = torch.tensor([[4, 0, 4], [1, -1, -1], [2, 3, 1], [-1, -1, -1]])
QUERIES = torch.tensor([3, 0, 1, 2])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("kind", ["array", "tensor"])
@pytest.mark.parametrize("rows", [None, np.array([0, 3, 4, 9, 19])])
@pytest.mark.parametrize("elements", [1, 40, 1 << 16])  # a query at a time, two, all at once
def test_products_of_rows_as_they_are(
    dtype: str, kind: str, rows: NDArray[np.int64] | None, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).standard_normal((20, 6)).astype(dtype)
    database = Database(values if kind == "array" else torch.from_numpy(values), device="cpu", rows=rows)
    monkeypatch.setattr(module, "_GATHERED_ELEMENTS", {"cpu": elements})
    product = wide_products(database, QUERIES, CANDIDATES)
    used = torch.from_numpy((values if rows is None else values[rows]).astype(np.float64))
    expected = (used[QUERIES].unsqueeze(1) * used[CANDIDATES.clamp_min(0)]).sum(dim=2)
    assert product.dtype == torch.float64
    torch.testing.assert_close(product[CANDIDATES >= 0], expected[CANDIDATES >= 0], rtol=0, atol=1e-14)


def test_torch_multiplies_as_numpy_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU does, on the CPU."""
    database = Database(torch.randn(20, 6, generator=torch.Generator().manual_seed(0)), device="cpu")
    expected = wide_products(database, QUERIES, CANDIDATES)
    monkeypatch.setattr(module, "_by_numpy", module._by_torch)
    for elements in (1, 40, 1 << 16):
        monkeypatch.setattr(module, "_GATHERED_ELEMENTS", {"cpu": elements})
        found = wide_products(database, QUERIES, CANDIDATES)
        torch.testing.assert_close(found[CANDIDATES >= 0], expected[CANDIDATES >= 0], rtol=0, atol=1e-14)


def test_no_candidates_at_all() -> None:
    database = Database(np.ones((3, 2), dtype=np.float16), device="cpu")
    assert wide_products(database, torch.arange(2), torch.empty(2, 0, dtype=torch.int64)).shape == (2, 0)
    assert wide_products(database, torch.arange(0), torch.empty(0, 4, dtype=torch.int64)).shape == (0, 4)
