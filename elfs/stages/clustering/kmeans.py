"""Clusters by k-means. Shape suffixes: M rows of the pool, K neighbours, C clusters."""

from dataclasses import asdict

import torch
import torch.nn.functional as F

from elfs.config import ClusterConfig
from elfs.ops.consensus import trust
from elfs.ops.kmeans import kmeans, kmeans_probabilities
from elfs.ops.neighbor_information import information, pair_joint
from elfs.pipeline.job import Job
from elfs.stages.clustering.pool import Clustered, Pool, calibrated_heads, neighbor_positions
from elfs.train.head_choice import head_report
from elfs.train.seeding import derived_seed

__all__ = ["cluster_by_kmeans"]

_RESTARTS = 10
_TRUST_NEIGHBORS = 10


def cluster_by_kmeans(job: Job, config: ClusterConfig, pool: Pool, clusters: int) -> Clustered:
    """Cluster by k-means on unit vectors: one head, whose loss is the mean squared distance to the centres."""
    with job.runtime.progress.task("cluster: k-means", 1, "pass") as task:
        embeddings = F.normalize(pool.features.take(torch.arange(len(pool.rows))))
        found = kmeans(embeddings.cpu(), clusters, seed=derived_seed(config.seed, "kmeans"), restarts=_RESTARTS)
        task.advance()
    counts_C = torch.bincount(found.assignment, minlength=clusters)
    neighbors = torch.from_numpy(neighbor_positions(job, pool, clusters)).long()
    none = torch.empty(0, len(pool.rows), dtype=torch.int64)
    near_MK = found.assignment[neighbors[:, :_TRUST_NEIGHBORS]]
    quality = {
        "information": information(pair_joint(found.assignment, near_MK, clusters), 0.0),
        "trust": trust(found.assignment, near_MK, none, clusters),
    }
    centroids = found.centroids
    (calibrated,) = calibrated_heads(
        job, pool, clusters, config.seed, lambda rows: [kmeans_probabilities(embeddings[rows].cpu(), centroids).log()]
    )
    report = {
        "method": "kmeans",
        "loss": "distance",
        "clusters": clusters,
        "chosen": 0,
        "heads": [head_report(counts_C, found.inertia / len(pool.rows), quality | asdict(calibrated))],
    }
    return Clustered({"centroids": centroids.numpy()}, report, f"k-means, {clusters} clusters")
