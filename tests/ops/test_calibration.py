"""Powers of probabilities, by hand."""

import math

import pytest
import torch

from elfs.ops.calibration import matching_power, powered_confidence


def test_confidence_is_the_largest_of_the_powers() -> None:
    """0.6^2 = 0.36 of 0.36 + 0.09 + 0.01; a constant for each row changes nothing."""
    logarithms = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8]]).log() + torch.tensor([[3.0], [-7.0]])
    torch.testing.assert_close(powered_confidence(logarithms, 2), torch.tensor([36 / 46, 64 / 66]))
    torch.testing.assert_close(powered_confidence(logarithms, 1), torch.tensor([0.6, 0.8]))


def test_power_for_two_clusters_is_a_ratio_of_logits() -> None:
    logarithms = torch.tensor([[0.8, 0.2]]).log()
    assert matching_power(logarithms, 0.95) == pytest.approx(math.log(19) / math.log(4), rel=1e-5)


@pytest.mark.parametrize("mean", [0.3, 0.5, 0.9, 0.99])
def test_power_gives_the_mean(mean: float) -> None:
    logits = torch.randn(500, 5, generator=torch.Generator().manual_seed(0))
    found = powered_confidence(logits, matching_power(logits, mean))
    assert float(found.mean()) == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize(("mean", "power"), [(0.0, 1e-3), (1.0, 1e3)])
def test_power_stays_within_bounds(mean: float, power: float) -> None:
    assert matching_power(torch.tensor([[0.5001, 0.4999]]).log(), mean) == pytest.approx(power)
