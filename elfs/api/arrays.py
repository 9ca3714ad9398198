"""Selecting and scoring on arrays alone: no workspace, no files. Axes: E epochs, N samples, C classes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from elfs.budget import Budget
from elfs.catalog import SELECTORS
from elfs.config import SelectConfig
from elfs.data.embeddings_file import finite_rows, row_ids
from elfs.data.hashing import content_of_rows, id_hashes
from elfs.data.samples import SampleTable, Split
from elfs.errors import InputDataError, UsageError
from elfs.ops.duplicates import kept_of_equal
from elfs.ops.neighbors import cosine_neighbors
from elfs.ops.scores import compute_scores
from elfs.ops.selection import Pool, SelectorOptions, eligible_rows
from elfs.ops.selection import select as select_rows
from elfs.ops.selection.hard_rate import CoverageJudge, best_hard_rate, usual_hard_rate
from elfs.ops.selection.pool import check_budget
from elfs.ops.selection.trust import neighbor_trust
from elfs.ops.traces import TRACES, trace_batch
from elfs.train.seeding import generator

__all__ = ["scores", "select"]

_NUM_NEIGHBORS = 50
_FROM_KEYWORDS = {"scores", "embeddings", "pseudo_labels", "neighbors"}
"""What methods read and arrays can give."""


def select(
    embeddings: ArrayLike,
    budget: int | float | str,
    *,
    method: str = "auto",
    hardness: ArrayLike | None = None,
    pseudo_labels: ArrayLike | None = None,
    hard_rate: float | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Return which rows to annotate, best first.

    The same list as ``elfs embed --embeddings`` and ``elfs select`` make of the same arrays: of equal rows only one is
    taken, and a row that is not finite never is.

    Parameters
    ----------
    embeddings : array_like of shape (n_samples, n_dims), floating
        One row a sample, of any encoder; need not be normalised.
    budget : int, float or str
        500 is a count, 0.1 or ``"10%"`` a share, 1.0 all, 1 one sample.
    method : str, default "auto"
        A key of ``elfs.catalog.SELECTORS`` that reads embeddings, hardness, pseudo-labels or neighbours.
    hardness : array_like of shape (n_samples,), floating, optional
        How hard each sample is, higher = harder, such as a loss; a sample whose value is not finite is never taken by
        it. Without it ``auto`` covers the pool and nothing else.
    pseudo_labels : array_like of shape (n_samples,), int, optional
        Cluster of each sample, at least 0 where the embedding is finite. ``auto`` believes the hardness as far as
        neighbours share them; without them in full, and counts one cluster.
    hard_rate : float, optional
        Share pruned from the hard end by ``elfs``, in [0, 1]; left out, the one whose window covers the pool best.
    seed : int, default 0
        Of every random choice.

    Returns
    -------
    ndarray of shape (n_selected,), int64
        Different rows of `embeddings`.

    Raises
    ------
    InputDataError
        If an array has another shape or kind than stated, or no row is finite.
    UsageError
        If there is no such method, it needs what is not given, or the budget does not fit.

    Examples
    --------
    >>> points = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    >>> sorted(select(points, 2, method="k-center", seed=1).tolist())
    [0, 2]
    """
    rate = None if hard_rate is None else str(float(hard_rate))
    config = SelectConfig(budget=str(budget), method=method, hard_rate=rate, seed=seed)
    values = _matrix(embeddings)
    hard = _column("hardness", hardness, len(values), floating=True)
    labels = _column("pseudo_labels", pseudo_labels, len(values), floating=False)
    _require(method, hard, labels)
    table = SampleTable.from_ids(row_ids(len(values)), Split.TRAIN, 0)
    rows = np.flatnonzero(finite_rows(values))
    if len(rows) == 0:
        raise InputDataError("embeddings: no row is finite.")
    hashes = id_hashes(table, rows, seed)
    order = np.argsort(hashes, kind="stable")
    content = torch.from_numpy(content_of_rows(values[rows[order]]))
    order = order[kept_of_equal(content, torch.zeros(len(rows)).bool()).numpy()]
    rows = rows[order]
    wanted = Budget.parse(config.budget)
    count = wanted.count or wanted.resolve(len(rows))
    check_budget(count, torch.ones(len(rows)).bool())
    pool, trust = _pool(method, values, hard, labels, rows, hashes[order])
    if wanted.share == 1:
        count = int(eligible_rows(method, pool).sum())
    picked = _pick(config, pool, count, trust)
    found: NDArray[np.int64] = rows[picked.numpy()]
    return found


