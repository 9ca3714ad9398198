import itertools
import math

import pytest
import torch
from torch import Tensor

from elfs.ops.traces import HALVED, SPREADS, TRACES, TraceSums, pairwise_agreement, trace_batch


def test_values_by_hand() -> None:
    logits = torch.tensor([0.7, 0.2, 0.1]).log().repeat(3, 1)
    traces = trace_batch(logits, torch.tensor([0, 1, 2]))
    assert tuple(traces) == TRACES
    entropy = -(0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1))
    expected = {
        "target_probability": [0.7, 0.2, 0.1],
        "margin": [0.5, -0.5, -0.6],
        "error_norm": [math.sqrt(0.09 + 0.04 + 0.01), math.sqrt(0.49 + 0.64 + 0.01), math.sqrt(0.49 + 0.04 + 0.81)],
        "entropy": [entropy] * 3,
    }
    for name, value in expected.items():
        torch.testing.assert_close(traces[name], torch.tensor(value))
    assert traces["correct"].tolist() == [1, 0, 0]


def test_dtypes_and_no_gradient() -> None:
    logits = torch.eye(4, 3, dtype=torch.float16).requires_grad_()
    traces = trace_batch(logits, torch.tensor([0, 1, 2, 0]))
    for name, values in traces.items():
        assert values.shape == (4,)
        assert values.dtype == (torch.uint8 if name == "correct" else torch.float32)
        assert not values.requires_grad


def test_one_class_is_learned_perfectly() -> None:
    traces = trace_batch(torch.tensor([[3.0], [-7.0]]), torch.tensor([0, 0]))
    expected = {"target_probability": 1, "margin": 1, "error_norm": 0, "entropy": 0, "correct": 1}
    assert {name: values.tolist() for name, values in traces.items()} == {
        name: [value, value] for name, value in expected.items()
    }


def test_of_equal_logits_the_first_is_the_prediction() -> None:
    traces = trace_batch(torch.zeros(3, 3), torch.tensor([0, 1, 2]))
    assert traces["correct"].tolist() == [1, 0, 0]
    assert traces["margin"].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("label", "target", "error_norm"), [(0, 1.0, 0.0), (1, 0.0, math.sqrt(2))])
def test_hard_logits_stay_finite(label: int, target: float, error_norm: float) -> None:
    traces = trace_batch(torch.tensor([[6e4, -6e4, 0.0]], dtype=torch.float16), torch.tensor([label]))
    assert traces["target_probability"].item() == target
    assert traces["error_norm"].item() == pytest.approx(error_norm)
    assert traces["entropy"].item() == 0.0


class TestTraceSums:
    """Mean and spread over proxies, against the plain formulas."""

    LOGITS = torch.randn(5, 7, 3, generator=torch.Generator().manual_seed(0))
    LABELS = torch.arange(7) % 3
    HALVES = torch.tensor([1.0, 1.0, -1.0, -1.0, 1.0])

    def each(self) -> dict[str, Tensor]:
        """Return the traces [P, N] of each proxy."""
        found = [trace_batch(logits, self.LABELS) for logits in self.LOGITS]
        return {name: torch.stack([traces[name] for traces in found]) for name in TRACES}

    def test_mean_is_that_of_the_proxies(self) -> None:
        sums, each = TraceSums(7, torch.device("cpu")), self.each()
        for rows in ([4, 1, 0], [2, 3, 5, 6]):
            seen = {name: values[:, rows] for name, values in each.items()}
            sums.add(torch.tensor(rows), seen, self.HALVES)
        for name, mean in sums.means().items():
            torch.testing.assert_close(mean, each[name].float().mean(dim=0))
        variances = sums.variances()
        assert tuple(variances) == SPREADS
        for name, variance in variances.items():
            torch.testing.assert_close(variance, each[name].var(dim=0, correction=0), rtol=1e-4, atol=1e-6)

    def test_parts_make_the_whole(self) -> None:
        every, each = torch.arange(7), self.each()
        whole, first, second = (TraceSums(7, torch.device("cpu")) for _ in range(3))
        whole.add(every, each, self.HALVES)
        first.add(every, {name: values[:2] for name, values in each.items()}, self.HALVES[:2])
        second.add(every, {name: values[2:] for name, values in each.items()}, self.HALVES[2:])
        first.join(TraceSums.of(second.tensors()))
        for name, values in whole.tensors().items():
            torch.testing.assert_close(first.tensors()[name], values)

    def test_the_halves_differ_by_their_means(self) -> None:
        sums, each = TraceSums(7, torch.device("cpu")), {name: values[:4] for name, values in self.each().items()}
        sums.add(torch.arange(7), each, self.HALVES[:4])
        found = sums.differences()
        assert tuple(found) == HALVED
        for name, difference in found.items():
            torch.testing.assert_close(difference, each[name][:2].mean(dim=0) - each[name][2:].mean(dim=0))

    def test_what_nobody_saw_is_nan(self) -> None:
        assert all(value.isnan().all() for value in TraceSums(2, torch.device("cpu")).means().values())


@pytest.mark.parametrize("num_proxies", [1, 2, 5])
def test_agreement_is_the_share_of_equal_pairs(num_proxies: int) -> None:
    predicted = torch.randint(-1, 3, (num_proxies, 40), generator=torch.Generator().manual_seed(0), dtype=torch.int32)
    found = pairwise_agreement(predicted)
    for column, share in zip(predicted.T.tolist(), found.tolist(), strict=True):
        pairs = [a == b for a, b in itertools.combinations([value for value in column if value >= 0], 2)]
        assert share == pytest.approx(sum(pairs) / len(pairs) if pairs else math.nan, nan_ok=True)
