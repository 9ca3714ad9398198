"""Embeddings to cluster heads, or to k-means centres."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from elfs.config import ClusterConfig
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError
from elfs.ops.consensus import trust
from elfs.ops.kmeans import kmeans, kmeans_probabilities
from elfs.ops.neighbor_information import information, mutual, pair_joint
from elfs.ops.neighbors import cosine_neighbors
from elfs.ops.turtle import log_labels, unit_parts
from elfs.parallel.limits import require_rows
from elfs.pipeline.job import Job, Result, StageCode
from elfs.pipeline.source_facts import SourceFacts
from elfs.train.calibration import Calibration, SaidByHeads, calibrations
from elfs.train.cluster_count import estimate_num_clusters
from elfs.train.clustering import train_heads
from elfs.train.features import Features, centring, standardization
from elfs.train.graph_clustering import NEIGHBORS, distilled_head, graph_clusters, num_starts
from elfs.train.head_choice import assignment_counts, head_qualities, head_report, labels_of, logits_of
from elfs.train.head_settings import is_small, method_for, settings_for
from elfs.train.seeding import derived_seed
from elfs.train.turtle import TurtleSettings, train_turtle
from elfs.workspace.files import json_bytes

__all__ = ["CODE", "run"]

_KMEANS_RESTARTS = 10
_TRUST_NEIGHBORS = 10
_CENTRED = 0.01
"""Squared length of the mean, as a share of the mean squared length of centred rows, below which rows are centred."""
_LEAST_TRUST = 0.3
"""Pools without clusters stay below, pools with clusters above."""
_BLOCK_ROWS = 16_384


@dataclass(frozen=True)
class _Pool:
    """The images that are clustered: rows, standardised embeddings, and how they were standardised."""

    rows: NDArray[np.int64]
    features: Features
    mean: Tensor
    inverse_deviation: Tensor


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
        The chosen head, the number of clusters, how evenly they are used; on the first rank.

    Raises
    ------
    InputDataError
        If there are more clusters than images, or more ranks.
    """
    ranks = job.runtime.ranks
    rows = np.flatnonzero(SampleTable.from_tensors(job.workspace.arrays("samples")).eligible())
    require_rows(len(rows), ranks)
    clusters, estimate = ranks.broadcast(_num_clusters(job, config, rows) if ranks.is_first else None)
    if clusters > len(rows):
        raise InputDataError(f"--clusters {clusters} is more than the {len(rows):,} images of the pool.")
    method = method_for(config, len(rows), clusters)
    if method != "temi" and not ranks.is_first:
        return Result("", {})  # one rank is enough for it
    pool = _pool(job, config, rows, method)
    tensors, report, headline = _METHODS[method](job, config, pool, clusters)
    if not ranks.is_first:
        return Result("", {})
    if estimate is not None:
        report["estimate"] = estimate
        fewest, most = estimate["as_good"]
        headline += f"   auto, {fewest} to {most} as good" if fewest < most else "   auto, no other as good"
    tensors |= {"mean": pool.mean.numpy(), "inverse_deviation": pool.inverse_deviation.numpy()}
    job.draft.save("heads", tensors)
    job.draft.save_bytes("clusters", "clusters.json", json_bytes(report))
    used = report["heads"][report["chosen"]]["used_clusters"]
    entropy = report["heads"][report["chosen"]]["assignment_entropy"]
    trusted = report["heads"][report["chosen"]].get("trust")
    if used < clusters or entropy < 0.5:
        job.runtime.warn(_collapse(used, clusters, entropy))
    elif trusted is not None and trusted < _LEAST_TRUST:
        job.runtime.warn(
            f"the pool shows no {clusters} clusters: trust is {trusted:.2f} of 1, neighbours or other starts disagree. "
            "Try another --clusters, a better encoder, or select by coverage."
        )
    summary = {key: value for key, value in report.items() if key != "heads"}
    return Result(headline, summary | {"used_clusters": used, "assignment_entropy": entropy, "trust": trusted})


def _collapse(used: int, clusters: int, entropy: float) -> str:
    """Say that clusters are empty or nearly so, and what can be tried."""
    found = f"collapse: {used} of {clusters} clusters are used, assignment entropy {entropy:.2f} of 1."
    if used < 2:
        return f"{found} There will be no signal of difficulty: try a better encoder, or select by coverage or chance."
    fewer = f"--clusters {used}, " if used < clusters else ""
    return f"{found} Try {fewer}another --seed, or a better encoder."


def _pool(job: Job, config: ClusterConfig, rows: NDArray[np.int64], method: str) -> _Pool:
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
    return _Pool(rows, features, mean, inverse)


def _num_clusters(job: Job, config: ClusterConfig, rows: NDArray[np.int64]) -> tuple[int, dict[str, Any] | None]:
    """Return what the user asked for, what the data set is known to have, or an estimate and what it rests on."""
    known = job.workspace.metadata("samples", SourceFacts).num_classes
    if config.clusters is not None:
        return config.clusters, None
    if known is not None:
        return known, None
    embeddings = job.workspace.tensors("embeddings")["embeddings"]
    features = Features(embeddings, rows, job.runtime.device(), in_memory=False)  # a sample of it is looked at
    count = estimate_num_clusters(features, derived_seed(config.seed, "clusters"))
    return count.best, count.report()


