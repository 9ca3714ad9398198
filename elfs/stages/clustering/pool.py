"""The images that are clustered, and what every method needs of them.

Shape suffixes: M rows of the pool, K neighbours, D dimensions.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.config import ClusterConfig
from elfs.pipeline.job import Job
from elfs.train.calibration import Calibration, calibrations
from elfs.train.features import Features, centring, standardization
from elfs.train.head_choice import SaidByHeads

__all__ = ["BLOCK_ROWS", "Clustered", "Method", "Pool", "calibrated_heads", "neighbor_positions", "standardized_pool"]

BLOCK_ROWS = 16_384
"""Images at a time."""


@dataclass(frozen=True)
class Pool:
    """The images that are clustered.

    Attributes
    ----------
    rows : ndarray of shape (m,), int64
        Rows of the workspace, ascending.
    features : Features
        Their embeddings, standardised.
    mean, inverse_deviation : Tensor of shape (d,), float32
        How they were standardised.
    """

    rows: NDArray[np.int64]
    features: Features
    mean: Tensor
    inverse_deviation: Tensor


@dataclass(frozen=True)
class Clustered:
    """What a method found.

    Attributes
    ----------
    tensors : dict of str to ndarray
        Of ``heads``, but for how embeddings are standardised.
    report : dict
        Plain JSON of ``clusters.json``, with a list ``heads`` and which of them is ``chosen``.
    headline : str
        One line for people.
    """

    tensors: dict[str, np.ndarray]
    report: dict[str, Any]
    headline: str


class Method(Protocol):
    """A way to cluster; all ranks call those that share the work, the first one alone the others."""

    def __call__(self, job: Job, config: ClusterConfig, pool: Pool, clusters: int) -> Clustered:
        """Return clusters of a pool.

        Parameters
        ----------
        job : Job
            Workspace, draft, runtime.
        config : ClusterConfig
            How to cluster.
        pool : Pool
            What to cluster.
        clusters : int
            Number of clusters.

        Returns
        -------
        Clustered
            Of which that of the first rank counts.
        """


def standardized_pool(job: Job, config: ClusterConfig, rows: NDArray[np.int64], method: str) -> Pool:
    """Return the images as a method takes them; all ranks call this.

    Parameters
    ----------
    job : Job
        Workspace and runtime.
    config : ClusterConfig
        Whether heads get standardised features.
    rows : ndarray of shape (m,), int64
        Which images, ascending.
    method : str
        A key of ``elfs.catalog.CLUSTER_METHODS``.

    Returns
    -------
    Pool
        As they are where the method wants them so.
    """
    embeddings = job.workspace.tensors("embeddings")["embeddings"]
    mean, inverse = torch.zeros(embeddings.shape[1]), torch.ones(embeddings.shape[1])
    if method == "graph" or (config.standardize and method == "temi"):
        ranks = job.runtime.ranks  # the first reads all rows once; as JSON the numbers stay what they are
        alone = method == "graph"
        found = [values.tolist() for values in standardization(embeddings, rows)] if ranks.is_first else None
        mean, inverse = (torch.tensor(values) for values in (found if alone and found else ranks.broadcast(found)))
        if alone:  # one scale for all features: their proportions are the encoder's
            inverse = torch.full_like(inverse, float(inverse.double().pow(-2).mean().rsqrt()))
    features = Features(embeddings, rows, job.runtime.device(), mean=mean, inverse_deviation=inverse)
    return Pool(rows, features, mean, inverse)


def neighbor_positions(job: Job, pool: Pool, clusters: int) -> NDArray[np.int32]:
    """Return the neighbours as positions in the pool: no more than half a mean cluster has, so that they fit.

    Parameters
    ----------
    job : Job
        With the artifact ``neighbors``.
    pool : Pool
        What is clustered.
    clusters : int
        Number of clusters.

    Returns
    -------
    ndarray of shape (m, k), int32
        Most similar first.
    """
    indices = job.workspace.tensors("neighbors")["indices"]
    position = np.full(len(indices), -1, dtype=np.int32)
    position[pool.rows] = np.arange(len(pool.rows), dtype=np.int32)
    num_kept = min(indices.shape[1], max(1, len(pool.rows) // (2 * clusters)))
    neighbors_MK = np.empty((len(pool.rows), num_kept), dtype=np.int32)
    for start in range(0, len(pool.rows), BLOCK_ROWS):
        rows = pool.rows[start : start + BLOCK_ROWS]
        block = indices[rows] if isinstance(indices, np.ndarray) else indices.take(rows)
        neighbors_MK[start : start + len(rows)] = position[block[:, :num_kept]]
    return neighbors_MK


def calibrated_heads(job: Job, pool: Pool, clusters: int, seed: int, said: SaidByHeads) -> list[Calibration]:
    """Return of each head how far another clustering agrees, and what makes it as sure as that.

    Parameters
    ----------
    job : Job
        Workspace and runtime.
    pool : Pool
        What was clustered.
    clusters : int
        Number of clusters.
    seed : int
        Seed of the other clustering.
    said : Callable
        As `elfs.train.calibration.calibrations` takes it.

    Returns
    -------
    list of Calibration
        One for each head.
    """
    embeddings, device = job.workspace.tensors("embeddings")["embeddings"], job.runtime.device()
    mean, scale = centring(embeddings, pool.rows)
    centred = Features(embeddings, pool.rows, device, in_memory=False, mean=mean, inverse_deviation=scale)
    return calibrations(centred, torch.from_numpy(neighbor_positions(job, pool, clusters)), clusters, seed, said)
