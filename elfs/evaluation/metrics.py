"""How well clusters agree with true labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score

__all__ = ["ClusteringMetrics", "clustering_metrics", "match_clusters"]


@dataclass(frozen=True, slots=True)
class ClusteringMetrics:
    """Agreement of a clustering with true labels; 1 is perfect.

    Attributes
    ----------
    accuracy : float
        Share of samples whose cluster is mapped to their class, in ``[0, 1]``.
    nmi : float
        Normalised mutual information (arithmetic mean), in ``[0, 1]``.
    ami : float
        Adjusted mutual information, at most 1, about 0 for random clusters.
    ari : float
        Adjusted Rand index, at most 1, about 0 for random clusters.
    """

    accuracy: float
    nmi: float
    ami: float
    ari: float


def match_clusters(labels: NDArray[np.int64], clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the class that each cluster stands for.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,), int64
        True class of each sample, from 0.
    clusters : ndarray of shape (n_samples,), int64
        Cluster of each sample, from 0.

    Returns
    -------
    ndarray of shape (n_clusters,), int64
        One-to-one by the Hungarian method; with more clusters than classes, each spare cluster stands for the class
        that most of its samples have.

    References
    ----------
    .. [1] github.com/eltsai/elfs@089444b, ``utils.py``, ``compute_metrics`` (MIT).
    """
    num_clusters, num_classes = int(clusters.max()) + 1, int(labels.max()) + 1
    counts = np.zeros((num_clusters, num_classes), dtype=np.int64)
    np.add.at(counts, (clusters, labels), 1)
    mapping: NDArray[np.int64] = counts.argmax(axis=1)
    matched, classes = linear_sum_assignment(counts, maximize=True)
    mapping[matched] = classes
    return mapping


def clustering_metrics(labels: NDArray[np.int64], clusters: NDArray[np.int64]) -> ClusteringMetrics:
    """Compare clusters with true labels.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,), int64
        True class of each sample, from 0.
    clusters : ndarray of shape (n_samples,), int64
        Cluster of each sample, from 0.

    Returns
    -------
    ClusteringMetrics
        Accuracy, NMI, AMI, ARI.
    """
    mapping = match_clusters(labels, clusters)
    return ClusteringMetrics(
        accuracy=float(np.mean(mapping[clusters] == labels)),
        nmi=float(normalized_mutual_info_score(labels, clusters)),
        ami=float(adjusted_mutual_info_score(labels, clusters)),
        ari=float(adjusted_rand_score(labels, clusters)),
    )
