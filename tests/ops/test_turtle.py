"""TURTLE's formulas, by hand and against plain loops."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from elfs.ops.turtle import fitted_heads, log_labels, soft_labels, turtle_loss, unit_parts


def example(seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return two encoders' embeddings of 6 rows, and weights of 2 runs with 3 clusters."""
    draws = torch.Generator().manual_seed(seed)
    inputs = [torch.randn(6, width, generator=draws) for width in (4, 5)]
    weights = [torch.randn(width, 2 * 3, generator=draws) for width in (4, 5)]
    return inputs, weights


def test_parts_are_scaled_one_by_one() -> None:
    first, second = unit_parts(torch.tensor([[3.0, 4.0, 2.0], [0.0, 0.0, -5.0]]), [2, 1])
    torch.testing.assert_close(first, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
    assert second.tolist() == [[1.0], [-1.0]]


def test_labels_are_the_mean_of_the_encoders() -> None:
    inputs, weights = example(0)
    found = soft_labels(inputs, weights, 3)
    for run in range(2):
        parts = [(z @ w[:, 3 * run : 3 * run + 3]).softmax(dim=1) for z, w in zip(inputs, weights, strict=True)]
        torch.testing.assert_close(found[:, run], (parts[0] + parts[1]) / 2)


def test_logarithms_of_labels_are_finite_where_labels_are_0() -> None:
    inputs, weights = example(0)
    for run, found in enumerate(log_labels(inputs, weights, 3)):
        torch.testing.assert_close(found, soft_labels(inputs, weights, 3)[:, run].log())
    assert run == 1
    sharp = [1e4 * w for w in weights]
    assert (soft_labels(inputs, sharp, 3) == 0).any()
    assert all(found.isfinite().all() for found in log_labels(inputs, sharp, 3))


class Largest(TorchDispatchMode):
    """Sees how many numbers the largest tensor has that is made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, Tensor) and made._base is None:
            self.numbers = max(self.numbers, made.numel())
        return made


def test_more_runs_take_no_more_memory() -> None:
    inputs, weights = example(0)
    repeated = [w.repeat(1, 20) for w in weights]
    with Largest() as one:
        (expected,) = log_labels(inputs, [w[:, :3] for w in weights], 3)
    with Largest() as many:
        first, *_ = log_labels(inputs, repeated, 3)
    assert many.numbers == one.numbers
    torch.testing.assert_close(first, expected)


def test_heads_are_those_of_plain_gradient_descent() -> None:
    inputs, weights = example(1)
    labels = soft_labels(inputs, weights, 3)
    found = fitted_heads(inputs[0], labels, steps=4, rate=0.7)
    rate = 0.7 / float(inputs[0].square().sum(dim=1).mean())
    for run in range(2):
        head = torch.zeros(4, 3)
        for _ in range(4):
            head = head.detach().requires_grad_()
            loss = -(labels[:, run] * (inputs[0] @ head).log_softmax(dim=1)).sum(dim=1).mean()
            loss.backward()
            assert head.grad is not None
            head = head - rate * head.grad
        torch.testing.assert_close(found[:, 3 * run : 3 * run + 3], head.detach())


def test_one_outer_step_by_hand() -> None:
    """Two rows on a line, two clusters, one encoder, one inner step: every number on paper."""
    z, w = torch.tensor([[1.0], [-1.0]]), torch.tensor([[1.0, 0.0]], requires_grad=True)
    labels = soft_labels([z], [w], 2)
    p = 1 / (1 + math.exp(-1))  # of cluster 0 in row 0, of cluster 1 in row 1
    assert labels[:, 0].tolist() == [pytest.approx([p, 1 - p]), pytest.approx([1 - p, p])]
    head = fitted_heads(z, labels, steps=1, rate=1.0)
    v = p - 0.5  # mean over the rows of z (t_0 - 1/2), uniform at first
    assert head.tolist() == [pytest.approx([v, -v])]
    loss = turtle_loss([z], [head], labels, entropy_weight=10.0)
    q = 1 / (1 + math.exp(-2 * v))
    assert loss.item() == pytest.approx(-p * math.log(q) - (1 - p) * math.log(1 - q) - 10 * math.log(2), rel=1e-6)
    loss.sum().backward()
    # The sizes are equal, so the entropy is flat: d loss / d w_0 = dp/dw_0 * (log(1 - q) - log q) = -p (1 - p) 2 v.
    assert w.grad is not None
    assert w.grad.tolist() == [pytest.approx([-2 * v * p * (1 - p), 2 * v * p * (1 - p)], rel=1e-5)]


def test_runs_do_not_know_of_each_other() -> None:
    inputs, weights = example(2)
    labels = soft_labels(inputs, weights, 3)
    heads = [fitted_heads(z, labels, steps=3, rate=1.0) for z in inputs]
    both = turtle_loss(inputs, heads, labels, entropy_weight=10.0)
    alone = soft_labels(inputs, [w[:, 3:] for w in weights], 3)
    own = [fitted_heads(z, alone, steps=3, rate=1.0) for z in inputs]
    torch.testing.assert_close(both[1:], turtle_loss(inputs, own, alone, entropy_weight=10.0))
