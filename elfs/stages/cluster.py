"""Embeddings to cluster heads, or to k-means centres."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from elfs.config import ClusterConfig
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError
from elfs.parallel.limits import require_rows
from elfs.pipeline.cluster_facts import ClustersFacts, CountFacts, HeadFacts
from elfs.pipeline.job import Job, Result, StageCode
from elfs.pipeline.source_facts import SourceFacts
from elfs.stages.clustering.graph import cluster_by_graph
from elfs.stages.clustering.kmeans import cluster_by_kmeans
from elfs.stages.clustering.pool import Method, standardized_pool
from elfs.stages.clustering.temi import cluster_by_heads
from elfs.stages.clustering.turtle import cluster_by_turtle
from elfs.train.cluster_count import estimate_num_clusters
from elfs.train.features import Features
from elfs.train.head_settings import method_for
from elfs.train.seeding import derived_seed
from elfs.workspace.files import json_bytes

__all__ = ["CODE", "run"]

_LEAST_TRUST = 0.5
"""Below, difficulty says little. Noise stays at 0 to 0.22; single classes may have kinds of their own, and so no bound
tells them from pools of several (benchmarks/RESULTS.md)."""

_LEAST_ENTROPY = 0.5
"""Of the use of clusters; below, most are nearly empty."""

_TRY = "Try another --clusters, a better encoder, or select by coverage."


def run(job: Job, config: ClusterConfig) -> Result:
    """Write ``heads`` and ``clusters``.

    Parameters
    ----------
    job : Job
        Workspace, draft, runtime.
    config : ClusterConfig
        How to cluster.

    Returns
    -------
    Result
        What labels, the number of clusters, how evenly they are used; on the first rank.

    Raises
    ------
    InputDataError
        If there are more clusters than images, or more ranks.
    """
    ranks = job.runtime.ranks
    rows = np.flatnonzero(SampleTable.from_tensors(job.workspace.arrays("samples")).eligible())
    require_rows(len(rows), ranks)
    known, estimate = _num_clusters(job, config, rows) if ranks.is_first else (0, None)
    clusters: int = ranks.broadcast(known)
    if clusters > len(rows):
        raise InputDataError(f"--clusters {clusters} is more than the {len(rows):,} images of the pool.")
    dims = job.workspace.tensors("embeddings")["embeddings"].shape[1]
    method = method_for(config, len(rows), dims, clusters)
    if method != "temi" and not ranks.is_first:
        return Result("", {})  # one rank is enough for it
    pool = standardized_pool(job, config, rows, method)
    found = _METHODS[method](job, config, pool, clusters)
    if not ranks.is_first:
        return Result("", {})
    report, headline = found.report, found.headline
    if estimate is not None:
        report["estimate"] = estimate.as_json()
        fewest, most = estimate.as_good
        headline += f"   auto, {fewest} to {most} as good" if fewest < most else "   auto, no other as good"
    standardization = {"mean": pool.mean.numpy(), "inverse_deviation": pool.inverse_deviation.numpy()}
    job.draft.save("heads", found.tensors | standardization)
    job.draft.save_bytes("clusters", "clusters.json", json_bytes(report))
    head = ClustersFacts.of(report).labelling
    _warn(job, head, clusters)
    summary = {name: value for name, value in report.items() if name not in ("heads", "consensus")}
    used = {"used_clusters": head.used_clusters, "assignment_entropy": head.assignment_entropy}
    return Result(headline, summary | used | {"trust": head.trust})


def _warn(job: Job, head: HeadFacts, clusters: int) -> None:
    """Warn of clusters that are empty or nearly so, or that the pool does not show."""
    if head.used_clusters < clusters or head.assignment_entropy < _LEAST_ENTROPY:
        job.runtime.warn(_collapse(head.used_clusters, clusters, head.assignment_entropy))
    elif head.trust is not None and head.trust < _LEAST_TRUST:
        job.runtime.warn(
            f"the pool shows no {clusters} clusters: trust is {head.trust:.2f} of 1, neighbours or other starts "
            f"disagree. {_TRY}"
        )


def _collapse(used: int, clusters: int, entropy: float) -> str:
    """Say that clusters are empty or nearly so, and what can be tried."""
    found = f"collapse: {used} of {clusters} clusters are used, assignment entropy {entropy:.2f} of 1."
    if used < 2:
        return f"{found} There will be no signal of difficulty: try a better encoder, or select by coverage or chance."
    fewer = f"--clusters {used}, " if used < clusters else ""
    return f"{found} Try {fewer}another --seed, or a better encoder."


def _num_clusters(job: Job, config: ClusterConfig, rows: NDArray[np.int64]) -> tuple[int, CountFacts | None]:
    """Return what the user asked for, what the data set is known to have, or an estimate and what it rests on."""
    known = job.workspace.metadata("samples", SourceFacts).num_classes
    if config.clusters is not None:
        return config.clusters, None
    if known is not None:
        return known, None
    embeddings = job.workspace.tensors("embeddings")["embeddings"]
    features = Features(embeddings, rows, job.runtime.device(), in_memory=False)  # a sample of it is looked at
    count = estimate_num_clusters(features, derived_seed(config.seed, "clusters"))
    return count.best, count.facts()


_METHODS: Mapping[str, Method] = {
    "graph": cluster_by_graph,
    "temi": cluster_by_heads,
    "kmeans": cluster_by_kmeans,
    "turtle": cluster_by_turtle,
}

CODE = StageCode(run)
