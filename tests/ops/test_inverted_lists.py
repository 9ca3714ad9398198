import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from elfs.ops.database import Database
from elfs.ops.inverted_lists import build_index, choose_probes, probed_neighbors, recall, usual_num_lists
from elfs.ops.neighbors import cosine_neighbors

needs_faiss = pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="FAISS is not installed")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clustered(num_rows: int, num_dims: int = 24, spread: float = 0.7) -> Tensor:
    generator = seeded(5)
    centres = torch.randn(40, num_dims, generator=generator)
    own = centres[torch.randint(40, (num_rows,), generator=generator)]
    return (own + spread * torch.randn(num_rows, num_dims, generator=generator)).half()


@pytest.mark.slow
@needs_faiss
def test_measured_recall_is_that_of_all_rows() -> None:
    rows = clustered(6000)
    database = Database(rows, device="cpu", block_rows=1000)
    index = build_index(database, seeded())
    num_probes, reached = choose_probes(index, database, 20, seeded(1))
    positions, _ = probed_neighbors(index, database, torch.arange(6000), 20, num_probes)
    everything = recall(positions, cosine_neighbors(rows, 20, device="cpu")[0].long())
    assert index.nlist == usual_num_lists(6000) == 93
    assert reached >= 0.95
    assert 8 <= num_probes < index.nlist
    assert everything == pytest.approx(reached, abs=0.01)


@needs_faiss
@pytest.mark.parametrize(("least", "expected"), [(0.0, 8), (1.1, 50)])
def test_probes_double_until_the_recall_is_reached_or_all_lists_are(least: float, expected: int) -> None:
    database = Database(clustered(2000, spread=1.5), device="cpu")
    index = build_index(database, seeded(), num_lists=50)
    num_probes, reached = choose_probes(index, database, 5, seeded(), least_recall=least)
    assert num_probes == expected
    assert reached == 1.0 if expected == 50 else reached < 1


@needs_faiss
def test_all_lists_give_exact_neighbours() -> None:
    """Cosines are those of exact search, bit for bit; queries come in any order."""
    rows = clustered(500)
    database, queries = Database(rows, device="cpu"), torch.tensor([499, 0, 17])
    index = build_index(database, seeded(), num_lists=7)
    positions, similarity = probed_neighbors(index, database, queries, 10, 7)
    exact = cosine_neighbors(rows, 10, device="cpu")
    assert torch.equal(positions, exact[0][queries].long())
    assert torch.equal(similarity, exact[1][queries])


@needs_faiss
def test_query_whose_list_is_too_short_is_compared_with_all_rows() -> None:
    rows = clustered(300)
    database = Database(rows, device="cpu")
    index = build_index(database, seeded(), num_lists=100)
    positions, similarity = probed_neighbors(index, database, torch.arange(300), 200, 1)
    exact = cosine_neighbors(rows, 200, device="cpu")
    assert torch.equal(positions, exact[0].long())
    assert torch.equal(similarity, exact[1])


@needs_faiss
def test_no_queries_and_one_row_more_than_neighbours() -> None:
    database = Database(clustered(3), device="cpu")
    index = build_index(database, seeded())
    assert index.nlist == 1
    assert probed_neighbors(index, database, torch.arange(0), 2, 1)[0].shape == (0, 2)
    assert choose_probes(index, database, 2, seeded()) == (1, 1.0)


@needs_faiss
def test_equal_seeds_give_equal_indexes_whatever_the_threads(tmp_path: Path) -> None:
    faiss: Any = importlib.import_module("faiss")
    database = Database(clustered(5000), device="cpu", block_rows=700)
    before = faiss.omp_get_max_threads()
    written = []
    try:
        for threads, seed in ((1, 0), (2, 0), (3, 0), (1, 1)):
            faiss.omp_set_num_threads(threads)
            written.append(faiss.serialize_index(build_index(database, seeded(seed))).tobytes())
    finally:
        faiss.omp_set_num_threads(before)
    assert written[0] == written[1] == written[2]
    assert written[0] != written[3]


@needs_faiss
def test_shares_of_the_work_add_up() -> None:
    database = Database(clustered(900), device="cpu", block_rows=100)
    shares: list[list[float]] = [[], []]
    index = build_index(database, seeded(), advance=shares[0].append)
    probed_neighbors(index, database, torch.arange(50), 5, 2, advance=shares[1].append)
    assert [sum(part) for part in shares] == [pytest.approx(1), pytest.approx(1)]


def test_recall_counts_what_both_have() -> None:
    exact = torch.tensor([[0, 1, 2], [3, 4, 5]])
    assert recall(exact.flip(1), exact) == 1
    assert recall(torch.tensor([[9, 8, 7], [6, 5, 4]]), exact) == pytest.approx(2 / 6)
    assert recall(exact + 10, exact) == 0


@pytest.mark.parametrize(("num_rows", "expected"), [(2, 1), (640, 10), (4096, 64), (1_000_000, 4000)])
def test_usual_number_of_lists(num_rows: int, expected: int) -> None:
    """4 sqrt(N), but 64 rows a list at least: at 4096 = 64 ** 2 rows 4 sqrt(N) is 256, and N / 64 is 64."""
    assert usual_num_lists(num_rows) == expected