def _neighbor_positions(job: Job, pool: _Pool, clusters: int) -> NDArray[np.int32]:
    """Return the neighbours [M, K] as positions in the pool: no more than half a mean cluster has, so that they fit."""
    indices = job.workspace.tensors("neighbors")["indices"]
    position = np.full(len(indices), -1, dtype=np.int32)
    position[pool.rows] = np.arange(len(pool.rows), dtype=np.int32)
    num_kept = min(indices.shape[1], max(1, len(pool.rows) // (2 * clusters)))
    neighbors_MK = np.empty((len(pool.rows), num_kept), dtype=np.int32)
    for start in range(0, len(pool.rows), _BLOCK_ROWS):
        rows = pool.rows[start : start + _BLOCK_ROWS]
        block = indices[rows] if isinstance(indices, np.ndarray) else indices.take(rows)
        neighbors_MK[start : start + len(rows)] = position[block[:, :num_kept]]
    return neighbors_MK


def _train(
    job: Job, config: ClusterConfig, pool: _Pool, clusters: int
) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """Train the heads and choose one of them without labels."""
    settings = settings_for(config, len(pool.rows), clusters, on_cpu=job.runtime.on_cpu)
    neighbors = torch.from_numpy(_neighbor_positions(job, pool, clusters))
    num_steps = settings.epochs * -(-len(pool.rows) // settings.batch_size)
    with job.runtime.long_task("cluster", num_steps, "steps", "--method graph or kmeans takes less.") as task:
        training = train_heads(
            pool.features,
            lambda positions: neighbors[positions].long(),
            settings,
            checkpoint=job.draft.directory / "checkpoint.safetensors",
            task=task,
            ranks=job.runtime.ranks,
        )
    counts_HC = assignment_counts(training.teacher, pool.features, _BLOCK_ROWS, job.runtime.ranks)
    qualities, calibrated = [], []
    if job.runtime.ranks.is_first:
        qualities = head_qualities(training.teacher, pool.features, neighbors)

        def said(positions: Tensor) -> Iterator[Tensor]:
            for head in map(training.teacher.select_head, range(settings.heads)):
                yield logits_of(head, pool.features, positions)[0] / settings.temperature

        calibrated = _calibrations(job, pool, clusters, config.seed, said)
    job.runtime.ranks.wait()
    chosen = int(training.loss.argmin())
    if config.head_choice != "loss" and qualities:
        chosen = max(range(settings.heads), key=lambda head: getattr(qualities[head], config.head_choice))
    report = {
        "method": "temi",
        "loss": settings.loss,
        "clusters": clusters,
        "chosen": chosen,
        "head_choice": config.head_choice,
        "epochs": settings.epochs,
        "steps": num_steps,
        "batch_size": settings.batch_size,
        "neighbors": neighbors.shape[1],
        "learning_rate": settings.learning_rate,
        "teacher_momentum": settings.teacher_momentum,
        "temperature": settings.temperature,
        "heads": [
            head_report(counts_HC[h], float(training.loss[h]), asdict(quality) | asdict(calibrated[h]))
            for h, quality in enumerate(qualities)
        ],
    }
    headline = f"{settings.loss.upper()}, {settings.heads} heads, {clusters} clusters   head {chosen} chosen"
    return training.teacher.to_tensors(), report, headline


def _calibrations(job: Job, pool: _Pool, clusters: int, seed: int, said: SaidByHeads) -> list[Calibration]:
    """Return of each head how far another clustering agrees, and what makes it as sure as that."""
    embeddings, device = job.workspace.tensors("embeddings")["embeddings"], job.runtime.device()
    mean, scale = centring(embeddings, pool.rows)
    centred = Features(embeddings, pool.rows, device, in_memory=False, mean=mean, inverse_deviation=scale)
    return calibrations(centred, torch.from_numpy(_neighbor_positions(job, pool, clusters)), clusters, seed, said)


def _centred_neighbors(job: Job, pool: _Pool, clusters: int, inputs_MD: Tensor) -> tuple[Tensor, Tensor]:
    """Return the neighbours [M, K] of centred embeddings, and those to cluster by.

    Where all embeddings point one way, as those after a ReLU do, a few images are neighbours of most others: new ones
    are looked for, and only mutual ones count. An encoder that centres embeddings itself has the stored ones for both.
    """
    shift = float(pool.mean.square().sum() * pool.inverse_deviation[0] ** 2 / inputs_MD.square().sum(dim=1).mean())
    device = inputs_MD.device
    stored_MK = torch.from_numpy(_neighbor_positions(job, pool, clusters)).long()
    if shift < _CENTRED:
        return stored_MK.to(device), stored_MK.to(device)
    with job.runtime.progress.task("cluster: neighbours", len(inputs_MD), "images") as task:
        found_MK, _ = cosine_neighbors(inputs_MD.cpu(), stored_MK.shape[1], device=job.runtime.device())
        task.advance(len(inputs_MD))
    found_MK = found_MK.long().to(device)
    return found_MK, mutual(found_MK[:, :NEIGHBORS])


def _graph(
    job: Job, config: ClusterConfig, pool: _Pool, clusters: int
) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """Cluster on the neighbour graph; a head learns the consensus, for images that are not in it."""
    device = job.runtime.device()
    inputs = pool.features.take(torch.arange(len(pool.rows)))
    neighbors, linked = _centred_neighbors(job, pool, clusters, inputs)
    with job.runtime.progress.task("cluster", num_starts(), "starts") as task:
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
    quality = {
        "information": found.information[0],
        "trust": trust(labels, labels[neighbors[:, :_TRUST_NEIGHBORS]], found.clusterings, clusters),
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
    return head.to_tensors(), report, f"neighbour graph, {clusters} clusters"


def _kmeans(
    job: Job, config: ClusterConfig, pool: _Pool, clusters: int
) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """Cluster by k-means on unit vectors: one head, whose loss is the mean squared distance to the centres."""
    with job.runtime.progress.task("cluster: k-means", 1, "pass") as task:
        embeddings = F.normalize(pool.features.take(torch.arange(len(pool.rows))))
        found = kmeans(embeddings.cpu(), clusters, seed=derived_seed(config.seed, "kmeans"), restarts=_KMEANS_RESTARTS)
        task.advance()
    counts_C = torch.bincount(found.assignment, minlength=clusters)
    neighbors = torch.from_numpy(_neighbor_positions(job, pool, clusters)).long()
    none = torch.empty(0, len(pool.rows), dtype=torch.int64)
    near_MK = found.assignment[neighbors[:, :_TRUST_NEIGHBORS]]
    quality = {
        "information": information(pair_joint(found.assignment, near_MK, clusters), 0.0),
        "trust": trust(found.assignment, near_MK, none, clusters),
    }
    centroids = found.centroids
    (calibrated,) = _calibrations(
        job, pool, clusters, config.seed, lambda rows: [kmeans_probabilities(embeddings[rows].cpu(), centroids).log()]
    )
    report = {
        "method": "kmeans",
        "loss": "distance",
        "clusters": clusters,
        "chosen": 0,
        "heads": [head_report(counts_C, found.inertia / len(pool.rows), quality | asdict(calibrated))],
    }
    return {"centroids": centroids.numpy()}, report, f"k-means, {clusters} clusters"


def _turtle(
    job: Job, config: ClusterConfig, pool: _Pool, clusters: int
) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """Train TURTLE's runs on each encoder's part of the embeddings, and choose one of them without labels."""
    small = is_small(len(pool.rows), on_cpu=job.runtime.on_cpu)
    found = job.workspace.manifest.artifacts["embeddings"].metadata.get("widths", [pool.features.dim])
    settings = TurtleSettings(
        clusters=clusters,
        runs=config.heads or 8,
        widths=tuple(found),
        steps=500 if small else 6_000,
        batch_size=config.batch_size or (256 if small else 10_000),
        learning_rate=config.learning_rate or (1e-2 if small else 1e-3),
        seed=config.seed,
    )
    with job.runtime.long_task("cluster", settings.steps, "steps", "--method graph or kmeans takes less.") as task:
        training = train_turtle(
            pool.features, settings, checkpoint=job.draft.directory / "turtle.safetensors", task=task
        )
    counts_RC = torch.zeros(settings.runs, clusters, dtype=torch.int64)
    weights = [weight.to(pool.features.device) for weight in training.weights]

    def said(positions: Tensor) -> Tensor:
        return log_labels(unit_parts(pool.features.take(positions), settings.widths), weights, clusters)

    for positions_B in torch.arange(len(pool.rows)).split(_BLOCK_ROWS):
        labels_BR = said(positions_B).argmax(dim=2).cpu()
        counts_RC += torch.stack([torch.bincount(labels_B, minlength=clusters) for labels_B in labels_BR.T])
    calibrated = _calibrations(job, pool, clusters, config.seed, lambda rows: said(rows).unbind(dim=1))
    chosen = int(training.loss.argmin())
    report = {
        "method": "turtle",
        "loss": "turtle",
        "clusters": clusters,
        "chosen": chosen,
        "steps": settings.steps,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "heads": [
            head_report(counts_RC[r], float(training.loss[r]), asdict(calibrated[r])) for r in range(settings.runs)
        ],
    }
    tensors = {f"turtle.{e}": w.unflatten(1, (-1, clusters)).numpy() for e, w in enumerate(training.weights)}
    encoders = f" on {len(settings.widths)} encoders" if len(settings.widths) > 1 else ""
    return tensors, report, f"TURTLE{encoders}, {settings.runs} runs, {clusters} clusters   run {chosen} chosen"


_METHODS = {"graph": _graph, "temi": _train, "kmeans": _kmeans, "turtle": _turtle}

CODE = StageCode(run)