def _pick(config: SelectConfig, pool: Pool, count: int, trust: float) -> torch.Tensor:
    """Return positions in the pool, pruned as the options or the coverage of the pool say."""

    def pick(rate: float) -> torch.Tensor:
        options = SelectorOptions(hard_rate=rate, trust=trust)
        return select_rows(config.method, pool, count, options, generator(config.seed, "select"))

    if not SELECTORS[config.method].prunes:
        return pick(0.0)
    if config.fixed_hard_rate is not None:
        return pick(config.fixed_hard_rate)
    judge = CoverageJudge.of(pool, generator(config.seed, "judge"))
    usual = usual_hard_rate(min(1.0, count / len(pool)))
    rate, _ = best_hard_rate(pick, lambda picked: round(judge.worth(picked), 6), usual)
    return pick(rate)


def _pool(
    method: str,
    values: NDArray[Any],
    hard: NDArray[Any] | None,
    labels: NDArray[Any] | None,
    rows: NDArray[np.int64],
    hashes: NDArray[np.int64],
) -> tuple[Pool, float]:
    """Return the pool with what the method reads, and how far its hardness is to be believed."""
    fields: dict[str, Any] = {"embeddings": torch.from_numpy(values[rows])}
    trust = 1.0
    needs_neighbors = "neighbors" in SELECTORS[method].reads or (labels is not None and hard is not None)
    if needs_neighbors and len(rows) > 1:
        neighbors = cosine_neighbors(values[rows], min(_NUM_NEIGHBORS, len(rows) - 1), device="cpu")
        fields["neighbors"], fields["similarity"] = neighbors
    if labels is not None:
        _require_at_least_0("pseudo_labels", labels[rows])
        fields["pseudo_labels"] = torch.from_numpy(labels[rows].astype(np.int64))
    elif method == "auto":
        fields["pseudo_labels"] = torch.zeros(len(rows), dtype=torch.int64)
    if hard is not None:
        fields["hardness"] = torch.from_numpy(hard[rows].astype(np.float32))
        if labels is not None and "neighbors" in fields:
            trust = round(neighbor_trust(fields["pseudo_labels"], [fields["neighbors"]]), 4)
    elif method == "auto":
        fields["hardness"], trust = torch.zeros(len(rows)), 0.0
    return Pool(tie_breaker=torch.from_numpy(hashes), **fields), trust


def _require(method: str, hard: NDArray[Any] | None, labels: NDArray[Any] | None) -> None:
    """Refuse a method that needs what was not given, or what only a workspace has."""
    needs = SELECTORS[method]
    if set(needs.reads) - _FROM_KEYWORDS or needs.scores:
        what = ", ".join([*sorted(set(needs.reads) - _FROM_KEYWORDS), *needs.scores])
        raise UsageError(f"method {method!r} needs a workspace, for {what}: elfs.open_workspace(path).select(...).")
    if method == "auto":
        return
    missing = ["hardness"] * (needs.keyed and hard is None)
    missing += ["pseudo_labels"] * ("pseudo_labels" in needs.reads and labels is None)
    if missing:
        raise UsageError(f"method {method!r} needs {' and '.join(missing)}.")


def _matrix(embeddings: ArrayLike) -> NDArray[Any]:
    values = np.asarray(embeddings)
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating) or 0 in values.shape:
        raise InputDataError(
            f"embeddings is {values.dtype} of shape {values.shape}, expected floating of shape (n_samples, n_dims)."
        )
    return np.ascontiguousarray(values if values.dtype == np.float16 else values.astype(np.float32))


