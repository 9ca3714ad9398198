"""How good each head is, seen on a sample of the pool and its neighbours, without labels."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from elfs.models.heads import ClusterHeads
from elfs.ops.consensus import trust
from elfs.ops.neighbor_information import information, pair_joint
from elfs.parallel.ranks import ALONE, Ranks
from elfs.train.features import Features

__all__ = ["HeadQuality", "JudgedRows", "SaidByHeads", "assignment_counts", "head_report", "labels_of", "logits_of"]

SAMPLE_ROWS = 8_192
"""Images that are looked at, spread evenly over the pool: all of a smaller one."""
NEIGHBORS = 10
"""Nearest neighbours of each that are looked at."""

_PAIR_NUMBERS = 1 << 24
_BLOCK_ROWS = 16_384


@dataclass(frozen=True)
class HeadQuality:
    """What can be said of a head without labels.

    Attributes
    ----------
    information : float
        Mutual information of the clusters of an image and of its neighbour, in nats, higher = better.
    trust : float
        As in ``elfs.ops.consensus.trust``, with the other heads as the other clusterings.
    """

    information: float
    trust: float


SaidByHeads = Callable[[Tensor], Iterable[Tensor]]
"""Positions to the log-probabilities of each head, one head after another, up to a constant for each row."""


@dataclass(frozen=True, eq=False)
class JudgedRows:
    """A sample of the pool on which heads are judged, and the neighbours of its rows.

    Attributes
    ----------
    positions : Tensor of shape (n_sampled * (1 + n_neighbors),), int64
        The sample, spread evenly over the pool, then the neighbours of each of its rows.
    num_sampled : int
        Rows of the sample.
    """

    positions: Tensor
    num_sampled: int

    @classmethod
    def of(cls, neighbors: Tensor) -> Self:
        """Take at most 8,192 rows and the ten nearest neighbours of each.

        Parameters
        ----------
        neighbors : Tensor of shape (n_rows, n_neighbors), integer
            Positions of each row's neighbours, most similar first, on the CPU.

        Returns
        -------
        JudgedRows
            On the CPU.
        """
        num_sampled = min(SAMPLE_ROWS, len(neighbors))
        sample_S = torch.arange(num_sampled) * len(neighbors) // num_sampled
        return cls(torch.cat([sample_S, neighbors[sample_S, :NEIGHBORS].long().flatten()]), num_sampled)

    @torch.inference_mode()
    def clusters(self, said: SaidByHeads) -> Tensor:
        """Return the cluster that each head gives to the rows.

        Parameters
        ----------
        said : Callable
            Positions to what each head says of them.

        Returns
        -------
        Tensor of shape (n_heads, len(positions)), int64
            On the CPU.
        """
        blocks = self.positions.split(_BLOCK_ROWS)
        return torch.cat([torch.stack([own.argmax(dim=1).cpu() for own in said(block)]) for block in blocks], dim=1)

    def qualities(self, labels: Tensor, others: Tensor | None, num_clusters: int) -> list[HeadQuality]:
        """Judge clusterings.

        Parameters
        ----------
        labels : Tensor of shape (n_judged, len(positions)), int64
            Result of `clusters`.
        others : Tensor of shape (n_others, len(positions)), int64, or None
            What each is compared with; by default all others of the judged.
        num_clusters : int
            Number of clusters.

        Returns
        -------
        list of HeadQuality
            One for each.
        """
        own_HS = labels[:, : self.num_sampled]
        near_HSK = labels[:, self.num_sampled :].view(len(labels), self.num_sampled, -1)
        found = []
        for head, (own_S, near_SK) in enumerate(zip(own_HS, near_HSK, strict=True)):
            compared = torch.cat([own_HS[:head], own_HS[head + 1 :]]) if others is None else others[:, : len(own_S)]
            said = information(pair_joint(own_S, near_SK, num_clusters), 0.0)
            found.append(HeadQuality(said, trust(own_S, near_SK, compared, num_clusters)))
        return found


@torch.inference_mode()
def labels_of(heads: ClusterHeads, features: Features, positions: Tensor) -> Tensor:
    """Return the cluster that each head gives to some images.

    Parameters
    ----------
    heads : ClusterHeads
        On the device of `features`.
    features : Features
        Embeddings of the pool.
    positions : Tensor of shape (n_some,), int64
        Which images.

    Returns
    -------
    Tensor of shape (n_heads, n_some), int64
        On the CPU.
    """
    return torch.cat([logits.argmax(dim=2).cpu() for logits in _blocks(heads, features, positions)], dim=1)


@torch.inference_mode()
def logits_of(heads: ClusterHeads, features: Features, positions: Tensor) -> Tensor:
    """Return what each head says of some images.

    Parameters
    ----------
    heads : ClusterHeads
        On the device of `features`.
    features : Features
        Embeddings of the pool.
    positions : Tensor of shape (n_some,), int64
        Which images.

    Returns
    -------
    Tensor of shape (n_heads, n_some, n_clusters), float32
        On the device of `features`.
    """
    return torch.cat([logits.float() for logits in _blocks(heads, features, positions)], dim=1)


def _blocks(heads: ClusterHeads, features: Features, positions: Tensor) -> Iterator[Tensor]:
    num_heads, num_clusters = heads.gain.shape
    width = num_heads * max(num_clusters, heads.hidden_bias.shape[1])
    for block in positions.split(max(1, _PAIR_NUMBERS // width)):
        yield heads(features.take(block))


@torch.inference_mode()
def assignment_counts(
    said: SaidByHeads, num_rows: int, num_clusters: int, block_rows: int, ranks: Ranks = ALONE
) -> Tensor:
    """Return how many images of the pool each head puts into each cluster.

    Parameters
    ----------
    said : Callable
        Positions to what each head says of them.
    num_rows : int
        Images of the pool.
    num_clusters : int
        Number of clusters.
    block_rows : int
        Images that are looked at together.
    ranks : Ranks
        What counts together, each some blocks of the images.

    Returns
    -------
    Tensor of shape (n_heads, n_clusters), int64
        On the CPU, the same on every rank.
    """
    blocks = torch.arange(num_rows).split(block_rows)
    first, last = ranks.part(len(blocks))
    total = torch.stack(
        [torch.zeros(num_clusters, dtype=torch.int64, device=own.device) for own in said(blocks[0][:1])]
    )
    with ranks.working():
        for positions_B in blocks[first:last]:
            for head, own_BC in enumerate(said(positions_B)):
                total[head] += torch.bincount(own_BC.argmax(dim=1), minlength=num_clusters)
            ranks.beat()
    ranks.wait()
    return ranks.sum_(total).cpu()


def head_report(counts: Tensor, loss: float | None, facts: Mapping[str, float | None]) -> dict[str, Any]:
    """Return what ``clusters.json`` says of a head.

    Parameters
    ----------
    counts : Tensor of shape (n_clusters,), int64
        How many images it puts into each cluster, of at least one image.
    loss : float or None
        Its loss, lower = better; None where it was not trained.
    facts : Mapping
        What else is known of it, by name.

    Returns
    -------
    dict
        Loss, how evenly the clusters are used (entropy: 0 one cluster, 1 all alike), and the facts to 6 digits.
    """
    share_C = counts.double() / counts.sum()
    entropy = abs(float(torch.special.entr(share_C).sum() / math.log(len(counts))))  # abs: no -0.0
    return {
        "loss": loss,
        "assignment_entropy": round(entropy, 6),
        "used_clusters": int((counts > 0).sum()),
        "smallest_cluster": int(counts.min()),
        "largest_cluster": int(counts.max()),
        **{name: value if value is None else round(value, 6) for name, value in facts.items()},
    }
