"""How many clusters does an unlabelled pool have? An educated guess for users who cannot say."""

import torch
from sklearn.metrics import silhouette_score

from elfs.ops.kmeans import kmeans
from elfs.train.features import Features
from elfs.train.seeding import generator

__all__ = ["CANDIDATES", "estimate_num_clusters"]

CANDIDATES = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 50, 75, 100, 150, 200)
"""Numbers of clusters that are tried."""

_SAMPLE_ROWS = 4_000
_ROWS_PER_CLUSTER = 10


def estimate_num_clusters(features: Features, seed: int) -> int:
    """Return the number of clusters whose k-means has the best silhouette.

    Parameters
    ----------
    features : Features
        Embeddings of the pool, not standardised; at most 4,000 rows of them are looked at, scaled to length 1.
    seed : int
        Seed of the sample and of k-means.

    Returns
    -------
    int
        One of ``CANDIDATES`` that leaves at least 10 rows a cluster, at least 2.

    Notes
    -----
    On the bundled digits the silhouette says 12 (10 classes); on standardised features it says 50.

    References
    ----------
    .. [1] Rousseeuw, Journal of Computational and Applied Mathematics 20 (1987), 53-65.
    """
    order = torch.randperm(len(features), generator=generator(seed, "sample"))
    sample = torch.nn.functional.normalize(features.take(order[:_SAMPLE_ROWS]).cpu())
    scores = {}
    for candidate in CANDIDATES:
        if candidate == CANDIDATES[0] or candidate * _ROWS_PER_CLUSTER <= len(sample):
            assignment = kmeans(sample, candidate, seed=seed, restarts=3).assignment
            if 1 < len(assignment.unique()) < len(sample):
                scores[candidate] = float(silhouette_score(sample.numpy(), assignment.numpy()))
    return max(scores, key=lambda candidate: scores[candidate], default=CANDIDATES[0])
