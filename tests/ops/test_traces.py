import math

import pytest
import torch

from elfs.ops.traces import TRACES, trace_batch


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
    traces = trace_batch(torch.randn(4, 3, dtype=torch.float16).requires_grad_(), torch.tensor([0, 1, 2, 0]))
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
