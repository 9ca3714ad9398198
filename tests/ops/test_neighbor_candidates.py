import pytest
import torch
from torch import Tensor

from elfs.ops import neighbor_candidates
from elfs.ops.database import SOLO, Database
from elfs.ops.neighbor_candidates import Candidates, candidates_among_all, candidates_of_all, rows_reaching

CPU = torch.device("cpu")


def random_cosines(num_queries: int, num_rows: int, seed: int = 0) -> Tensor:
    return torch.rand(num_queries, num_rows, generator=torch.Generator().manual_seed(seed))


def unit_rows(num_rows: int, num_dims: int) -> Tensor:
    rows = torch.randn(num_rows, num_dims, generator=torch.Generator().manual_seed(num_rows))
    return torch.nn.functional.normalize(rows)


def assert_are_the_largest(found: tuple[Tensor, Tensor], cosine_QN: Tensor, num: int) -> None:
    """In falling order, with their positions, which may differ among equals."""
    cosine, positions = found
    assert torch.allclose(cosine, cosine_QN.topk(num, dim=1).values, atol=1e-6)  # other products round otherwise
    assert torch.allclose(cosine_QN.gather(1, positions), cosine, atol=1e-6)
    assert all(len(set(row)) == num for row in positions.tolist())


@pytest.mark.slow
@pytest.mark.parametrize("order", ["any", "rising", "falling", "equal", "few large"])
@pytest.mark.parametrize("step", [7, 100, 1000, 5003])
@pytest.mark.parametrize("num", [1, 30, 700])
def test_the_largest_of_all_that_was_offered(order: str, step: int, num: int) -> None:
    cosine = random_cosines(12, 5003)
    if order in ("rising", "falling"):
        cosine = cosine.sort(dim=1, descending=order == "falling").values
    elif order == "equal":
        cosine = cosine.mul(3).floor()
    elif order == "few large":
        cosine[:, 4000:4031] += 1
    best = Candidates(12, num, CPU)
    for start in range(0, 5003, step):
        best.offer(slice(0, 5), cosine[:5, start : start + step], start)
        best.offer(
            slice(5, 12), cosine.T[start : start + step].contiguous().T[5:], start
        )  # the other side of a product
    assert_are_the_largest(best.sorted(), cosine, num)


def test_fewer_rows_than_candidates() -> None:
    best = Candidates(2, 4, CPU)
    best.offer(slice(0, 2), torch.tensor([[0.25, 0.5, -1.0], [0.0, -0.5, 0.75]]), 10)
    cosine, positions = best.sorted()
    assert cosine.tolist() == [[0.5, 0.25, -1.0, -torch.inf], [0.75, 0.0, -0.5, -torch.inf]]
    assert positions.tolist() == [[11, 10, 12, -1], [12, 10, 11, -1]]


@pytest.mark.parametrize(("num_rows", "tile_rows"), [(2, 4096), (9, 4), (600, 4096), (601, 100)])
def test_two_rows_are_multiplied_once(num_rows: int, tile_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(neighbor_candidates._TILE_ROWS, "cpu", tile_rows)
    num_products, multiply = 0, torch.mm

    def counted(first: Tensor, second: Tensor, *, out: Tensor) -> Tensor:
        nonlocal num_products
        num_products += out.numel()
        return multiply(first, second, out=out)

    monkeypatch.setattr(torch, "mm", counted)
    unit, shares = unit_rows(num_rows, 5), list[float]()
    cosine, positions = candidates_of_all(unit, min(num_rows, 20), shares.append)
    expected = (unit @ unit.T).topk(min(num_rows, 20), dim=1).values
    assert torch.allclose(cosine, expected, atol=1e-6)
    assert torch.allclose((unit @ unit.T).gather(1, positions), cosine, atol=1e-6)
    assert sum(shares) == pytest.approx(1)
    tile = min(tile_rows, -(-num_rows // 2))
    assert num_products <= num_rows * (num_rows + tile) / 2


def test_products_with_a_block_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(neighbor_candidates._PRODUCT_ELEMENTS, "cpu", 500)
    unit, shares = unit_rows(300, 6), list[float]()
    database, queries = Database(unit, device=CPU, block_rows=110), torch.tensor([299, 3, 3, 77])
    cosine, positions = candidates_among_all(database, unit[queries], 12, SOLO, shares.append)
    assert_are_the_largest((cosine, positions), unit[queries] @ unit.T, 12)
    assert sum(shares) == pytest.approx(1)


@pytest.mark.parametrize("block_rows", [7, 64, 5000])
@pytest.mark.parametrize("product_elements", [50, 1 << 24])
def test_all_rows_that_reach_a_bound(block_rows: int, product_elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Query 3 has no such row, 4 more than are asked for, 5 no bound; a row that equals the bound counts."""
    monkeypatch.setitem(neighbor_candidates._PRODUCT_ELEMENTS, "cpu", product_elements)
    rows = torch.eye(90)[torch.arange(270) % 90]  # products are 0 or 1: nothing is rounded
    queries = rows[:6]
    bound = torch.tensor([1.0, 0.5, 1.0, 1.5, 0.0, -torch.inf])
    found = rows_reaching(
        Database(rows, device=CPU, block_rows=block_rows), queries, bound, most=3, advance=lambda _: None
    )
    assert found.tolist() == [[0, 90, 180], [1, 91, 181], [2, 92, 182], [-1] * 3, [-1] * 3, [-1] * 3]
