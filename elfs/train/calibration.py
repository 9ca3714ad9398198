"""How sure pseudo-labels may be: as sure, on average, as another clustering agrees with them.

Shape suffixes: S rows of a sample, B rows of a block, K neighbours, D dimensions, C clusters.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from elfs.ops.calibration import matching_power
from elfs.ops.consensus import aligned
from elfs.ops.kmeans import kmeans
from elfs.train.features import Features
from elfs.train.head_choice import SAMPLE_ROWS, SaidByHeads
from elfs.train.seeding import derived_seed

__all__ = ["Calibration", "calibrations"]

MOST_CLUSTERS = SAMPLE_ROWS // 8
"""With more there are too few rows of each, and nothing is calibrated."""

_NEIGHBORS = 15
_MOST_RESTARTS, _FEWEST_RESTARTS = 30, 3
_RESTART_DISTANCES = 1 << 26
"""Distances of one pass of all restarts together, where that leaves more than the fewest."""

_BLOCK_NUMBERS = 1 << 24


@dataclass(frozen=True)
class Calibration:
    """What another clustering makes of a head's confidence.

    Attributes
    ----------
    agreement : float or None
        Share of the images on which both agree, clusters matched, in [0, 1]; None where there is no other clustering.
    confidence_power : float
        What the head's probabilities are raised to, so that their mean confidence is the agreement.
    """

    agreement: float | None
    confidence_power: float


def calibrations(
    features: Features, neighbors: Tensor, num_clusters: int, seed: int, said: SaidByHeads
) -> list[Calibration]:
    """Return how far another clustering agrees with each head, and the power that makes the head as sure as that.

    The other clustering owes nothing to the heads: k-means of rows that were averaged with their neighbours once, on at
    most 8,192 images, spread evenly over the pool: the tightest of 30 starts (fewer where they are costly).

    Parameters
    ----------
    features : Features
        Embeddings, centred.
    neighbors : Tensor of shape (n_rows, n_neighbors), integer
        Positions of each row's neighbours, most similar first, on the CPU; 15 at most are averaged.
    num_clusters : int
        Number of clusters, at most as many as rows.
    seed : int
        Seed of the starts.
    said : Callable
        Positions of the sample to what each head says of them, each float32 of shape (n_sampled, n_clusters).

    Returns
    -------
    list of Calibration
        One for each head. Power 1 where there are more than 1,024 clusters: a sample has too few rows of each.
    """
    num_sampled = min(SAMPLE_ROWS, len(features))
    sample_S = torch.arange(num_sampled) * len(features) // num_sampled
    if num_clusters > MOST_CLUSTERS:
        return [Calibration(None, 1.0) for _ in said(sample_S[:1])]
    rows_SD = torch.cat(list(_averaged(features, neighbors[:, :_NEIGHBORS], sample_S)))
    affordable = _RESTART_DISTANCES // (num_sampled * num_clusters)
    restarts = max(_FEWEST_RESTARTS, min(_MOST_RESTARTS, affordable))
    other_S = kmeans(rows_SD, num_clusters, seed=derived_seed(seed, "other clusters"), restarts=restarts).assignment
    found = []
    for said_SC in said(sample_S):
        own_S = said_SC.argmax(dim=1)
        same = int((aligned(other_S.to(own_S.device), own_S, num_clusters) == own_S).sum())
        believed = (same + 1) / (num_sampled + 2)  # so that no sample makes anybody wholly sure
        found.append(Calibration(same / num_sampled, matching_power(said_SC, believed)))
    return found


def _averaged(features: Features, neighbors: Tensor, sample_S: Tensor) -> Iterator[Tensor]:
    """Yield rows averaged with their neighbours, all at length 1, a block at a time."""
    num_near = 1 + neighbors.shape[1]
    for block_B in sample_S.split(max(1, _BLOCK_NUMBERS // (num_near * features.dim))):
        near_BK = torch.cat([block_B.unsqueeze(1), neighbors[block_B].long()], dim=1)
        rows_BKD = F.normalize(features.take(near_BK.flatten()), dim=1).unflatten(0, (-1, num_near))
        yield F.normalize(rows_BKD.sum(dim=1), dim=1)
