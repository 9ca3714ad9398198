"""What there is to know of each cluster: its size, how sure it is, which of its images are typical."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.delivery.chosen import Selection
from elfs.delivery.pool import Pool, read_column, whole_tensor
from elfs.workspace.tensors import RowArray

__all__ = ["ClusterFacts", "cluster_facts", "cluster_means", "typical_first"]

_NUM_NEIGHBORS = 10
_BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class ClusterFacts:
    """One cluster.

    Attributes
    ----------
    cluster : int
        Its number.
    images, selected : int
        How many images of the pool are in it, and how many of those were selected.
    score, confidence, neighbors, proxies : float
        Means over its images: of the score that was selected by, of the head's confidence, of the share of the 10
        nearest images that are in the same cluster, of the share of pairs of proxies that agree. NaN where unknown.
    """

    cluster: int
    images: int
    selected: int
    score: float
    confidence: float
    neighbors: float
    proxies: float


def cluster_facts(selection: Selection, pool: Pool) -> list[ClusterFacts]:
    """Return what is known of each cluster.

    Parameters
    ----------
    selection : Selection
        What was selected.
    pool : Pool
        What it was selected from.

    Returns
    -------
    list of ClusterFacts
        The largest first; empty without pseudo-labels.
    """
    labels = pool.pseudo_labels
    if labels is None or not len(labels):
        return []
    sizes = np.bincount(labels)
    selected = np.bincount(labels[np.isin(pool.rows, selection.rows)], minlength=len(sizes))
    columns = [
        pool.scores,
        read_column(selection, "pseudo_labels", "confidence", pool.rows),
        _neighbor_agreement(selection, pool, labels),
        read_column(selection, "agreement", "proxy_agreement", pool.rows),
    ]
    means = [_means(values, labels, len(sizes)) for values in columns]
    order = [cluster for cluster in np.argsort(-sizes, kind="stable").tolist() if sizes[cluster]]
    return [
        ClusterFacts(cluster, int(sizes[cluster]), int(selected[cluster]), *(float(mean[cluster]) for mean in means))
        for cluster in order
    ]


def cluster_means(key: str) -> dict[str, str]:
    """Return what people call the means of a cluster.

    Parameters
    ----------
    key : str
        The score that was selected by.

    Returns
    -------
    dict of str to str
        Name of the attribute of `ClusterFacts` to the words.
    """
    return {
        "score": f"mean {key}",
        "confidence": "mean confidence",
        "neighbors": "neighbours that agree",
        "proxies": "proxies that agree",
    }


def typical_first(unit_ND: NDArray[np.float32], labels: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """Order the images of each cluster by how much they resemble its mean.

    Parameters
    ----------
    unit_ND : ndarray of shape (n, d), float32
        Embeddings of unit length.
    labels : ndarray of shape (n,), int64
        Clusters, each at least 0.

    Returns
    -------
    dict of int to ndarray of int64
        Positions of each cluster's images, the most typical first.
    """
    sums_CD = np.zeros((int(labels.max(initial=-1)) + 1, unit_ND.shape[1]), np.float32)
    np.add.at(sums_CD, labels, unit_ND)
    sums_CD /= np.maximum(np.linalg.norm(sums_CD, axis=1, keepdims=True), 1e-12)
    likeness_N = np.einsum("nd,nd->n", unit_ND, sums_CD[labels])
    order = np.lexsort((-likeness_N, labels))
    found, starts = np.unique(labels[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, starts[1:]), strict=True)) if len(labels) else {}


def _means(values: NDArray[Any] | None, labels: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    if values is None:
        return np.full(count, np.nan)
    known = np.isfinite(values)
    sums = np.bincount(labels[known], values[known].astype(np.float64), minlength=count)
    numbers = np.bincount(labels[known], minlength=count)
    return np.where(numbers > 0, sums / np.maximum(numbers, 1), np.nan)


def _neighbor_agreement(selection: Selection, pool: Pool, labels: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Return which share of each image's nearest ones of the pool is in its cluster; None without neighbours."""
    near = whole_tensor(selection, "neighbors", "indices")
    if near is None:
        return None
    of_row = np.full(len(selection.table) + 1, -1, np.int64)  # the last entry stands for the neighbour -1
    of_row[pool.rows] = labels
    shares = np.empty(len(pool), np.float64)
    for start in range(0, len(pool), _BLOCK_ROWS):
        rows = pool.rows[start : start + _BLOCK_ROWS]
        read = near.take(rows) if isinstance(near, RowArray) else near[rows]
        others_BK = of_row[read[:, :_NUM_NEIGHBORS]]
        alike_B = (others_BK == labels[start : start + _BLOCK_ROWS, None]).sum(axis=1)
        known_B = (others_BK >= 0).sum(axis=1)
        shares[start : start + _BLOCK_ROWS] = np.where(known_B > 0, alike_B / np.maximum(known_B, 1), np.nan)
    return shares
