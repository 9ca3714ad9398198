import pytest
import torch

from elfs.ops import axes
from elfs.ops.axes import principal_axes


def test_axes_equal_a_full_decomposition_of_rows_in_batches() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 12, generator=generator) * 0.6 ** torch.arange(12) + 3
    mean, projection = principal_axes(rows.split(64), 4, 0.0, generator)
    torch.testing.assert_close(mean, rows.mean(dim=0))
    expected = torch.linalg.svd(rows - rows.mean(dim=0), full_matrices=False)
    torch.testing.assert_close(projection.abs(), expected.Vh[:4].T.abs(), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("whitening", "power"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)])
def test_whitening_is_a_power_of_the_deviation(whitening: float, power: float) -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(400, 3, generator=generator) * torch.tensor([4.0, 2.0, 1.0])
    mean, projection = principal_axes([rows], 2, whitening, generator)
    plain = torch.linalg.svd(rows - mean, full_matrices=False).S[:2] / 20
    deviation = ((rows - mean) @ projection).square().mean(dim=0).sqrt()
    torch.testing.assert_close(deviation, plain**power, rtol=1e-3, atol=0)


@pytest.mark.parametrize(("num_rows", "num_axes"), [(1, 1), (2, 1), (5, 4), (50, 6)])
def test_number_of_axes(num_rows: int, num_axes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    mean, projection = principal_axes([torch.randn(num_rows, 6, generator=generator)], 99, 0.5, generator)
    assert projection.shape == (6, num_axes)
    assert projection.isfinite().all()
    assert mean.shape == (6,)


def test_no_rows() -> None:
    with pytest.raises(ValueError, match=r"^there are no rows, expected at least one\.$"):
        principal_axes([], 3, 0.5, torch.Generator())


def test_leading_axes_equal_a_full_decomposition() -> None:
    factor = torch.randn(60, 60, generator=torch.Generator().manual_seed(0)) * 0.9 ** torch.arange(60)
    covariance = factor @ factor.T
    variance, found = axes._leading_axes(covariance, 5, torch.Generator().manual_seed(1))
    expected = torch.linalg.eigvalsh(covariance).flip(0)[:5]
    torch.testing.assert_close(variance, expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(covariance @ found, found * expected, atol=1e-2, rtol=0)
