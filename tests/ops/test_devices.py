"""What is made lies where its input lies: by a default device whose tensors hold nothing, as no test has a GPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from elfs.ops import neighbor_information as graph
from elfs.ops.consensus import aligned, consensus, trust
from elfs.ops.database import Database
from elfs.ops.distances import unit_rows
from elfs.ops.kmeans import nearest_centroid
from elfs.ops.linear_classifier import fit_linear_classifier
from elfs.ops.neighbors import exact_neighbors
from elfs.ops.scores import compute_scores
from elfs.ops.traces import TraceSums, trace_batch
from elfs.ops.turtle import fitted_heads, soft_labels

NUM_ROWS, NUM_CLASSES = 40, 4
DRAWS = torch.Generator().manual_seed(0)
ROWS = torch.randn(NUM_ROWS, 6, generator=DRAWS)
LOGITS = torch.randn(NUM_ROWS, NUM_CLASSES, generator=DRAWS)
LABELS = torch.arange(NUM_ROWS) % NUM_CLASSES
SEVERAL = torch.stack([LABELS, LABELS.flip(0), LABELS.roll(1)])
NEIGHBORS = torch.stack([(torch.arange(NUM_ROWS) + shift) % NUM_ROWS for shift in (1, 2, 5)], dim=1)
TRACES = {name: torch.stack([value] * 3) for name, value in trace_batch(LOGITS, LABELS).items()}


def summed() -> dict[str, Tensor]:
    sums = TraceSums(NUM_ROWS, torch.device("cpu"))
    sums.add(LABELS.unique(), {name: value[:, :NUM_CLASSES] for name, value in TRACES.items()}, LABELS[:3].float())
    return sums.tensors() | sums.means() | sums.variances() | sums.differences()


COMPUTATIONS: dict[str, Callable[[], Any]] = {
    "aligned": lambda: aligned(LABELS.flip(0), LABELS, NUM_CLASSES),
    "consensus": lambda: consensus(SEVERAL, torch.ones(3, device="cpu"), NEIGHBORS, NUM_CLASSES),
    "trust": lambda: trust(LABELS, LABELS[NEIGHBORS], SEVERAL, NUM_CLASSES),
    "unit_rows": lambda: unit_rows(ROWS),
    "database": lambda: Database(ROWS, device="cpu").unit_rows(LABELS),
    "exact_neighbors": lambda: exact_neighbors(Database(ROWS, device="cpu"), LABELS.unique(), 5),
    "nearest_centroid": lambda: nearest_centroid(ROWS, ROWS[:3]),
    "fit_linear_classifier": lambda: fit_linear_classifier(ROWS, LABELS, NUM_CLASSES, penalty=0.1),
    "smoothed": lambda: graph.smoothed(ROWS, NEIGHBORS, 2),
    "neighbor_votes": lambda: graph.neighbor_votes(LABELS, NEIGHBORS, NUM_CLASSES),
    "neighbor_joint": lambda: graph.neighbor_joint(LABELS, NEIGHBORS, NUM_CLASSES),
    "pair_joint": lambda: graph.pair_joint(LABELS, LABELS[NEIGHBORS], NUM_CLASSES),
    "merged": lambda: graph.merged(LABELS, NEIGHBORS, NUM_CLASSES, 2, "information"),
    "compute_scores": lambda: compute_scores(TRACES, 2),
    "trace_batch": lambda: trace_batch(LOGITS, LABELS),
    "fitted_heads": lambda: fitted_heads(ROWS, LOGITS.softmax(dim=1).unsqueeze(1), steps=2, rate=0.1),
    "soft_labels": lambda: soft_labels([ROWS], [LOGITS[:6]], NUM_CLASSES),
    "trace_sums": summed,
}


@pytest.mark.parametrize("name", COMPUTATIONS)
def test_what_is_made_lies_where_its_input_lies(name: str) -> None:
    expected = COMPUTATIONS[name]()
    with torch.device("meta"):
        found = COMPUTATIONS[name]()
    torch.testing.assert_close(found, expected, rtol=0, atol=0, equal_nan=True)
