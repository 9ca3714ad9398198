"""Difficulty scores from the traces of a training run.

Every score function takes the traces and the window and returns one float32 number a sample. Names and directions are
those of ``elfs.catalog.SCORES``. A sample with NaN in an epoch that the score looks at (never visited: a test image, a
broken file) gets NaN. Shape suffixes: E epochs, N samples.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from elfs import catalog
from elfs.ops.traces import TRACES

__all__ = [
    "SCORES",
    "ScoreFunction",
    "Traces",
    "aum",
    "compute_scores",
    "correctness",
    "el2n",
    "entropy",
    "forgetting",
    "hardness",
    "loss",
]

Traces = Mapping[str, Tensor]
"""The names of ``TRACES`` to Tensors of shape (n_epochs, n_samples): uint8 for ``correct``, floating for the others."""

ScoreFunction = Callable[[Traces, int], Tensor]
"""From traces and window (epochs, at least 1) to scores of shape (n_samples,), float32."""

SMALLEST_TARGET_PROBABILITY = 2.0**-24
"""Smallest positive float16: what a stored target probability of 0 counts as in the loss (16.6 nats)."""


def _nan_where_unvisited(score_N: Tensor, traces: Traces) -> Tensor:
    """Return a score of the whole-number traces in float32, NaN where a visit is missing."""
    missing_N = traces["target_probability"].isnan().any(dim=0)
    return score_N.float().masked_fill(missing_N, math.nan)


def aum(traces: Traces, window: int) -> Tensor:
    """Return the area under the margin: the sum of the margin over all epochs. Lower = harder.

    Parameters
    ----------
    traces : mapping of str to Tensor of shape (n_epochs, n_samples)
        Needs ``margin``.
    window : int
        Not used.

    Returns
    -------
    Tensor of shape (n_samples,), float32
        In ``[-n_epochs, n_epochs]``.

    References
    ----------
    .. [1] Pleiss et al., NeurIPS 2020, https://arxiv.org/abs/2001.10528 (there of logits, here of probabilities).
    """
    return traces["margin"].float().sum(dim=0)


def correctness(traces: Traces, window: int) -> Tensor:
    """Return the number of epochs in which the prediction was the pseudo-label. Lower = harder.

    Parameters
    ----------
    traces : mapping of str to Tensor of shape (n_epochs, n_samples)
        Needs ``correct`` and ``target_probability``.
    window : int
        Not used.

    Returns
    -------
    Tensor of shape (n_samples,), float32
        Whole numbers in ``[0, n_epochs]``.
    """
    return _nan_where_unvisited(traces["correct"].sum(dim=0), traces)


def el2n(traces: Traces, window: int) -> Tensor:
    """Return the error norm summed over the first epochs. Higher = harder.

    Parameters
    ----------
    traces : mapping of str to Tensor of shape (n_epochs, n_samples)
        Needs ``error_norm``.
    window : int
        Number of first epochs to sum over; all, where there are fewer.

    Returns
    -------
    Tensor of shape (n_samples,), float32
        In ``[0, window * sqrt(2)]``.

    References
    ----------
    .. [1] Paul et al., NeurIPS 2021, https://arxiv.org/abs/2107.07075 (there a mean over runs at one early epoch).
    """
    return traces["error_norm"][:window].float().sum(dim=0)


def entropy(traces: Traces, window: int) -> Tensor:
    """Return the entropy of the prediction, mean of the last epochs. Higher = harder.

    Parameters
    ----------
    traces : mapping of str to Tensor of shape (n_epochs, n_samples)
        Needs ``entropy``.
    window : int
        Number of last epochs in the mean; all, where there are fewer.

    Returns
    -------
    Tensor of shape (n_samples,), float32
        In nats, in ``[0, log(n_classes)]``.
    """
    return traces["entropy"][-window:].float().mean(dim=0)


def forgetting(traces: Traces, window: int) -> Tensor:
    """Return how often a sample was right at one visit and wrong at the next. Higher = harder.

    Parameters
    ----------
    traces : mapping of str to Tensor of shape (n_epochs, n_samples)
        Needs ``correct`` and ``target_probability``.
    window : int
        Not used.

    Returns
    -------
    Tensor of shape (n_samples,), float32
        Whole numbers in ``[0, n_epochs / 2]``; 0 also for a sample that was never right, as in the reference [2]_.

    References
    ----------
    .. [1] Toneva et al., ICLR 2019, https://arxiv.org/abs/1812.05159.
    .. [2] github.com/eltsai/elfs@089444b, ``generate_importance_score.py`` (MIT).
    """
    correct_EN = traces["correct"]
    return _nan_where_unvisited((correct_EN[:-1] > correct_EN[1:]).sum(dim=0), traces)


def loss(traces: Traces, window: int) -> Tensor:
    """Return the cross-entropy against the pseudo-label, mean of the last epochs. Higher = harder.

    Parameters
    ----------
    traces : mapping of str to Tensor of shape (n_epochs, n_samples)
        Needs ``target_probability``.
    window : int
        Number of last epochs in the mean; all, where there are fewer.

    Returns
    -------
    Tensor of shape (n_samples,), float32
        In nats, in [0, 16.64]: a target probability counts as at least 2**-24, the smallest that float16 holds.
    """
    target_EN = traces["target_probability"][-window:].float()
    return -target_EN.clamp_min(SMALLEST_TARGET_PROBABILITY).log().mean(dim=0)


SCORES: dict[str, ScoreFunction] = {
    "aum": aum,
    "correctness": correctness,
    "el2n": el2n,
    "entropy": entropy,
    "forgetting": forgetting,
    "loss": loss,
}
"""Every score by its key; the keys are those of ``elfs.catalog.SCORES``."""


def compute_scores(traces: Traces, window: int, *, block_rows: int = 65_536) -> dict[str, Tensor]:
    """Return all scores of all samples, a block of samples at a time.

    Parameters
    ----------
    traces : mapping of str to Tensor of shape (n_epochs, n_samples)
        All of ``TRACES``, usually float16, possibly backed by a memory map.
    window : int
        Epochs that ``el2n`` (first), ``entropy`` and ``loss`` (last) look at, at least 1.
    block_rows : int, default 65536
        Samples at a time. Beyond the result it needs about ``8 * n_epochs * block_rows`` bytes.

    Returns
    -------
    dict of str to Tensor of shape (n_samples,), float32
        Every key of ``SCORES``; the same for every `block_rows`.

    Raises
    ------
    ValueError
        If a trace is missing, the shapes are not all the same (n_epochs, n_samples) with at least one epoch, or
        `window` is below 1.
    """
    if missing := [name for name in TRACES if name not in traces]:
        raise ValueError(f"traces lack {', '.join(missing)}; expected {', '.join(TRACES)}.")
    shapes = {name: tuple(traces[name].shape) for name in TRACES}
    shape = shapes["correct"]
    if len(set(shapes.values())) > 1 or len(shape) != 2 or shape[0] < 1:
        raise ValueError(f"traces have the shapes {shapes}, expected one (n_epochs >= 1, n_samples) for all.")
    if window < 1:
        raise ValueError(f"window is {window} epochs, expected at least 1.")
    num_samples = shape[1]
    scores = {key: torch.empty(num_samples, dtype=torch.float32, device=traces["correct"].device) for key in SCORES}
    for start in range(0, num_samples, block_rows):
        rows = slice(start, start + block_rows)
        block = {name: traces[name][:, rows] for name in TRACES}
        for key, score in SCORES.items():
            scores[key][rows] = score(block, window)
    return scores


def hardness(score: Tensor, key: str) -> Tensor:
    """Return a score turned so that higher = harder.

    Parameters
    ----------
    score : Tensor of shape (n_samples,), float32
        Values of the score `key`.
    key : str
        A key of ``elfs.catalog.SCORES``, whose direction counts.

    Returns
    -------
    Tensor of shape (n_samples,), float32
        `score` or its negative; NaN stays NaN.

    Raises
    ------
    UsageError
        If there is no such key.
    """
    catalog.choose("score key", key, catalog.SCORES)
    return score if catalog.SCORES[key].harder == "higher" else -score
