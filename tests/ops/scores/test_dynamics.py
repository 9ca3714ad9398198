"""Scores of the target probability, against numbers derived by hand and a second way to compute them."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy as divergence
from torch import Tensor

from elfs.ops.scores import confidence, dual, dyn_unc, tdds, variability


def traces_of(*probability: float) -> dict[str, Tensor]:
    return {"target_probability": torch.tensor(probability).unsqueeze(1)}


def random_probability(num_epochs: int, num_samples: int) -> Tensor:
    return torch.rand(num_epochs, num_samples, generator=torch.Generator().manual_seed(0))


def test_mean_and_deviation_of_all_epochs() -> None:
    """Mean 0.5; squared distances 0.09 + 0.01 + 0.16, divided by the three epochs."""
    traces = traces_of(0.2, 0.4, 0.9)
    assert confidence(traces, 10).item() == pytest.approx(0.5)
    assert variability(traces, 10).item() == pytest.approx(math.sqrt(0.26 / 3))


@pytest.mark.parametrize("window", [1, 2])
def test_windows_of_two_epochs(window: int) -> None:
    """Two values a and b have the sample deviation abs(a - b) / sqrt(2); the means are 0.3 and 0.65."""
    traces = traces_of(0.2, 0.4, 0.9)
    first, second = 0.2 / math.sqrt(2), 0.5 / math.sqrt(2)
    assert dyn_unc(traces, window).item() == pytest.approx((first + second) / 2)
    assert dual(traces, window).item() == pytest.approx((first * 0.7 + second * 0.35) / 2)


def test_window_of_three_epochs() -> None:
    """Of 0, 0, 1: deviation sqrt(1 / 3), mean 1 / 3; of 0, 1, 1: the same deviation, mean 2 / 3."""
    traces = traces_of(0.0, 0.0, 1.0, 1.0)
    assert dyn_unc(traces, 3).item() == pytest.approx(math.sqrt(1 / 3))
    assert dual(traces, 3).item() == pytest.approx(math.sqrt(1 / 3) * (2 / 3 + 1 / 3) / 2)
    assert 0.38 < dual(traces_of(0.0, 0.0, 1.0), 3).item() < 0.39  # the most that any window has


def test_windows_match_reference() -> None:
    """BAAI-DCAI/Dataset-Pruning@4c510c6, get_coreset.py, and behaapyy/dual-pruning@3271de1: torch.std, without x 10."""
    probability = random_probability(30, 20)
    windows = probability.unfold(0, 10, 1)
    deviation, mean = torch.std_mean(windows, dim=2)
    torch.testing.assert_close(dyn_unc({"target_probability": probability}, 10), deviation.mean(dim=0))
    expected = (deviation * (1 - mean)).mean(dim=0)
    torch.testing.assert_close(dual({"target_probability": probability}, 10), expected)


@pytest.mark.parametrize("window", [1, 2])
def test_tdds_weighs_the_newest_window_most(window: int) -> None:
    """Changes a, b, 0; two changes lie half their difference from their mean, which makes a norm of that / sqrt(2)."""
    a = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    b = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    expected = (0.9 * b + 0.09 * abs(a - b)) / math.sqrt(2)
    assert tdds(traces_of(0.5, 0.8, 0.5, 0.5), window).item() == pytest.approx(expected, rel=1e-5)


def test_tdds_of_two_classes_is_that_of_the_paper() -> None:
    """Zhang et al. 2024, with J changes in a window: norm of the divergences less their mean, decayed by a tenth."""
    num_epochs, width = 15, 5
    p = random_probability(num_epochs, 20).clamp(0.01, 0.99)
    both = torch.stack([p, 1 - p]).double().numpy()
    changes = divergence(both[:, 1:], both[:, :-1], axis=0)
    expected = np.zeros(20)
    for start in range(num_epochs - width):
        window = changes[start : start + width]
        norm = np.linalg.norm(window - window.mean(axis=0), axis=0)
        expected += norm * 0.9 * 0.1 ** (num_epochs - 1 - width - start)
    np.testing.assert_allclose(tdds({"target_probability": p}, width).numpy(), expected, rtol=1e-4)


def test_change_of_two_classes_is_at_most_that_of_all() -> None:
    """The data-processing inequality, which the docstring names: classes put together are told apart less well."""
    full = torch.softmax(2 * torch.randn(2, 50, 6, generator=torch.Generator().manual_seed(0)), dim=2).double().numpy()
    two = np.stack([full[..., 0], 1 - full[..., 0]], axis=-1)
    difference = divergence(full[1], full[0], axis=1) - divergence(two[1], two[0], axis=1)
    assert difference.min() > 0


def test_tdds_of_probabilities_that_float16_rounds_away_is_finite() -> None:
    """Stored 0 counts as 2**-24 and stored 1 as 1 - 2**-12, so the jumps are log(2**24) and log(2**12), nearly."""
    jumps = tdds({"target_probability": torch.tensor([[0.0], [1.0], [0.0]], dtype=torch.float16)}, 2)
    difference = 24 * math.log(2) - 12 * math.log(2)
    assert jumps.item() == pytest.approx(0.9 * difference / math.sqrt(2), rel=1e-3)
    still = torch.tensor([[0.9999], [1.0], [0.9998]]).half()
    assert tdds({"target_probability": still}, 2).item() == 0
