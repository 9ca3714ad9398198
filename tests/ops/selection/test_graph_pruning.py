import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.errors import UsageError
from elfs.ops import selection
from elfs.ops.selection import Pool, SelectorOptions
from elfs.ops.selection.graph_pruning import graph_density, graph_picks

GOLDEN = np.load(Path(__file__).parents[2] / "data" / "d2_graph.npz")
CASES = [("sum", 5, 0.1), ("sum", 5, 1.0), ("product", 10, 0.5)]


def golden_neighbors(k: int) -> tuple[Tensor, Tensor]:
    x = torch.from_numpy(GOLDEN["x"]).double()
    distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.fill_diagonal_(math.inf).topk(k, largest=False)
    return nearest.indices, nearest.values


def golden_density(mode: str, k: int) -> Tensor:
    """Return the density; what neighbours send is the same in both modes, and is added or multiplied."""
    importance = torch.from_numpy(GOLDEN["importance"])
    total = graph_density(importance, *golden_neighbors(k))
    return total if mode == "sum" else importance.double() * (total - importance.double())


def nobody(num_rows: int) -> Tensor:
    return torch.zeros(num_rows, dtype=torch.bool)


@pytest.mark.parametrize(("mode", "k"), [("sum", 5), ("product", 10)])
def test_density_matches_reference(mode: str, k: int) -> None:
    """adymaharana/d2pruning, core/data/sampling.py, GraphDensitySampler with a given graph (float32)."""
    expected = GOLDEN[f"density_{mode}_k{k}"]
    np.testing.assert_allclose(golden_density(mode, k).numpy(), expected, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize(("mode", "k", "gamma"), CASES)
def test_picks_match_reference(mode: str, k: int, gamma: float) -> None:
    neighbors, distances = golden_neighbors(k)
    picks = graph_picks(
        golden_density(mode, k),
        neighbors,
        torch.exp(-gamma * distances),
        60,
        eligible=~nobody(300),
        settled=nobody(300),
    )
    assert sorted(picks.tolist()) == GOLDEN[f"selected_{mode}_k{k}_gamma{gamma}"].tolist()


def plain_picks(density: Tensor, neighbors: Tensor, messages: Tensor, budget: int) -> list[int]:
    """Search all rows for each pick."""
    current = density.clone()
    picks: list[int] = []
    for _ in range(budget):
        rest = current.clone()
        rest[picks] = -math.inf
        row = int(rest.argmax())
        picks.append(row)
        for target, share in zip(neighbors[row].tolist(), messages[row].double().tolist(), strict=True):
            if target >= 0:
                current[target] -= share * float(current[row])
    return picks


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_heap_finds_what_a_full_search_finds(ties: bool, sign: float) -> None:
    """To the last row, with neighbours that are missing, and with densities below 0, where neighbours rise."""
    generator = torch.Generator().manual_seed(3)
    neighbors = torch.stack([torch.randperm(80, generator=generator)[:6] for _ in range(80)])
    neighbors[neighbors == torch.arange(80).unsqueeze(1)] = -1
    neighbors[::7, 4:] = -1
    density = torch.rand(80, generator=generator, dtype=torch.float64)
    messages = torch.rand(80, 6, generator=generator)
    if ties:
        density, messages = (density * 4).round() / 4, (messages * 2).round() / 2
    found = graph_picks(sign * density, neighbors, messages, 80, eligible=~nobody(80), settled=nobody(80))
    assert found.tolist() == plain_picks(sign * density, neighbors, messages, 80)


def test_density_by_hand() -> None:
    """Row 0: 1 + exp(-0.5) * 2; row 1: 2 + exp(-0.5) * 1 + exp(-1) * 4; row 2 has no neighbours."""
    neighbors, distances = torch.tensor([[1, -1], [0, 2], [-1, -1]]), torch.tensor([[0.5, 0.0], [0.5, 1.0], [0.0, 0.0]])
    density = graph_density(torch.tensor([1.0, 2.0, 4.0]), neighbors, distances)
    near, far = math.exp(-0.5), math.exp(-1)
    np.testing.assert_allclose(density.numpy(), [1 + 2 * near, 2 + near + 4 * far, 4], rtol=1e-12)


def pool_of(hardness: list[float], neighbors: list[list[int]], similarity: float = 0.5) -> Pool:
    graph = torch.tensor(neighbors, dtype=torch.int32)
    return Pool(
        tie_breaker=torch.arange(len(hardness)),
        hardness=torch.tensor(hardness),
        neighbors=graph,
        similarity=torch.full(graph.shape, similarity),
    )


def select(pool: Pool, budget: int) -> list[int]:
    return [int(row) for row in selection.select("d2", pool, budget, SelectorOptions(), torch.Generator())]


def test_selection_by_hand() -> None:
    """Cosine 0.5 is the distance 1: density 3 + 2.9 / e, 2.9 + 3 / e, 2, 1; after 0, row 1 loses 0.90 * 4.07."""
    pool = pool_of([3.0, 2.9, 2.0, 1.0], [[1], [0], [-1], [-1]])
    assert select(pool, 4) == [0, 2, 3, 1]
    assert select(dataclasses.replace(pool, neighbors=torch.full((4, 1), -1)), 4) == [0, 1, 2, 3]


def test_distances_are_those_of_unit_vectors() -> None:
    """Cosine 0.5 is the distance 1: row 0 has the density 1 + 1 / e = 1.368, and comes between rows 2 and 3."""
    assert select(pool_of([1.0, 1.0, 1.4, 1.33], [[1], [-1], [-1], [-1]]), 3) == [2, 0, 3]


def test_only_five_neighbours_count() -> None:
    chain = [[1, 2, 3, 4, 5, 6], *([[-1] * 6] * 6)]
    assert select(pool_of([9.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.9], chain), 2) == [0, 6]


def test_negative_hardness_is_shifted_up() -> None:
    """-aum: without the shift the neighbours of row 0 would lower it below row 3."""
    graph = [[1, 2], [-1, -1], [-1, -1], [-1, -1]]
    lower = pool_of([-1.0, -9.0, -9.0, -2.0], graph)
    assert select(lower, 4) == select(pool_of([8.0, 0.0, 0.0, 7.0], graph), 4)
    assert select(lower, 1) == [0]


def test_settled_rows_go_on_where_a_smaller_budget_stopped() -> None:
    generator = torch.Generator().manual_seed(0)
    pool = Pool(
        tie_breaker=torch.arange(50),
        hardness=torch.randn(50, generator=generator),
        neighbors=torch.stack([torch.randperm(50, generator=generator)[:5] for _ in range(50)]),
        similarity=torch.rand(50, 5, generator=generator),
    )
    longest = select(pool, 30)
    settled = torch.zeros(50, dtype=torch.bool)
    settled[longest[:12]] = True
    assert select(dataclasses.replace(pool, settled=settled), 18) == longest[12:]


def test_row_without_hardness_sends_nothing_and_is_not_selected() -> None:
    pool = pool_of([1.0, math.nan, 1.1], [[1], [0], [-1]])
    assert select(pool, 2) == [2, 0]
    with pytest.raises(UsageError, match="the budget is 3 images, expected 1 to 2"):
        select(pool, 3)


@pytest.mark.parametrize("field", ["hardness", "neighbors", "similarity"])
def test_fields_are_needed(field: str) -> None:
    pool = dataclasses.replace(pool_of([1.0, 2.0], [[1], [0]]), **{field: None})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"needs the pool's {field}, got None"):
        select(pool, 1)
