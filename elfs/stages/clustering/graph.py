"""Clusters on the neighbour graph. Shape suffixes: M rows of the pool, K neighbours, D dimensions, C clusters."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from elfs.config import ClusterConfig
from elfs.config.cheaper import CLUSTER_GRAPH
from elfs.ops.consensus import trust
from elfs.ops.database import Database
from elfs.ops.inverted_lists import build_index, choose_probes, probed_neighbors
from elfs.ops.neighbor_information import mutual
from elfs.ops.neighbors import exact_neighbors, queries_at_once
from elfs.pipeline.job import Job
from elfs.stages.clustering.pool import Clustered, Pool, calibrated_heads, neighbor_positions
from elfs.stages.embedding.neighbors import search_method
from elfs.train.graph_clustering import NEIGHBORS, distilled_head, graph_clusters, num_starts
from elfs.train.head_choice import head_report, labels_of, logits_of
from elfs.train.head_settings import settings_for
from elfs.train.seeding import generator

__all__ = ["cluster_by_graph"]

_TRUST_NEIGHBORS = 10
_QUERIES_AT_ONCE = 16_384
"""Rows that inverted lists are asked about before it is shown how far that is."""
_CENTRED = 0.01
"""Squared length of the mean, as a share of the mean squared length of centred rows, below which rows are centred."""


def cluster_by_graph(job: Job, config: ClusterConfig, pool: Pool, clusters: int) -> Clustered:
    """Cluster on the neighbour graph; a head learns the consensus, for images that are not in it."""
    device = job.runtime.device()
    inputs = pool.features.take(torch.arange(len(pool.rows)))
    neighbors, linked = _centred_neighbors(job, config.seed, pool, clusters, inputs)
    with job.runtime.long_task("cluster", num_starts(), "starts", CLUSTER_GRAPH) as task:
        found = graph_clusters(inputs, linked, clusters, seed=config.seed, task=task)
        settings = settings_for(config, len(pool.rows), clusters, on_cpu=job.runtime.on_cpu)
        head = distilled_head(
            pool.features,
            found.probabilities,
            hidden=settings.hidden,
            bottleneck=settings.bottleneck,
            temperature=config.temperature,
            seed=config.seed,
        )
    labels = labels_of(head, pool.features, torch.arange(len(pool.rows)))[0].to(device)
    (other,) = calibrated_heads(job, pool, clusters, config.seed, partial(logits_of, head, pool.features))
    quality = {
        "information": found.information[0],
        "trust": trust(labels, labels[neighbors[:, :_TRUST_NEIGHBORS]], found.clusterings, clusters),
        "agreement": other.agreement,  # said alone: the head has learned how far its own clusterings agree
    }
    counts_C = torch.bincount(labels, minlength=clusters).cpu()
    report = {
        "method": "graph",
        "loss": "information",
        "clusters": clusters,
        "chosen": 0,
        "neighbors": min(neighbors.shape[1], NEIGHBORS),
        "penalty": found.penalty,
        "temperature": config.temperature,
        "starts": num_starts(),
        "clusterings": [round(value, 6) for value in found.information],
        "heads": [head_report(counts_C, -found.information[0], quality)],
    }
    return Clustered(head.to_tensors(), report, f"neighbour graph, {clusters} clusters")


def _centred_neighbors(job: Job, seed: int, pool: Pool, clusters: int, inputs_MD: Tensor) -> tuple[Tensor, Tensor]:
    """Return the neighbours [M, K] of centred embeddings, and those to cluster by.

    Where all embeddings point one way, as those after a ReLU do, a few images are neighbours of most others: new ones
    are looked for, and only mutual ones count. An encoder that centres embeddings itself has the stored ones for both.
    """
    shift = float(pool.mean.square().sum() * pool.inverse_deviation[0] ** 2 / inputs_MD.square().sum(dim=1).mean())
    device = inputs_MD.device
    stored_MK = torch.from_numpy(neighbor_positions(job, pool, clusters)).long()[:, :NEIGHBORS]
    if shift < _CENTRED:
        return stored_MK.to(device), stored_MK.to(device)
    found_MK = _look_for(job, seed, inputs_MD.cpu(), stored_MK.shape[1]).to(device)
    return found_MK, mutual(found_MK)


def _look_for(job: Job, seed: int, inputs_MD: Tensor, k: int) -> Tensor:
    """Return the neighbours [M, K] of rows, all pairs compared or inverted lists, as embed does by itself."""
    database = Database(inputs_MD, device=job.runtime.device())
    find: Callable[[Tensor], tuple[Tensor, Tensor]] = partial(exact_neighbors, database, k=k)
    at_once = queries_at_once(database.num_dims, k)
    if search_method(job, "auto", len(database)) == "ivf":
        drawn, at_once = generator(seed, "cluster", "lists"), _QUERIES_AT_ONCE
        index = build_index(database, drawn)
        num_probes, _ = choose_probes(index, database, k, drawn)
        find = partial(probed_neighbors, index, database, k=k, num_probes=num_probes)
    found_MK = torch.empty(len(database), k, dtype=torch.int64)
    with job.runtime.long_task("cluster: neighbours", len(database), "images", CLUSTER_GRAPH) as task:
        for queries in torch.arange(len(database)).split(at_once):
            found_MK[queries] = find(queries)[0]
            task.advance(len(queries))
    return found_MK
