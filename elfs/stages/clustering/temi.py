"""Clusters by heads that train side by side (TEMI)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from elfs.config import ClusterConfig
from elfs.config.cheaper import CLUSTER_HEADS
from elfs.pipeline.job import Job
from elfs.stages.clustering.choice import Choice, choose, reported
from elfs.stages.clustering.pool import BLOCK_ROWS, Clustered, Pool, neighbor_positions
from elfs.train.clustering import HeadSettings, HeadTraining, train_heads
from elfs.train.head_choice import assignment_counts
from elfs.train.head_settings import settings_for

__all__ = ["cluster_by_heads"]

_REPORTED = ("loss", "epochs", "batch_size", "learning_rate", "teacher_momentum", "temperature")
"""Settings that ``clusters.json`` has."""

_COUNTED_ROWS = BLOCK_ROWS
"""Images whose clusters are counted together by a rank."""


def cluster_by_heads(job: Job, config: ClusterConfig, pool: Pool, clusters: int) -> Clustered:
    """Train the heads; choose one of them, or all together."""
    settings, ranks = settings_for(config, len(pool.rows), clusters, on_cpu=job.runtime.on_cpu), job.runtime.ranks
    neighbors = torch.from_numpy(neighbor_positions(job, pool, clusters))
    training = _trained(job, pool, settings, neighbors)
    singles = (training.teacher.select_head(head) for head in range(settings.heads))
    heads = [single.to(pool.features.device).requires_grad_(False) for single in singles]

    def said(positions: Tensor) -> Iterator[Tensor]:
        inputs = pool.features.take(positions)
        for head in heads:
            yield head(inputs)[0].float() / settings.temperature

    found = choose(config, said, training.loss, neighbors, clusters) if ranks.is_first else None
    told = ranks.broadcast(None if found is None else found.as_json())
    choice = Choice.from_json(told) if found is None else found
    counts = assignment_counts(choice.together(said), len(pool.rows), clusters, _COUNTED_ROWS, ranks)
    report: dict[str, Any] = {
        "method": "temi",
        "clusters": clusters,
        "steps": _num_steps(pool, settings),
        "neighbors": neighbors.shape[1],
        **{name: getattr(settings, name) for name in _REPORTED},
    }
    if ranks.is_first:
        report |= reported(job, config, pool, choice, said, training.loss, counts)
    ranks.wait()
    headline = f"{settings.loss.upper()}, {settings.heads} heads, {clusters} clusters   {choice.said('head')}"
    return Clustered(training.teacher.to_tensors() | choice.tensors(), report, headline)


def _num_steps(pool: Pool, settings: HeadSettings) -> int:
    return settings.epochs * -(-len(pool.rows) // settings.batch_size)


def _trained(job: Job, pool: Pool, settings: HeadSettings, neighbors: Tensor) -> HeadTraining:
    """Train the heads on an image and one of its neighbours [M, K] at a time."""
    with job.runtime.long_task("cluster", _num_steps(pool, settings), "steps", CLUSTER_HEADS) as task:
        return train_heads(
            pool.features,
            neighbors,
            settings,
            checkpoint=job.draft.directory / "checkpoint.safetensors",
            task=task,
            ranks=job.runtime.ranks,
        )
