"""Cluster heads to one pseudo-label a sample, with a confidence."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from elfs.config import LabelConfig
from elfs.data.samples import SampleTable
from elfs.errors import UsageError
from elfs.models.heads import ClusterHeads
from elfs.stages.job import Job, Result
from elfs.train.features import Features

__all__ = ["kmeans_probabilities", "run"]

_BLOCK_ROWS = 16_384
_CONFIDENT = 0.9
"""A pseudo-label above this confidence counts as confident in the summary."""


def run(job: Job, config: LabelConfig) -> Result:
    """Write ``pseudo_labels``: of every sample that has an embedding, train and test.

    Parameters
    ----------
    job : Job
        Workspace, draft, runtime.
    config : LabelConfig
        Which head.

    Returns
    -------
    Result
        Number of clusters, share of confident samples, smallest and largest cluster.

    Raises
    ------
    UsageError
        If a head is asked for that does not exist.
    """
    table = SampleTable.from_tensors(job.workspace.arrays("samples"))
    heads = job.workspace.arrays("heads")
    mean, inverse_deviation = (torch.from_numpy(np.array(heads.pop(name))) for name in ("mean", "inverse_deviation"))
    report = job.workspace.json("clusters")
    head = report["chosen"] if config.head is None else config.head
    if head >= len(report["heads"]):
        raise UsageError(
            f"--head is {head}, expected at most {len(report['heads']) - 1}: cluster made that many heads."
        )
    rows = np.flatnonzero(table.usable())
    features = Features(
        job.workspace.tensors("embeddings")["embeddings"],
        rows,
        job.runtime.device(),
        mean=mean,
        inverse_deviation=inverse_deviation,
    )
    labels = np.full(len(table), -1, dtype=np.int64)
    confidence = np.full(len(table), np.nan, dtype=np.float32)
    labels[rows], confidence[rows] = _assign(job, heads, head, features, report.get("temperature", 1.0))
    job.draft.save("pseudo_labels", {"pseudo_labels": labels, "confidence": confidence})
    pool = table.eligible()
    sizes = np.bincount(labels[pool], minlength=report["clusters"])
    confident = float((confidence[pool] > _CONFIDENT).mean())
    summary = {"clusters": report["clusters"], "head": head, "confident": round(confident, 6)}
    summary |= {"smallest_cluster": int(sizes.min()), "largest_cluster": int(sizes.max())}
    return Result(f"{report['clusters']} clusters, {confident:.0%} confident", summary)


@torch.inference_mode()
def _assign(
    job: Job, heads: dict[str, np.ndarray], head: int, features: Features, temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return label and confidence of each position."""
    device = job.runtime.device()
    network = None if "centroids" in heads else ClusterHeads.from_tensors(heads).select_head(head).to(device)
    centroids = torch.from_numpy(np.array(heads["centroids"])).to(device) if network is None else None
    labels, confidence = [], []
    with job.runtime.progress.task("label", len(features), "images") as task:
        for positions_B in torch.arange(len(features)).split(_BLOCK_ROWS):
            inputs_BD = features.take(positions_B)
            if network is None:
                assert centroids is not None
                probabilities_BC = kmeans_probabilities(F.normalize(inputs_BD), centroids)
            else:
                probabilities_BC = (network(inputs_BD)[0].float() / temperature).softmax(dim=1)
            best = probabilities_BC.max(dim=1)
            labels.append(best.indices.cpu())
            confidence.append(best.values.cpu())
            task.advance(len(positions_B))
    return torch.cat(labels).numpy(), torch.cat(confidence).numpy()


def kmeans_probabilities(inputs: Tensor, centroids: Tensor) -> Tensor:
    """Return how clearly each input belongs to each centre.

    Parameters
    ----------
    inputs : Tensor of shape (n_rows, n_dims), float32
        Embeddings of length 1.
    centroids : Tensor of shape (n_clusters, n_dims), float32
        Centres of k-means.

    Returns
    -------
    Tensor of shape (n_rows, n_clusters), float32
        Inverse squared distances, scaled to sum to 1: the memberships of fuzzy c-means with fuzzifier 2, highest at the
        nearest centre.

    References
    ----------
    .. [1] Bezdek, Pattern Recognition with Fuzzy Objective Function Algorithms, 1981.
    """
    squared_BC = torch.cdist(inputs, centroids, compute_mode="donot_use_mm_for_euclid_dist").square()
    inverse_BC = 1 / squared_BC.clamp_min(1e-12)
    return inverse_BC / inverse_BC.sum(dim=1, keepdim=True)
