from pathlib import Path

import numpy as np
import pytest
import torch

from elfs.ops.schedules import warmup_cosine

DATA = Path(__file__).parents[1] / "data"


def test_learning_rate_matches_reference() -> None:
    """eltsai/elfs@089444b, utils.py, cosine_scheduler: 1e-3 to 1e-5, 10 epochs of 7 steps, 3 of warm-up."""
    expected = np.load(DATA / "schedule.npz")["lr"]
    actual = [warmup_cosine(step, peak=1e-3, final=1e-5, num_steps=70, num_warmup_steps=21) for step in range(70)]
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-18)


def test_rising_momentum_matches_reference() -> None:
    """eltsai/elfs@089444b, utils.py, cosine_scheduler: 0.996 to 1 without warm-up."""
    expected = np.load(DATA / "schedule.npz")["momentum"]
    actual = [warmup_cosine(step, peak=0.996, final=1.0, num_steps=70) for step in range(70)]
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_without_warmup_it_is_pytorchs_cosine() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=1e-4)
    for step in range(21):
        expected = optimizer.param_groups[0]["lr"]
        assert warmup_cosine(step, peak=0.1, final=1e-4, num_steps=20) == pytest.approx(expected, rel=1e-9)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize(
    ("step", "num_warmup_steps", "expected"),
    [(0, 1, 0.25), (1, 1, 1.0), (0, 5, 0.25), (4, 5, 1.0), (5, 5, 0.5), (9, 5, 0.5), (0, 0, 1.0)],
)
def test_edges(step: int, num_warmup_steps: int, expected: float) -> None:
    value = warmup_cosine(step, peak=1.0, final=0.5, num_steps=5, num_warmup_steps=num_warmup_steps, start=0.25)
    assert value == pytest.approx(expected)
