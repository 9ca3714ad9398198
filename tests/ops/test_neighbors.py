import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.ops import neighbors
from elfs.ops._engine import Engine
from elfs.ops.neighbors import cosine_neighbors

HAS_FAISS = importlib.util.find_spec("faiss") is not None
ENGINES = [pytest.param("faiss", marks=pytest.mark.skipif(not HAS_FAISS, reason="FAISS is not installed")), "torch"]
each_engine = pytest.mark.parametrize("engine", ENGINES)


def random_rows(num_rows: int, dim: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(num_rows, dim, generator=torch.Generator().manual_seed(seed)) + 0.5


def oracle(embeddings: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Sort all other rows by their cosine, in float64 rounded to float32; lower row first where equal."""
    rows = embeddings.double()
    norm = rows.norm(dim=1, keepdim=True)
    unit = torch.where(norm > 0, rows / norm, 0.0)
    cosine = (unit @ unit.T).float().fill_diagonal_(-math.inf)
    order = cosine.sort(dim=1, descending=True, stable=True)
    return order.indices[:, :k].int(), order.values[:, :k]


def assert_equals_oracle(embeddings: Tensor, k: int, engine: Engine, block_rows: int = 64) -> None:
    indices, similarity = cosine_neighbors(embeddings, k, device="cpu", engine=engine, block_rows=block_rows)
    expected_indices, expected_similarity = oracle(embeddings, k)
    assert indices.dtype == torch.int32
    assert torch.equal(indices, expected_indices)
    assert torch.equal(similarity, expected_similarity)


@each_engine
@pytest.mark.parametrize("block_rows", [50, 128, 1000])
def test_random_rows(engine: Engine, block_rows: int) -> None:
    assert_equals_oracle(random_rows(300, 24), 20, engine, block_rows)


@each_engine
@pytest.mark.parametrize(("num_rows", "k"), [(2, 1), (7, 6), (40, 39)])
def test_all_other_rows(engine: Engine, num_rows: int, k: int) -> None:
    assert_equals_oracle(random_rows(num_rows, 5), k, engine)


@each_engine
def test_exact_copies_are_neighbours_and_the_row_itself_is_not(engine: Engine) -> None:
    distinct = random_rows(30, 8)
    rows = distinct.repeat(3, 1)  # row r equals r + 30 and r + 60
    assert_equals_oracle(rows, 10, engine)
    indices, similarity = cosine_neighbors(rows, 2, device="cpu", engine=engine)
    for row in range(90):
        assert indices[row].tolist() == [other for other in (row % 30, row % 30 + 30, row % 30 + 60) if other != row]
    assert torch.equal(similarity, torch.ones(90, 2))


@each_engine
def test_more_copies_than_candidates(engine: Engine) -> None:
    """Of 150 equal rows the lowest are the neighbours, though no engine can tell the rows apart."""
    rows = torch.cat([random_rows(20, 8), random_rows(1, 8, seed=1).repeat(150, 1), random_rows(20, 8, seed=2)])
    rows *= torch.rand(190, 1, generator=torch.Generator().manual_seed(3)) + 0.5  # the length does not matter
    rows[20:170] = rows[20]
    indices, similarity = cosine_neighbors(rows, 5, device="cpu", engine=engine, block_rows=64)
    for row in range(20, 170):
        assert indices[row].tolist() == [other for other in range(20, 26) if other != row][:5]
    assert torch.equal(similarity[20:170], torch.ones(150, 5))
    assert_equals_oracle(rows, 5, engine)


@each_engine
def test_row_of_zeros_is_equally_far_from_all(engine: Engine) -> None:
    rows = random_rows(60, 4)
    rows[[0, 30]] = 0
    indices, similarity = cosine_neighbors(rows, 3, device="cpu", engine=engine, block_rows=16)
    assert indices[[0, 30]].tolist() == [[1, 2, 3], [0, 1, 2]]
    assert torch.equal(similarity[[0, 30]], torch.zeros(2, 3))
    assert_equals_oracle(rows, 3, engine, block_rows=16)


@each_engine
def test_opposite_and_tiny_rows(engine: Engine) -> None:
    rows = torch.tensor([[1.0, 0.0], [-1e-20, 0.0], [1e30, 0.0], [0.0, 1.0]])
    indices, similarity = cosine_neighbors(rows, 3, device="cpu", engine=engine)
    assert indices[0].tolist() == [2, 3, 1]
    assert similarity[0].tolist() == [1.0, 0.0, -1.0]


@each_engine
def test_zero_from_below_is_zero(engine: Engine) -> None:
    rows = torch.tensor([[1.0, 0.0], [-1e-60, 1.0], [0.0, 1.0]], dtype=torch.float64)
    indices, _ = cosine_neighbors(rows, 2, device="cpu", engine=engine)
    assert indices[0].tolist() == [1, 2]


@each_engine
def test_float16_memory_map(engine: Engine, tmp_path: Path) -> None:
    rows = random_rows(120, 16).half()
    np.save(tmp_path / "rows.npy", rows.numpy())
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    indices, similarity = cosine_neighbors(mapped, 7, device="cpu", engine=engine, block_rows=50)
    expected_indices, expected_similarity = oracle(rows, 7)
    assert torch.equal(indices, expected_indices)
    assert torch.equal(similarity, expected_similarity)


@each_engine
def test_permuted_rows_have_the_permuted_neighbours(engine: Engine) -> None:
    rows = random_rows(200, 12)
    permutation = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    indices, _ = cosine_neighbors(rows, 9, device="cpu", engine=engine, block_rows=64)
    permuted, _ = cosine_neighbors(rows[permutation], 9, device="cpu", engine=engine, block_rows=64)
    assert torch.equal(permutation[permuted.long()], indices[permutation].long())


def test_coarse_proposals_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that multiplies in reduced precision proposes badly; the rows in doubt are done again."""
    rows = random_rows(300, 6)
    search = neighbors._torch_search

    def coarse(database: neighbors._Database) -> neighbors._Search:
        return lambda query, num: search(database)((2 * query).round() / 2, num)

    monkeypatch.setattr(neighbors, "_torch_search", coarse)
    assert_equals_oracle(rows, 9, "torch", block_rows=128)


def test_without_faiss_auto_takes_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(database: neighbors._Database) -> neighbors._Search:
        raise AssertionError("FAISS was used")

    monkeypatch.setattr(neighbors, "_faiss_search", refuse)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert_equals_oracle(random_rows(50, 6), 4, "auto")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["highest", "high"])
def test_a_gpu_finds_what_the_cpu_finds(precision: str) -> None:
    rows = torch.cat([random_rows(3000, 64), random_rows(1, 64, seed=1).repeat(100, 1)])
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        on_gpu = cosine_neighbors(rows, 50, device="cuda", block_rows=1024)
    finally:
        torch.set_float32_matmul_precision(before)
    on_cpu = cosine_neighbors(rows, 50, device="cpu")
    assert torch.equal(on_gpu[0], on_cpu[0])
    assert torch.equal(on_gpu[1], on_cpu[1])


@pytest.mark.parametrize("k", [0, -1, 5, 6])
def test_k_out_of_range(k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}, expected 1 to 4 for 5 rows"):
        cosine_neighbors(random_rows(5, 3), k, device="cpu")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_rows_that_are_not_finite(bad: float) -> None:
    rows = random_rows(9, 3)
    rows[6, 1] = bad
    with pytest.raises(ValueError, match="embeddings are not finite: row 6 holds"):
        cosine_neighbors(rows, 2, device="cpu", block_rows=4)


def test_embeddings_of_the_wrong_rank() -> None:
    with pytest.raises(ValueError, match=r"embeddings have the shape \(4, 2, 3\), expected \(n_rows, n_dims\)"):
        cosine_neighbors(torch.zeros(4, 2, 3), 1, device="cpu")


def test_unknown_engine() -> None:
    with pytest.raises(ValueError, match="engine is 'annoy', expected 'auto', 'faiss' or 'torch'"):
        cosine_neighbors(random_rows(5, 3), 1, device="cpu", engine="annoy")  # type: ignore[arg-type]
