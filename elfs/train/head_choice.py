"""How good each head is, seen on a sample of the pool and its neighbours, without labels."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elfs.models.heads import ClusterHeads
from elfs.ops.consensus import trust
from elfs.ops.neighbor_information import information, pair_joint
from elfs.parallel.ranks import ALONE, Ranks
from elfs.train.features import Features

__all__ = ["HeadQuality", "assignment_counts", "head_qualities", "head_report", "labels_of", "logits_of"]

SAMPLE_ROWS = 8_192
"""Images that are looked at, spread evenly over the pool: all of a smaller one."""
NEIGHBORS = 10
"""Nearest neighbours of each that are looked at."""

_BLOCK_NUMBERS = 1 << 26
"""Numbers of one layer of all heads that are in memory together while images are counted: 256 MiB."""

_PAIR_NUMBERS = 1 << 24


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


@torch.inference_mode()
def head_qualities(heads: ClusterHeads, features: Features, neighbors: Tensor) -> list[HeadQuality]:
    """Judge every head.

    Parameters
    ----------
    heads : ClusterHeads
        On the device of `features`.
    features : Features
        Embeddings of the pool.
    neighbors : Tensor of shape (n_rows, n_neighbors), integer
        Positions of each row's neighbours, most similar first, on the CPU.

    Returns
    -------
    list of HeadQuality
        One for each head.
    """
    num_sampled = min(SAMPLE_ROWS, len(features))
    sample_S = torch.arange(num_sampled) * len(features) // num_sampled
    near_SK = neighbors[sample_S, :NEIGHBORS].long()
    num_heads, num_clusters = heads.gain.shape
    labels = labels_of(heads, features, torch.cat([sample_S, near_SK.flatten()]))
    own_HS, near_HSK = labels[:, :num_sampled], labels[:, num_sampled:].view(num_heads, *near_SK.shape)
    found = []
    for head in range(num_heads):
        others = torch.cat([own_HS[:head], own_HS[head + 1 :]])
        joint_CC = pair_joint(own_HS[head], near_HSK[head], num_clusters)
        found.append(HeadQuality(information(joint_CC, 0.0), trust(own_HS[head], near_HSK[head], others, num_clusters)))
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
def assignment_counts(heads: ClusterHeads, features: Features, num_rows: int, ranks: Ranks = ALONE) -> Tensor:
    """Return how many images each head puts into each cluster.

    Parameters
    ----------
    heads : ClusterHeads
        H heads with C clusters.
    features : Features
        Embeddings of the pool.
    num_rows : int
        Images that are looked at together, at most.
    ranks : Ranks
        What counts together, each some blocks of the images.

    Returns
    -------
    Tensor of shape (n_heads, n_clusters), int64
        On the CPU, the same on every rank.
    """
    num_heads, num_clusters = heads.gain.shape
    widest = num_heads * max(num_clusters, heads.hidden_bias.shape[1])
    offset_H1 = num_clusters * torch.arange(num_heads, device=features.device).unsqueeze(1)
    counts = torch.zeros(num_heads * num_clusters, dtype=torch.int64, device=features.device)
    blocks = torch.arange(len(features)).split(min(num_rows, max(1, _BLOCK_NUMBERS // widest)))
    with ranks.working():
        for positions_B in blocks[slice(*ranks.part(len(blocks)))]:
            labels_HB = heads(features.take(positions_B)).argmax(dim=2)
            counts += torch.bincount((labels_HB + offset_H1).flatten(), minlength=len(counts))
            ranks.beat()
    ranks.wait()
    return ranks.sum_(counts).view(num_heads, num_clusters).cpu()


def head_report(counts: Tensor, loss: float, facts: Mapping[str, float | None]) -> dict[str, Any]:
    """Return what ``clusters.json`` says of a head.

    Parameters
    ----------
    counts : Tensor of shape (n_clusters,), int64
        How many images it puts into each cluster, of at least one image.
    loss : float
        Its loss, lower = better.
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
