"""What all heads of a training say together.

Shape suffixes: H heads, N rows, C clusters.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from elfs.ops.consensus import matched_names
from elfs.train.head_choice import SaidByHeads

__all__ = ["TENSORS", "HeadConsensus"]

TENSORS = {"names": np.int64, "weights": np.float32}
"""What a consensus is kept as, beside the heads."""


@dataclass(frozen=True, eq=False)
class HeadConsensus:
    """The mean of the probabilities of all heads, their clusters matched, weighted by the trust in each.

    Attributes
    ----------
    names : Tensor of shape (n_heads, n_clusters), int64
        What each head's clusters are called together: a permutation for each head.
    weights : Tensor of shape (n_heads,), float32
        What each head counts, at least 0, summing to 1.
    """

    names: Tensor
    weights: Tensor

    @classmethod
    def of(cls, labels: Tensor, trust: Sequence[float], num_clusters: int) -> Self:
        """Match the clusters of all heads to those of the most trusted one.

        Parameters
        ----------
        labels : Tensor of shape (n_heads, n_rows), int64
            What each head says of some images.
        trust : sequence of float
            Of each head, at least 0; where all are 0 every head counts the same.
        num_clusters : int
            Number of clusters.

        Returns
        -------
        HeadConsensus
            On the CPU.
        """
        value_H = torch.tensor(trust, dtype=torch.float64)
        best = labels[int(value_H.argmax())]
        names_HC = torch.stack([matched_names(own, best, num_clusters) for own in labels])
        weights_H = value_H / value_H.sum() if value_H.sum() > 0 else torch.full_like(value_H, 1 / len(value_H))
        return cls(names_HC.cpu(), weights_H.float())

    def __call__(self, said: Iterable[Tensor]) -> Tensor:
        """Return the logarithm of the mean probability of each cluster.

        Parameters
        ----------
        said : iterable of Tensor of shape (n_rows, n_clusters), floating
            Log-probabilities by each head, up to a constant for each row.

        Returns
        -------
        Tensor of shape (n_rows, n_clusters), float32
            Finite where the mean is 0.
        """
        total_NC = torch.zeros(())
        for own_NC, names_C, weight in zip(said, self.names, self.weights.tolist(), strict=True):
            total_NC = _added(total_NC, own_NC, names_C, weight)
        return _logarithm(total_NC)

    def after(self, said: SaidByHeads) -> SaidByHeads:
        """Return what asks every head, and then the consensus.

        Parameters
        ----------
        said : Callable
            Positions to what each head says of them.

        Returns
        -------
        Callable
            One more.
        """

        def also(positions: Tensor) -> Iterator[Tensor]:
            total_NC = torch.zeros(())
            for own_NC, names_C, weight in zip(said(positions), self.names, self.weights.tolist(), strict=True):
                total_NC = _added(total_NC, own_NC, names_C, weight)
                yield own_NC
            yield _logarithm(total_NC)

        return also

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Return what `from_tensors` takes."""
        return {"names": self.names.numpy(), "weights": self.weights.numpy()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> Self:
        """Return the consensus that `tensors` hold; read-only arrays are fine, they are copied."""
        return cls(*(torch.from_numpy(np.array(tensors[name])) for name in TENSORS))


def _added(total: Tensor, own_NC: Tensor, names_C: Tensor, weight: float) -> Tensor:
    """Add a head's weighted probabilities, under the common names, to those of the heads before it [N, C], or to 0."""
    share_NC = torch.empty_like(own_NC, dtype=torch.float32)
    share_NC[:, names_C.to(own_NC.device)] = weight * own_NC.float().softmax(dim=1)
    return total.to(own_NC.device) + share_NC


def _logarithm(total_NC: Tensor) -> Tensor:
    return total_NC.clamp_min(torch.finfo(torch.float32).tiny).log()
