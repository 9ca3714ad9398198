import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import laplacian

from elfs.ops.neighbor_structure import neighbor_structure


def test_groups_have_structure_and_noise_has_none() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(300, 8, generator=generator)
    groups = noise + 8 * torch.eye(8)[torch.arange(300) % 6]
    assert neighbor_structure(noise, torch.Generator().manual_seed(1)) == pytest.approx(1.0, abs=0.15)
    assert neighbor_structure(groups, torch.Generator().manual_seed(1)) > 1.3


def test_gap_equals_the_normalised_laplacian_of_scipy() -> None:
    rows = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    rows = rows - rows.mean(dim=0)

    def gap(values: torch.Tensor) -> float:
        unit = torch.nn.functional.normalize(values)
        nearest = (unit @ unit.T).fill_diagonal_(-2).topk(10).indices
        graph = np.zeros((60, 60))
        graph[np.arange(60)[:, None], nearest.numpy()] = 1
        graph = np.maximum(graph, graph.T)
        return float(np.sort(np.linalg.eigvalsh(np.asarray(laplacian(graph, normed=True))))[1:10].mean())

    generator = torch.Generator().manual_seed(3)
    normal = torch.randn(60, 4, generator=generator) * rows.std(dim=0)
    expected = gap(normal) / gap(rows)
    assert neighbor_structure(rows, torch.Generator().manual_seed(3)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("rows", [torch.eye(11, 3), torch.ones(50, 3)])
def test_too_few_rows_or_all_equal(rows: torch.Tensor) -> None:
    assert neighbor_structure(rows, torch.Generator()) == 1.0
