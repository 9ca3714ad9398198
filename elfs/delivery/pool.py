"""The pool that was selected from, in bands: what was kept, what was left out, and at which end."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.catalog import SCORES
from elfs.delivery.chosen import Selection, label_name
from elfs.pipeline.annotated import learned_names
from elfs.workspace.tensors import RowArray

__all__ = [
    "EASY",
    "HARD",
    "KEPT",
    "NAMES",
    "REST",
    "Band",
    "Pool",
    "evenly",
    "load_pool",
    "read_column",
    "whole_tensor",
]

HARD, KEPT, EASY, REST = "hard", "kept", "easy", "rest"
"""Kinds of bands: left out as too hard, selected, left out as too easy, left out for other reasons."""

NAMES = {HARD: "left out, too hard", KEPT: "selected", EASY: "left out, too easy", REST: "not selected"}
"""What people call the kinds."""

_WINDOWS = {"elfs": (HARD, KEPT, EASY), "hardest": (KEPT, EASY), "easiest": (HARD, KEPT)}
"""Bands of the methods that cut one window out of the order; all others leave a rest."""


@dataclass(frozen=True)
class Band:
    """Part of the pool.

    Attributes
    ----------
    kind : str
        ``HARD``, ``KEPT``, ``EASY`` or ``REST``.
    positions : ndarray of shape (n,), int64
        Positions in the pool, from hard to easy where there are scores; without score last.
    """

    kind: str
    positions: NDArray[np.int64]

    @property
    def name(self) -> str:
        """What people call it."""
        return NAMES[self.kind]


@dataclass(frozen=True)
class Pool:
    """Every sample that could have been selected.

    Attributes
    ----------
    rows : ndarray of shape (n,), int64
        Rows of the workspace.
    scores : ndarray of shape (n,), float32, or None
        Scores by the selection's key; NaN where there is none.
    pseudo_labels : ndarray of shape (n,), int64, or None
        Clusters.
    bands : tuple of Band
        Parts that make up the whole, from hard to easy; empty ones are left out.
    names : tuple of str
        Of the pseudo-labels, where people's annotations gave them names; else empty.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.float32] | None
    pseudo_labels: NDArray[np.int64] | None
    bands: tuple[Band, ...]
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, pseudo_label: int) -> str:
        """Return what people call a pseudo-label: its class, or ``cluster 3`` where it has no name."""
        return label_name(self.names, pseudo_label)


def load_pool(selection: Selection) -> Pool:
    """Sort the pool of a selection into bands.

    Parameters
    ----------
    selection : Selection
        What was selected and how.

    Returns
    -------
    Pool
        Scores and pseudo-labels as the workspace has them now.
    """
    rows = np.flatnonzero(selection.table.eligible())
    key = selection.config.key
    scores = _column(selection, "scores", key, rows)
    labels = _column(selection, "pseudo_labels", "pseudo_labels", rows)
    kept = np.isin(rows, selection.rows)
    order = _from_hard_to_easy(scores, key, len(rows))
    left = order[~kept[order]]
    config = selection.config
    is_plain = config.balance == "none" and not config.include and not config.exclude
    one_window = is_plain and not selection.older  # today's scores do not tell what was pruned by others
    kinds = _WINDOWS.get(config.method, (KEPT, REST)) if one_window else (KEPT, REST)
    num_hard = len(left) if kinds[0] == HARD else 0
    if EASY in kinds and kinds[0] == HARD:
        num_hard = min(_num_pruned(selection, scores, len(rows)), len(left))
    parts = {HARD: left[:num_hard], KEPT: order[kept[order]], EASY: left[num_hard:], REST: left}
    bands = tuple(Band(kind, parts[kind]) for kind in kinds if len(parts[kind]))
    return Pool(rows, scores, labels, bands, () if labels is None else learned_names(selection.workspace))


def _column(selection: Selection, artifact: str, tensor: str, rows: NDArray[np.int64]) -> NDArray[Any] | None:
    """Return the values of some rows; None where the selection was made without, or they are gone or of other rows."""
    return read_column(selection, artifact, tensor, rows) if artifact in selection.record.inputs else None


def read_column(selection: Selection, artifact: str, tensor: str, rows: NDArray[np.int64]) -> NDArray[Any] | None:
    """Return what the workspace holds now of a tensor.

    Parameters
    ----------
    selection : Selection
        Names the workspace.
    artifact, tensor : str
        What to read.
    rows : ndarray of shape (n,), int64
        Which entries along its first axis.

    Returns
    -------
    ndarray or None
        None where it is not there, or belongs to other samples than those of today.
    """
    values = whole_tensor(selection, artifact, tensor)
    if values is None:
        return None
    return values.take(rows) if isinstance(values, RowArray) else np.asarray(values[rows])


def whole_tensor(selection: Selection, artifact: str, tensor: str) -> NDArray[Any] | RowArray | None:
    """Return what `read_column` reads from, mapped from its files.

    Parameters
    ----------
    selection : Selection
        Names the workspace.
    artifact, tensor : str
        What to read.

    Returns
    -------
    ndarray, RowArray or None
        None where it is not there, or belongs to other samples than those of today.
    """
    workspace, manifest = selection.workspace, selection.workspace.manifest
    if not workspace.has(artifact):
        return None
    record, samples = manifest.artifacts[artifact].record, manifest.artifacts["samples"]
    if record != samples.record and manifest.records[record].inputs.get("samples") != samples.digest:
        return None
    return workspace.tensors(artifact).get(tensor)


def _from_hard_to_easy(scores: NDArray[Any] | None, key: str, num_rows: int) -> NDArray[np.int64]:
    if scores is None:
        return np.arange(num_rows, dtype=np.int64)
    sign = -1.0 if SCORES[key].harder == "higher" else 1.0
    easiness = np.where(np.isfinite(scores), sign * scores, np.inf)
    return np.argsort(easiness, kind="stable").astype(np.int64)


def _num_pruned(selection: Selection, scores: NDArray[Any] | None, num_rows: int) -> int:
    """Return how many were pruned from the hard end, counted as the selector counts."""
    num_scored = num_rows if scores is None else int(np.isfinite(scores).sum())
    return math.floor(Fraction(repr(float(selection.facts.hard_rate or 0))) * num_scored)


def evenly(positions: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return some of the positions, evenly spread.

    Parameters
    ----------
    positions : ndarray of shape (n,), int64
        To choose from.
    count : int
        How many at most, at least 1.

    Returns
    -------
    ndarray of shape (min(n, count),), int64
        The first and the last among them, in their order.
    """
    if len(positions) <= count:
        return positions
    return positions[np.linspace(0, len(positions) - 1, count).round().astype(np.int64)]
