"""How the proxy learned: the margins of the images, epoch by epoch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.delivery.chosen import Selection
from elfs.delivery.pool import Pool, evenly, whole_tensor
from elfs.workspace.tensors import RowArray

__all__ = ["MeanCurve", "margins_of", "mean_curves"]

_MOST_EPOCHS = 60
_MOST_ROWS = 20_000

MeanCurve = tuple[str, NDArray[np.float64]]
"""Whose it is, and the mean margin in each epoch that is looked at."""


def margins_of(selection: Selection, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[Any]] | None:
    """Return the margins of some rows.

    Parameters
    ----------
    selection : Selection
        Names the workspace.
    rows : ndarray of shape (n,), int64
        Rows of the workspace.

    Returns
    -------
    tuple of (ndarray of shape (e,), int64, ndarray of shape (e, n), floating), or None
        At most sixty epochs, from 0, the first and the last among them, and the margins in [-1, 1]; None without
        dynamics.
    """
    margins = whole_tensor(selection, "dynamics", "margin")
    if margins is None or not len(margins):
        return None
    epochs = evenly(np.arange(len(margins), dtype=np.int64), _MOST_EPOCHS)
    found = []
    for epoch in epochs.tolist():
        values = margins.read(epoch, epoch + 1)[0] if isinstance(margins, RowArray) else margins[epoch]
        found.append(np.asarray(values[rows]))
    return epochs, np.stack(found)


def mean_curves(selection: Selection, pool: Pool) -> tuple[NDArray[np.int64], list[MeanCurve]] | None:
    """Return the mean margins of the pool and of its bands.

    Parameters
    ----------
    selection : Selection
        Names the workspace.
    pool : Pool
        Its bands; of large ones a sample of 20,000 images that is evenly spread stands for each.

    Returns
    -------
    tuple of (ndarray of int64, list of MeanCurve), or None
        Epochs, from 0, and a curve for each band; None where there are fewer than two epochs.
    """
    curves = []
    epochs: NDArray[np.int64] = np.empty(0, np.int64)
    for band in pool.bands:
        found = margins_of(selection, pool.rows[evenly(band.positions, _MOST_ROWS)])
        if found is None or len(found[0]) < 2:
            return None
        epochs = found[0]
        known = np.isfinite(found[1])
        sums = np.where(known, found[1], 0).sum(axis=1, dtype=np.float64)
        curves.append((band.kind, sums / np.maximum(known.sum(axis=1), 1)))
    return (epochs, curves) if curves else None
