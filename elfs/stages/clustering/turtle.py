"""Clusters by TURTLE."""

from collections.abc import Iterator

import torch
from torch import Tensor

from elfs.config import ClusterConfig
from elfs.config.cheaper import CLUSTER_TURTLE
from elfs.ops.turtle import log_labels, unit_parts
from elfs.pipeline.artifact_facts import EmbeddingsNote
from elfs.pipeline.job import Job
from elfs.stages.clustering.choice import choose, reported
from elfs.stages.clustering.pool import BLOCK_ROWS, Clustered, Pool, neighbor_positions
from elfs.train.head_choice import assignment_counts
from elfs.train.head_settings import is_small
from elfs.train.turtle import TurtleSettings, train_turtle

__all__ = ["cluster_by_turtle"]


def cluster_by_turtle(job: Job, config: ClusterConfig, pool: Pool, clusters: int) -> Clustered:
    """Train TURTLE's runs on each encoder's part of the embeddings; choose one of them, or all together."""
    settings = _settings(job, config, pool, clusters)
    with job.runtime.long_task("cluster", settings.steps, "steps", CLUSTER_TURTLE) as task:
        training = train_turtle(
            pool.features, settings, checkpoint=job.draft.directory / "turtle.safetensors", task=task
        )
    weights = [weight.to(pool.features.device) for weight in training.weights]

    def said(positions: Tensor) -> Iterator[Tensor]:
        return log_labels(unit_parts(pool.features.take(positions), settings.widths), weights, clusters)

    neighbors = torch.from_numpy(neighbor_positions(job, pool, clusters))
    choice = choose(config, said, training.loss, neighbors, clusters)
    counts = assignment_counts(choice.together(said), len(pool.rows), clusters, BLOCK_ROWS)
    report = {
        "method": "turtle",
        "loss": "turtle",
        "clusters": clusters,
        "steps": settings.steps,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        **reported(job, config, pool, choice, said, training.loss, counts),
    }
    tensors = {f"turtle.{e}": w.unflatten(1, (-1, clusters)).numpy() for e, w in enumerate(training.weights)}
    encoders = f" on {len(settings.widths)} encoders" if len(settings.widths) > 1 else ""
    headline = f"TURTLE{encoders}, {settings.runs} runs, {clusters} clusters   {choice.said('run')}"
    return Clustered(tensors | choice.tensors(), report, headline)


def _settings(job: Job, config: ClusterConfig, pool: Pool, clusters: int) -> TurtleSettings:
    """Return the settings of the training, with every ``auto`` worked out."""
    small = is_small(len(pool.rows), on_cpu=job.runtime.on_cpu)
    return TurtleSettings(
        clusters=clusters,
        runs=config.heads or 8,
        widths=job.workspace.metadata("embeddings", EmbeddingsNote).widths or (pool.features.dim,),
        steps=500 if small else 6_000,
        batch_size=config.batch_size or (256 if small else 10_000),
        learning_rate=config.learning_rate or (1e-2 if small else 1e-3),
        seed=config.seed,
    )
