import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.ops import neighbor_candidates, neighbors, wide_products
from elfs.ops.database import Database
from elfs.ops.neighbors import cosine_neighbors, exact_neighbors, queries_at_once, reranked
from elfs.parallel import allocator
from elfs.parallel.ranks import Ranks
from elfs.workspace.tensors import RowArray
from tests.ranks import in_ranks


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


def assert_equals_oracle(embeddings: Tensor, k: int, block_rows: int = 64) -> None:
    indices, similarity = cosine_neighbors(embeddings, k, device="cpu", block_rows=block_rows)
    expected_indices, expected_similarity = oracle(embeddings, k)
    assert indices.dtype == torch.int32
    assert torch.equal(indices, expected_indices)
    assert torch.equal(similarity, expected_similarity)


@pytest.mark.parametrize("block_rows", [50, 128, 1000])
def test_random_rows(block_rows: int) -> None:
    assert_equals_oracle(random_rows(300, 24), 20, block_rows)


@pytest.mark.parametrize(("num_rows", "k"), [(2, 1), (7, 6), (40, 39)])
def test_all_other_rows(num_rows: int, k: int) -> None:
    assert_equals_oracle(random_rows(num_rows, 5), k)


def test_exact_copies_are_neighbours_and_the_row_itself_is_not() -> None:
    distinct = random_rows(30, 8)
    rows = distinct.repeat(3, 1)  # row r equals r + 30 and r + 60
    assert_equals_oracle(rows, 10)
    indices, similarity = cosine_neighbors(rows, 2, device="cpu")
    for row in range(90):
        assert indices[row].tolist() == [other for other in (row % 30, row % 30 + 30, row % 30 + 60) if other != row]
    assert torch.equal(similarity, torch.ones(90, 2))


def test_more_copies_than_candidates() -> None:
    """Of 150 equal rows the lowest are the neighbours, though no engine can tell the rows apart."""
    rows = torch.cat([random_rows(20, 8), random_rows(1, 8, seed=1).repeat(150, 1), random_rows(20, 8, seed=2)])
    rows *= torch.rand(190, 1, generator=torch.Generator().manual_seed(3)) + 0.5  # the length does not matter
    rows[20:170] = rows[20]
    indices, similarity = cosine_neighbors(rows, 5, device="cpu", block_rows=64)
    for row in range(20, 170):
        assert indices[row].tolist() == [other for other in range(20, 26) if other != row][:5]
    assert torch.equal(similarity[20:170], torch.ones(150, 5))
    assert_equals_oracle(rows, 5)


def test_row_of_zeros_is_equally_far_from_all() -> None:
    rows = random_rows(60, 4)
    rows[[0, 30]] = 0
    indices, similarity = cosine_neighbors(rows, 3, device="cpu", block_rows=16)
    assert indices[[0, 30]].tolist() == [[1, 2, 3], [0, 1, 2]]
    assert torch.equal(similarity[[0, 30]], torch.zeros(2, 3))
    assert_equals_oracle(rows, 3, block_rows=16)


def test_opposite_and_tiny_rows() -> None:
    rows = torch.tensor([[1.0, 0.0], [-1e-20, 0.0], [1e30, 0.0], [0.0, 1.0]])
    indices, similarity = cosine_neighbors(rows, 3, device="cpu")
    assert indices[0].tolist() == [2, 3, 1]
    assert similarity[0].tolist() == [1.0, 0.0, -1.0]


def test_zero_from_below_is_zero() -> None:
    rows = torch.tensor([[1.0, 0.0], [-1e-60, 1.0], [0.0, 1.0]], dtype=torch.float64)
    indices, _ = cosine_neighbors(rows, 2, device="cpu")
    assert indices[0].tolist() == [1, 2]


def test_float16_memory_map(tmp_path: Path) -> None:
    rows = random_rows(120, 16).half()
    np.save(tmp_path / "rows.npy", rows.numpy())
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    indices, similarity = cosine_neighbors(mapped, 7, device="cpu", block_rows=50)
    expected_indices, expected_similarity = oracle(rows, 7)
    assert torch.equal(indices, expected_indices)
    assert torch.equal(similarity, expected_similarity)


def test_permuted_rows_have_the_permuted_neighbours() -> None:
    rows = random_rows(200, 12)
    permutation = torch.randperm(200, generator=torch.Generator().manual_seed(1))
    indices, _ = cosine_neighbors(rows, 9, device="cpu", block_rows=64)
    permuted, _ = cosine_neighbors(rows[permutation], 9, device="cpu", block_rows=64)
    assert torch.equal(permutation[permuted.long()], indices[permutation].long())


