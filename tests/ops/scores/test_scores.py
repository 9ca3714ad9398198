import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.errors import UsageError
from elfs.ops.scores import TRACE_SCORES, compute_scores, hardness
from elfs.ops.traces import TRACES, trace_batch

DATA = Path(__file__).parents[2] / "data"


def stacked_traces(logits: Tensor, labels: Tensor, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return what a training run over `logits` (n_epochs, n_samples, n_classes) would have kept."""
    epochs = [trace_batch(epoch, labels) for epoch in logits]
    stacked = {name: torch.stack([epoch[name] for epoch in epochs]) for name in TRACES}
    return {name: values if name == "correct" else values.to(dtype) for name, values in stacked.items()}


def random_traces(num_epochs: int = 7, num_samples: int = 50, dtype: torch.dtype = torch.float16) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(num_epochs, num_samples, 4, generator=generator)
    return stacked_traces(logits, torch.randint(4, (num_samples,), generator=generator), dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-6), (torch.float16, 5e-3)])
def test_scores_match_reference(dtype: torch.dtype, tolerance: float) -> None:
    """eltsai/elfs@089444b, generate_importance_score.py: fp16 logits, visited in a different order in each epoch."""
    golden = np.load(DATA / "scores.npz")
    labels = torch.from_numpy(golden["labels"])
    visited = {name: torch.zeros(golden["order"].shape, dtype=dtype) for name in TRACES}
    visited["correct"] = visited["correct"].to(torch.uint8)
    for epoch, order in enumerate(torch.from_numpy(golden["order"]).long()):
        for batch in order.chunk(4):
            for name, values in trace_batch(torch.from_numpy(golden["logits"][epoch])[batch], labels[batch]).items():
                visited[name][epoch, batch] = values.to(visited[name].dtype)
    scores = compute_scores(visited, int(golden["el2n_epochs"]))
    for key in ("correctness", "forgetting"):
        np.testing.assert_array_equal(scores[key].numpy(), golden[key])
    np.testing.assert_allclose(scores["aum"].numpy(), golden["accumulated_margin"], atol=tolerance)
    np.testing.assert_allclose(scores["el2n"].numpy(), golden["el2n"], atol=tolerance)


def test_entropy_and_loss_are_means_of_the_last_epochs() -> None:
    logits = torch.tensor([[[0.5, 0.5]], [[0.9, 0.1]], [[0.8, 0.2]]]).log()
    traces = stacked_traces(logits, torch.tensor([1]), torch.float32)
    scores = compute_scores(traces, 2)
    assert scores["loss"].item() == pytest.approx(-(math.log(0.1) + math.log(0.2)) / 2)
    entropies = [-(p * math.log(p) + (1 - p) * math.log(1 - p)) for p in (0.9, 0.8)]
    assert scores["entropy"].item() == pytest.approx(sum(entropies) / 2)
    assert scores["el2n"].item() == pytest.approx(math.sqrt(2) * (0.5 + 0.9))  # the first two


@pytest.mark.parametrize(
    ("visits", "correctness", "forgetting"),
    [([0, 0, 0, 0], 0, 0), ([1, 1, 1, 1], 4, 0), ([1, 0, 1, 0], 2, 2), ([0, 1, 1, 0], 2, 1), ([1, 0], 1, 1)],
)
def test_counts_of_visits(visits: list[int], correctness: int, forgetting: int) -> None:
    traces = {name: torch.zeros(len(visits), 1) for name in TRACES}
    traces["correct"] = torch.tensor(visits, dtype=torch.uint8).unsqueeze(1)
    scores = compute_scores(traces, 10)
    assert (scores["correctness"].item(), scores["forgetting"].item()) == (correctness, forgetting)


def test_window_longer_than_the_run_takes_every_epoch() -> None:
    """Scores that slide a window over the epochs cannot do so and are left out."""
    traces = random_traces(num_epochs=3)
    longer, exact = compute_scores(traces, 100), compute_scores(traces, 3)
    assert TRACE_SCORES.keys() - longer.keys() == {"dual", "dyn_unc", "tdds"}
    assert TRACE_SCORES.keys() - exact.keys() == {"tdds"}
    for key in longer:
        assert torch.equal(longer[key], exact[key])


def test_loss_of_a_probability_that_float16_loses_is_capped() -> None:
    traces = stacked_traces(torch.tensor([[[0.0, 100.0]]]), torch.tensor([0]), torch.float16)
    assert compute_scores(traces, 1)["loss"].item() == pytest.approx(24 * math.log(2))


@pytest.mark.parametrize("key", sorted(TRACE_SCORES.keys() - {"el2n", "entropy", "loss"}))
def test_one_missed_visit_makes_a_score_of_all_visits_nan(key: str) -> None:
    traces = random_traces()
    for name in TRACES:
        traces[name][4, 3] = 0 if name == "correct" else math.nan
    assert compute_scores(traces, 2)[key].isnan().nonzero().tolist() == [[3]]


@pytest.mark.parametrize("block_rows", [1, 7, 31, 50, 51])
def test_blocks_do_not_change_a_score(block_rows: int) -> None:
    """Bit for bit, although torch.sum adds the epochs of some columns in another order than those of others."""
    traces = random_traces(num_epochs=40, dtype=torch.float32)
    whole, blocks = compute_scores(traces, 30), compute_scores(traces, 30, block_rows=block_rows)
    assert whole.keys() == TRACE_SCORES.keys()
    for key, score in TRACE_SCORES.items():
        assert torch.equal(whole[key], blocks[key])
        assert torch.equal(whole[key], score(traces, 30))


def test_no_samples() -> None:
    assert {len(values) for values in compute_scores(random_traces(num_samples=0), 3).values()} == {0}


@pytest.mark.parametrize("name", TRACES)
def test_missing_trace(name: str) -> None:
    traces = random_traces()
    del traces[name]
    with pytest.raises(ValueError, match=f"traces lack {name}; expected target_probability, margin"):
        compute_scores(traces, 3)


@pytest.mark.parametrize("shape", [(7, 49), (6, 50), (350,)])
def test_odd_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"traces have the shapes .*expected one \(n_epochs >= 1, n_samples\)"):
        compute_scores({**random_traces(), "entropy": torch.zeros(shape)}, 3)


def test_no_epochs() -> None:
    with pytest.raises(ValueError, match="expected one"):
        compute_scores({name: torch.zeros(0, 5) for name in TRACES}, 3)


def test_window_below_one() -> None:
    with pytest.raises(ValueError, match="window is 0 epochs, expected at least 1"):
        compute_scores(random_traces(), 0)


def test_hardness_of_an_unknown_key() -> None:
    with pytest.raises(UsageError, match=r"unknown score key 'amu'\. Did you mean 'aum'"):
        hardness(torch.zeros(3), "amu")


def test_hardness_turns_lower_into_higher() -> None:
    score = torch.tensor([1.0, -2.0, math.nan])
    assert hardness(score, "aum")[:2].tolist() == [-1.0, 2.0]
    assert hardness(score, "el2n")[:2].tolist() == [1.0, -2.0]
    assert hardness(score, "aum")[2].isnan()