def _column(name: str, given: ArrayLike | None, length: int, *, floating: bool) -> NDArray[Any] | None:
    if given is None:
        return None
    values = np.asarray(given)
    is_integer = np.issubdtype(values.dtype, np.integer)
    fits = is_integer or (floating and np.issubdtype(values.dtype, np.floating))
    if values.shape != (length,) or not fits:
        kind = "numbers" if floating else "whole numbers"
        raise InputDataError(f"{name} is {values.dtype} of shape {values.shape}, expected {kind} of shape ({length},).")
    return values


def _require_at_least_0(name: str, values: NDArray[Any]) -> None:
    if values.min() < 0:
        raise InputDataError(f"{name} holds {values.min()}, expected numbers of at least 0.")


def scores(
    traces: Mapping[str, ArrayLike] | ArrayLike, labels: ArrayLike | None = None, *, window: int = 10
) -> dict[str, NDArray[np.float32]]:
    """Return difficulty scores of a training run of one's own.

    Parameters
    ----------
    traces : mapping of str to array_like of shape (n_epochs, n_samples), or array_like
        What `elfs dynamics` keeps (``target_probability``, ``margin``, ``error_norm``, ``entropy``, ``correct``); or
        logits of shape (n_epochs, n_samples, n_classes), of which (n_samples, n_classes) is one epoch.
    labels : array_like of shape (n_samples,), int, optional
        Of logits: what the network was trained on, in ``[0, n_classes)``.
    window : int, default 10
        Epochs of ``el2n`` (first), ``entropy`` and ``loss`` (last), and of ``dual``, ``dyn_unc`` and ``tdds``.

    Returns
    -------
    dict of str to ndarray of shape (n_samples,), float32
        Every score for which there are enough epochs. ``elfs.catalog.SCORES`` says what each means and which end is
        hard. NaN where a trace is NaN.

    Raises
    ------
    InputDataError
        If a trace is missing, shapes differ, or labels do not fit the logits.
    UsageError
        If `window` is below 1.

    Examples
    --------
    >>> logits = np.array([[[2.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [3.0, 0.0]]])
    >>> scores(logits, [0, 0])["correctness"]
    array([2., 1.], dtype=float32)
    """
    if window < 1:
        raise UsageError(f"window is {window}, expected at least 1.")
    if isinstance(traces, Mapping):
        found = {name: torch.from_numpy(np.array(values)) for name, values in traces.items() if name in TRACES}
    else:
        found = _traces(traces, labels)
    try:
        computed = compute_scores(found, window)
    except ValueError as error:
        raise InputDataError(str(error)) from None
    for score in computed.values():
        score[score.isnan()] = np.nan  # one of the many NaNs
    return {key: score.numpy() for key, score in computed.items()}


def _traces(logits: ArrayLike, labels: ArrayLike | None) -> dict[str, torch.Tensor]:
    values = np.asarray(logits)
    values = values[None] if values.ndim == 2 else values
    if values.ndim != 3 or not np.issubdtype(values.dtype, np.floating) or 0 in values.shape:
        raise InputDataError(
            f"logits are {values.dtype} of shape {values.shape}, expected floating of shape (n_epochs, n_samples, "
            "n_classes)."
        )
    if labels is None:
        raise InputDataError("logits need labels: what the network was trained on.")
    named = _column("labels", labels, values.shape[1], floating=False)
    assert named is not None
    _require_at_least_0("labels", named)
    if named.max() >= values.shape[2]:
        raise InputDataError(f"labels hold {named.max()}, expected numbers below {values.shape[2]}, the classes.")
    target = torch.from_numpy(named.astype(np.int64))
    epochs = [trace_batch(torch.from_numpy(np.array(epoch)), target) for epoch in values]
    return {name: torch.stack([epoch[name] for epoch in epochs]) for name in TRACES}