@pytest.mark.parametrize("among", ["all", "some"])
def test_coarse_proposals_do_not_change_the_result(among: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that multiplies in reduced precision proposes badly; the rows in doubt are done again."""
    rows = random_rows(300, 6)
    unit_rows = Database.unit_rows
    monkeypatch.setattr(Database, "unit_rows", lambda database, asked: (8 * unit_rows(database, asked)).round() / 8)
    assert_equals_oracle(rows, 9, block_rows=128 if among == "some" else 1000)


def test_only_candidates_that_may_be_among_the_nearest_are_compared_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 17 to spare hardly one is as near as the last neighbour, give or take what float32 rounds."""
    counted, exact = [], neighbors._exact_cosines

    def counting(database: Database, queries: Tensor, positions: Tensor) -> Tensor:
        counted.append(float((positions >= 0).sum(dim=1).double().mean()))
        return exact(database, queries, positions)

    monkeypatch.setattr(neighbors, "_exact_cosines", counting)
    assert_equals_oracle(random_rows(300, 24), 20, block_rows=1000)
    assert 21 <= counted[0] < 22


@pytest.mark.parametrize("most", [0, 40, 1024])
@pytest.mark.parametrize("among", ["all", "some"])
def test_rows_in_doubt_are_looked_for_among_those_that_reach_a_bound(
    most: int, among: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tight groups of 60: more are near than there are candidates. Few reach the bound, too many, or some do."""
    monkeypatch.setattr(neighbors, "_MOST_REACHING", most)
    monkeypatch.setattr(neighbors, "NUM_SPARE", 3)
    compared, exhaustive = [], neighbors._exhaustive_keys

    def counted(database: Database, queries: Tensor, *others: Any) -> Tensor:
        compared.append(len(queries))
        return exhaustive(database, queries, *others)

    monkeypatch.setattr(neighbors, "_exhaustive_keys", counted)
    rows = random_rows(5, 6).repeat_interleave(60, dim=0) + 1e-5 * random_rows(300, 6, seed=1)
    assert_equals_oracle(rows, 9, block_rows=128 if among == "some" else 1000)
    assert (sum(compared) > 0) == (most < 1024)


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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_embeddings_of_the_caller_stay_as_they_are(dtype: torch.dtype) -> None:
    rows = random_rows(90, 6).to(dtype)
    before = rows.clone()
    assert_equals_oracle(rows, 4, block_rows=40)
    assert torch.equal(rows, before)


@pytest.mark.parametrize("kind", ["tensor", "array", "files"])
def test_rows_that_form_the_database(kind: str) -> None:
    """Neighbours are places among the rows that count, wherever the rows are."""
    everything = random_rows(200, 10).half()
    rows = np.flatnonzero(np.random.default_rng(0).random(200) < 0.6)
    shards = RowArray([part.numpy() for part in everything.split(70)])
    embeddings: Any = {"tensor": everything, "array": everything.numpy(), "files": shards}[kind]
    indices, similarity = cosine_neighbors(embeddings, 8, device="cpu", rows=rows, block_rows=50)
    expected_indices, expected_similarity = oracle(everything[rows], 8)
    assert torch.equal(indices, expected_indices)
    assert torch.equal(similarity, expected_similarity)


def test_some_queries_in_any_order() -> None:
    rows = random_rows(150, 8)
    database, queries = Database(rows, device="cpu", block_rows=40), torch.tensor([149, 3, 3, 77])
    positions, similarity = exact_neighbors(database, queries, 6)
    expected_positions, expected_similarity = oracle(rows, 6)
    assert torch.equal(positions, expected_positions[queries].long())
    assert torch.equal(similarity, expected_similarity[queries])
    positions, similarity = exact_neighbors(database, torch.arange(0), 6)
    assert (positions.shape, positions.dtype, similarity.shape) == ((0, 6), torch.int64, (0, 6))


def test_sums_that_hang_on_their_order_are_computed_in_one_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of other shapes may sum in another order; where float32 shows it, that order does not count."""
    rows, products = random_rows(200, 12), wide_products.wide_products
    expected = cosine_neighbors(rows, 9, device="cpu")

    def noisy(database: Database, queries: Tensor, positions: Tensor) -> Tensor:
        exact = products(database, queries, positions)
        noise = torch.rand(exact.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
        return exact * (1 + 2.0**-50 * noise)

    monkeypatch.setattr(neighbors, "wide_products", noisy)
    found = cosine_neighbors(rows, 9, device="cpu")
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_exact_cosines_are_gathered_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide_products, "_GATHERED_ELEMENTS", {"cpu": 3000})
    monkeypatch.setattr(neighbors, "_RANKED_ROWS", 17)
    assert_equals_oracle(random_rows(300, 24), 20, block_rows=100)


@pytest.mark.parametrize("whole", [7, 64, 1000])
def test_rows_are_multiplied_with_themselves_in_halves(whole: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbor_candidates, "_WHOLE_ROWS", whole)
    unit = torch.nn.functional.normalize(random_rows(100, 5), dim=1)
    torch.testing.assert_close(neighbor_candidates._own_cosines(unit), unit @ unit.T, rtol=0, atol=1e-6)
    assert_equals_oracle(random_rows(100, 5), 9, block_rows=1000)


def test_exact_copies_are_compared_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "_EXHAUSTIVE_ROWS", 7)
    monkeypatch.setattr(neighbors, "_EXHAUSTIVE_COLUMNS", 13)
    assert_equals_oracle(random_rows(4, 6).repeat(40, 1), 5)


def test_cosine_is_symmetric() -> None:
    """Bit for bit, so that two copies see each other alike."""
    indices, similarity = cosine_neighbors(random_rows(60, 33), 59, device="cpu")
    table = torch.eye(60).scatter(1, indices.long(), similarity)
    assert torch.equal(table, table.T)


def test_shares_of_the_work_add_up() -> None:
    shares: list[float] = []
    exact_neighbors(
        Database(random_rows(90, 4), device="cpu", block_rows=32), torch.arange(9), 2, advance=shares.append
    )
    assert len(shares) > 3
    assert sum(shares) == pytest.approx(1)


def test_too_few_candidates_are_made_up_for() -> None:
    """-1 stands for a candidate that an engine did not find; the query itself is none."""
    rows = random_rows(50, 6)
    proposed = torch.zeros(3, 4), torch.tensor([[0, 7, -1, -1], [3, 8, 9, -1], [2, 1, -1, -1]])
    positions, similarity = reranked(Database(rows, device="cpu"), torch.tensor([0, 1, 2]), proposed, 2)
    expected_positions, expected_similarity = oracle(rows, 2)
    assert torch.equal(positions[[0, 2]], expected_positions[[0, 2]].long())
    assert torch.equal(similarity[[0, 2]], expected_similarity[[0, 2]])
    unit = torch.nn.functional.normalize(rows.double())
    assert positions[1].tolist() == sorted((3, 8, 9), key=lambda row: -float(unit[1] @ unit[row]))[:2]


def test_queries_at_once_take_half_a_gib_at_most() -> None:
    assert queries_at_once(128, 50) == 65_536
    for dim, k in [(128, 50), (1024, 50), (64, 2000), (2**28, 1)]:
        num = queries_at_once(dim, k)
        assert num == 1 or num * (4 * dim + 48 * (k + 17)) <= 2**29


class ThreadRing:
    """A ring of threads in this process."""

    def __init__(self, rank: int, size: int, links: "list[Queue[Tensor]]") -> None:
        self.rank, self.size, self._links = rank, size, links

    def rotate(self, tensor: Tensor) -> Tensor:
        self._links[self.rank].put(tensor.clone())
        return self._links[self.rank - 1].get(timeout=60)


def in_ring(size: int, function: "Callable[[ThreadRing], Any]") -> list[Any]:
    """Return what a function returns on each of several threads that form a ring."""
    links: list[Queue[Tensor]] = [Queue() for _ in range(size)]
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(lambda rank: function(ThreadRing(rank, size, links)), range(size)))


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize(("num_rows", "block_rows"), [(3, None), (140, None), (140, 20), (141, 47)])
def test_a_ring_finds_what_one_process_finds(size: int, num_rows: int, block_rows: int | None) -> None:
    """Each reads a part of the blocks; some have no queries; copies are compared with all rows."""
    rows = random_rows(num_rows, 9)
    rows[num_rows // 2 :] = rows[: num_rows - num_rows // 2].clone()
    rows[100:] = 2 * rows[0]
    bounds = [0, *sorted(np.random.default_rng(size).integers(0, num_rows, size - 2).tolist()), num_rows, num_rows]

    def search(ring: ThreadRing) -> tuple[Tensor, Tensor]:
        database = Database(rows, device="cpu", ring=ring, block_rows=block_rows)
        queries = torch.arange(bounds[ring.rank], bounds[ring.rank + 1])
        return exact_neighbors(database, queries, 2, ring=ring)

    found = in_ring(size, search)
    expected_indices, expected_similarity = oracle(rows, 2)
    assert torch.equal(torch.cat([positions for positions, _ in found]), expected_indices.long())
    assert torch.equal(torch.cat([similarity for _, similarity in found]), expected_similarity)


def search_in_rank(ranks: Ranks) -> tuple[Tensor, Tensor]:
    database = Database(random_rows(500, 24), device="cpu", ring=ranks, block_rows=60)
    return exact_neighbors(database, torch.arange(*ranks.part(500)), 10, ring=ranks)


@pytest.mark.slow
def test_ranks_find_what_one_process_finds() -> None:
    found = in_ranks(3, search_in_rank)
    expected = cosine_neighbors(random_rows(500, 24), 10, device="cpu")
    assert torch.equal(torch.cat([positions for positions, _ in found]).int(), expected[0])
    assert torch.equal(torch.cat([similarity for _, similarity in found]), expected[1])


def test_products_of_a_cpu_are_no_larger_than_what_the_allocator_keeps() -> None:
    """Larger ones are mapped anew each time: 16,384 of 60,000 x 64 took 5.0 CPU seconds so, and take 3.6."""
    assert 4 * neighbor_candidates._PRODUCT_ELEMENTS["cpu"] < allocator._LARGEST_BYTES
