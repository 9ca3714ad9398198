"""How far to prune from the hard end, found without true labels. Shape suffixes: M rows of the pool, C clusters."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from elfs.errors import UsageError
from elfs.ops.selection.pool import Pool, required

__all__ = ["HARD_RATES", "LinearProbe", "best_hard_rate", "neighbor_vote"]

HARD_RATES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"""The shares that are tried."""

_NUM_VOTES = 20
_RIDGE = 0.01  # of the number of training rows; the features have variance 1
_NUM_JUDGED = 50_000
_BLOCK_ROWS = 65_536
_BLOCK_VOTES = 1 << 24


def neighbor_vote(pseudo_labels: Tensor, neighbors: Tensor) -> Tensor:
    """Return the cluster that most of the nearest neighbours are in: a pseudo-label with its accidents smoothed out.

    Parameters
    ----------
    pseudo_labels : Tensor of shape (n_rows,), int64
        Cluster of each row, at least 0.
    neighbors : Tensor of shape (n_rows, n_neighbors), int32 or int64
        Positions of the nearest neighbours, most similar first; -1 for none. The first 20 vote.

    Returns
    -------
    Tensor of shape (n_rows,), int64
        The most frequent cluster, the lowest of equally frequent ones; the row's own where no neighbour votes.
    """
    num_clusters = int(pseudo_labels.max()) + 1
    result_M = torch.empty_like(pseudo_labels)
    block_rows = max(1, _BLOCK_VOTES // num_clusters)
    for start in range(0, len(pseudo_labels), block_rows):
        rows = slice(start, start + block_rows)
        voters = neighbors[rows, :_NUM_VOTES].long()
        votes = torch.zeros(len(voters), num_clusters)
        votes.scatter_add_(1, pseudo_labels[voters.clamp_min(0)], (voters >= 0).float())
        result_M[rows] = torch.where((voters >= 0).any(dim=1), votes.argmax(dim=1), pseudo_labels[rows])
    return result_M


@dataclass(frozen=True, eq=False)
class LinearProbe:
    """Judges a selection by what a linear classifier learns from it about the whole pool.

    A ridge regression from the standardised embeddings of the selected rows to their cluster, as their neighbours vote
    it, is asked for the cluster of all rows. Selections of strange, one-sided or repetitive samples do badly. That a
    row is mislabelled is not held against a selection: annotators will label it anew. No true label is seen.

    Attributes
    ----------
    embeddings : Tensor of shape (n_rows, n_dims), floating
        Of the pool.
    clusters : Tensor of shape (n_rows,), int64
        Cluster that the neighbours vote for, see `neighbor_vote`.
    judged : Tensor of shape (n_judged,), int64
        Positions that are predicted: all, or 50,000 at random.
    mean, inverse_deviation : Tensor of shape (n_dims,), float32
        Standardise a feature over the judged rows.
    """

    embeddings: Tensor
    clusters: Tensor
    judged: Tensor
    mean: Tensor
    inverse_deviation: Tensor

    @classmethod
    def of(cls, pool: Pool, generator: torch.Generator) -> "LinearProbe":
        """Prepare the probe of a pool.

        Parameters
        ----------
        pool : Pool
            Needs ``embeddings``, ``neighbors`` and ``pseudo_labels``.
        generator : torch.Generator
            On the CPU; draws the rows that are judged where the pool has more than 50,000.

        Returns
        -------
        LinearProbe
            Ready to judge.

        Raises
        ------
        ValueError
            If the pool lacks a field.
        """
        embeddings = required(pool, "embeddings")
        clusters = neighbor_vote(required(pool, "pseudo_labels"), required(pool, "neighbors"))
        judged = torch.arange(len(pool))
        if len(pool) > _NUM_JUDGED:
            judged = torch.randperm(len(pool), generator=generator)[:_NUM_JUDGED].sort().values
        deviation, mean = torch.std_mean(embeddings[judged].float(), dim=0, correction=0)
        return cls(embeddings, clusters, judged, mean, 1 / (deviation + 1e-6))

    def accuracy(self, positions: Tensor) -> float:
        """Return how well the clusters of the pool follow from some of its rows.

        Parameters
        ----------
        positions : Tensor of shape (n_selected,), int64
            Rows that the classifier learns from, at least 1.

        Returns
        -------
        float
            Share of the judged rows whose cluster is predicted, in [0, 1]; higher = better.
        """
        num_clusters, num_dims = int(self.clusters.max()) + 1, self.embeddings.shape[1]
        gram = torch.zeros(num_dims, num_dims, dtype=torch.float64)
        sums = torch.zeros(num_clusters, num_dims, dtype=torch.float64)
        for block in positions.split(_BLOCK_ROWS):
            x = self._standardized(block)
            gram += x.T @ x
            sums.index_add_(0, self.clusters[block], x.double())
        sizes = torch.bincount(self.clusters[positions], minlength=num_clusters).double()
        center = sums.sum(dim=0) / len(positions)
        gram -= len(positions) * torch.outer(center, center)
        gram.diagonal().add_(_RIDGE * len(positions))
        weight = torch.linalg.solve(gram, (sums - torch.outer(sizes, center)).T).float()
        offset = (sizes / len(positions)).float() - center.float() @ weight
        right = 0
        for block in self.judged.split(_BLOCK_ROWS):
            predicted = (self._standardized(block) @ weight + offset).argmax(dim=1)
            right += int((predicted == self.clusters[block]).sum())
        return right / len(self.judged)

    def _standardized(self, positions: Tensor) -> Tensor:
        return (self.embeddings[positions].float() - self.mean) * self.inverse_deviation


def best_hard_rate(
    pick: Callable[[float], Tensor], judge: Callable[[Tensor], float]
) -> tuple[float, list[tuple[float, float]]]:
    """Return the hard rate whose selection is judged best.

    Parameters
    ----------
    pick : callable
        From a hard rate to the positions that would be selected; raises ``UsageError`` where it leaves too few rows.
    judge : callable
        From positions to their value, higher = better.

    Returns
    -------
    rate : float
        One of `HARD_RATES`; the middle one of equally good ones.
    curve : list of (float, float)
        Each rate that leaves enough rows, and its value.

    Raises
    ------
    UsageError
        If not even a rate of 0 leaves enough rows.
    """
    curve: list[tuple[float, float]] = []
    for rate in HARD_RATES:
        try:
            picked = pick(rate)
        except UsageError:
            if not curve:
                raise
            break
        curve.append((rate, judge(picked)))
    best = max(value for _, value in curve)
    equally_good = [rate for rate, value in curve if value == best]
    return equally_good[(len(equally_good) - 1) // 2], curve
