from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.ops import database
from elfs.ops.database import SOLO, Database
from elfs.workspace.tensors import RowArray


def random_rows(num_rows: int, num_dims: int = 4) -> Tensor:
    return torch.randn(num_rows, num_dims, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["tensor", "array", "files"])
@pytest.mark.parametrize("rows", [None, [0, 1, 2, 3, 9], [4, 5, 6]])
def test_reads_wherever_the_rows_are(kind: str, rows: list[int] | None) -> None:
    everything = random_rows(10).half()
    files = RowArray([everything[:3].numpy(), everything[3:].numpy()])
    embeddings: Any = {"tensor": everything, "array": everything.numpy(), "files": files}[kind]
    found = Database(embeddings, device="cpu", rows=None if rows is None else np.array(rows))
    chosen = everything if rows is None else everything[rows]
    assert len(found) == len(chosen)
    assert torch.equal(found.read(0, 3), chosen[:3])
    assert torch.equal(found.read(1, len(chosen)), chosen[1:])
    assert found.read(2, 2).shape == (0, 4)
    assert torch.equal(found.take(torch.tensor([2, 0, 2])), chosen[[2, 0, 2]])
    unit = (chosen.double() / chosen.double().norm(dim=1, keepdim=True)).float()
    torch.testing.assert_close(found.unit_run(1, 3), unit[1:3], rtol=1e-6, atol=0)
    torch.testing.assert_close(found.unit_rows(torch.tensor([2, 1])), unit[[2, 1]], rtol=1e-6, atol=0)
    torch.testing.assert_close(found.scale, 1 / chosen.double().norm(dim=1), rtol=1e-14, atol=0)


def test_row_of_zeros_stays_one_and_extreme_rows_have_length_1() -> None:
    rows = torch.tensor([[0.0, 0.0], [3e-60, 4e-60], [3e100, 4e100]], dtype=torch.float64)
    found = Database(rows, device="cpu")
    assert found.unit_run(0, 3).tolist() == torch.tensor([[0.0, 0.0], [0.6, 0.8], [0.6, 0.8]]).tolist()
    assert float(found.scale[0]) == 0


def test_float64_copies_are_cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows(50)
    whole = Database(rows, device="cpu").unit_run(0, 50)
    monkeypatch.setattr(database, "_WIDE_ELEMENTS", {"cpu": 28})
    assert torch.equal(Database(rows, device="cpu").unit_run(0, 50), whole)


@pytest.mark.parametrize("block_rows", [None, 1, 7, 20, 100])
def test_unit_blocks_cover_the_database_once(block_rows: int | None) -> None:
    found = Database(random_rows(20), device="cpu", block_rows=block_rows)
    blocks = list(found.unit_blocks(SOLO))
    assert [start for start, _, _ in blocks] == [0, *(stop for _, stop, _ in blocks[:-1])]
    assert blocks[-1][1] == 20
    assert max(len(block) for _, _, block in blocks) == min(20, block_rows or 20)
    assert torch.equal(torch.cat([block for _, _, block in blocks]), found.unit_run(0, 20))


def test_usual_block_is_64_mib() -> None:
    assert Database(np.zeros((3, 128), np.float16), device="cpu").block_rows * 128 * 4 == 64 * 2**20
    assert Database(np.zeros((3, 100_000), np.float16), device="cpu").block_rows == 4096


@pytest.mark.parametrize("rows", [[3, 1], [1, 1]])
def test_rows_that_do_not_rise(rows: list[int]) -> None:
    with pytest.raises(ValueError, match=r"^rows do not rise: expected each row once, in ascending order\.$"):
        Database(random_rows(5), device="cpu", rows=np.array(rows))


def test_row_that_is_not_finite_is_named_as_it_is_in_the_array() -> None:
    rows = random_rows(9)
    rows[7, 1], rows[2, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match="embeddings are not finite: row 7 holds a NaN or an infinity"):
        Database(rows, device="cpu", rows=np.array([1, 4, 7, 8]), block_rows=2)


def test_embeddings_of_the_wrong_rank() -> None:
    with pytest.raises(ValueError, match=r"embeddings have the shape \(4,\), expected \(n_rows, n_dims\)"):
        Database(torch.zeros(4), device="cpu")


class CountingRing:
    """The first of three processes, which gets its own block back."""

    rank, size = 0, 3

    def __init__(self) -> None:
        self.num_rotations = 0

    def rotate(self, tensor: Tensor) -> Tensor:
        self.num_rotations += 1
        return tensor


@pytest.mark.parametrize(("block_rows", "num_rotations"), [(20, 2), (7, 2), (5, 4), (1, 14)])
def test_a_block_is_handed_on_until_all_have_had_it(block_rows: int, num_rotations: int) -> None:
    """Twice for every three blocks: nobody sends the last one back to where it was read."""
    ring = CountingRing()
    blocks = list(Database(random_rows(20), device="cpu", block_rows=block_rows).unit_blocks(ring))
    assert len(blocks) == 3 * num_rotations // 2
    assert ring.num_rotations == num_rotations
