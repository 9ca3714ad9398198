"""Difficulty scores: from the traces of a training run, or from where a sample lies among the embeddings.

Names and directions are those of ``elfs.catalog.SCORES``. Shape suffixes: E epochs, N samples.
"""

import torch
from torch import Tensor

from elfs import catalog
from elfs.ops.scores.dynamics import (
    TRACE_SCORES,
    ScoreFunction,
    Traces,
    aum,
    confidence,
    correctness,
    dual,
    dyn_unc,
    el2n,
    entropy,
    forgetting,
    loss,
    tdds,
    variability,
)
from elfs.ops.scores.geometry import (
    EMBEDDING_SCORES,
    EmbeddingScoreFunction,
    Geometry,
    density,
    prototypicality,
    typicality,
)
from elfs.ops.traces import TRACES
from elfs.suggestions import choose

__all__ = [
    "EMBEDDING_SCORES",
    "SCORES",
    "TRACE_SCORES",
    "EmbeddingScoreFunction",
    "Geometry",
    "ScoreFunction",
    "Traces",
    "aum",
    "compute_scores",
    "confidence",
    "correctness",
    "density",
    "dual",
    "dyn_unc",
    "el2n",
    "entropy",
    "forgetting",
    "hardness",
    "loss",
    "prototypicality",
    "tdds",
    "typicality",
    "variability",
]

SCORES: dict[str, ScoreFunction | EmbeddingScoreFunction] = {**TRACE_SCORES, **EMBEDDING_SCORES}
"""Every score by its key; the keys are those of ``elfs.catalog.SCORES``."""


def compute_scores(traces: Traces, window: int, *, block_rows: int = 16_384) -> dict[str, Tensor]:
    """Return all scores that the traces allow, of all samples, a block of samples at a time.

    Parameters
    ----------
    traces : mapping of str to Tensor of shape (n_epochs, n_samples)
        All of ``TRACES``, usually float16, possibly backed by a memory map.
    window : int
        Epochs that ``el2n`` (first), ``entropy`` and ``loss`` (last) look at, and of the sliding windows of ``dual``,
        ``dyn_unc`` and ``tdds``; at least 1.
    block_rows : int, default 16384
        Samples at a time. Beyond the result it needs about ``50 * n_epochs * block_rows`` bytes.

    Returns
    -------
    dict of str to Tensor of shape (n_samples,), float32
        Every key of ``TRACE_SCORES`` for which there are enough epochs (``elfs.catalog.required_epochs``); the same for
        every `block_rows`.

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
    num_epochs, num_samples = shape
    keys = [key for key in TRACE_SCORES if catalog.required_epochs(key, window) <= num_epochs]
    scores = {key: torch.empty(num_samples, dtype=torch.float32, device=traces["correct"].device) for key in keys}
    for start in range(0, num_samples, block_rows):
        rows = slice(start, start + block_rows)
        block = {name: traces[name][:, rows] for name in TRACES}
        for key in keys:
            scores[key][rows] = TRACE_SCORES[key](block, window)
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
    choose("score key", key, catalog.SCORES)
    return score if catalog.SCORES[key].harder == "higher" else -score
