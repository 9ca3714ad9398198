"""Clusters by heads that train side by side (TEMI). Shape suffixes: H heads, C clusters."""

from collections.abc import Iterator
from dataclasses import asdict

import torch
from torch import Tensor

from elfs.config import ClusterConfig
from elfs.pipeline.job import Job
from elfs.stages.clustering.pool import BLOCK_ROWS, Clustered, Pool, calibrated_heads, neighbor_positions
from elfs.train.clustering import HeadSettings, HeadTraining, train_heads
from elfs.train.head_choice import assignment_counts, head_qualities, head_report, logits_of
from elfs.train.head_settings import settings_for

__all__ = ["cluster_by_heads"]

_REPORTED = ("loss", "epochs", "batch_size", "learning_rate", "teacher_momentum", "temperature")
"""Settings that ``clusters.json`` has."""

_COUNTED_ROWS = BLOCK_ROWS
"""Images whose clusters are counted together by a rank."""


def cluster_by_heads(job: Job, config: ClusterConfig, pool: Pool, clusters: int) -> Clustered:
    """Train the heads and choose one of them without labels."""
    settings = settings_for(config, len(pool.rows), clusters, on_cpu=job.runtime.on_cpu)
    neighbors = torch.from_numpy(neighbor_positions(job, pool, clusters))
    training = _trained(job, pool, settings, neighbors)
    counts_HC = assignment_counts(training.teacher, pool.features, _COUNTED_ROWS, job.runtime.ranks)
    qualities, calibrated = [], []
    if job.runtime.ranks.is_first:
        qualities = head_qualities(training.teacher, pool.features, neighbors)

        def said(positions: Tensor) -> Iterator[Tensor]:
            for head in map(training.teacher.select_head, range(settings.heads)):
                yield logits_of(head, pool.features, positions)[0] / settings.temperature

        calibrated = calibrated_heads(job, pool, clusters, config.seed, said)
    job.runtime.ranks.wait()
    chosen = int(training.loss.argmin())
    if config.head_choice != "loss" and qualities:
        chosen = max(range(settings.heads), key=lambda head: getattr(qualities[head], config.head_choice))
    report = {
        "method": "temi",
        "clusters": clusters,
        "chosen": chosen,
        "head_choice": config.head_choice,
        "steps": _num_steps(pool, settings),
        "neighbors": neighbors.shape[1],
        **{name: getattr(settings, name) for name in _REPORTED},
        "heads": [
            head_report(counts_HC[h], float(training.loss[h]), asdict(quality) | asdict(calibrated[h]))
            for h, quality in enumerate(qualities)
        ],
    }
    headline = f"{settings.loss.upper()}, {settings.heads} heads, {clusters} clusters   head {chosen} chosen"
    return Clustered(training.teacher.to_tensors(), report, headline)


def _num_steps(pool: Pool, settings: HeadSettings) -> int:
    return settings.epochs * -(-len(pool.rows) // settings.batch_size)


def _trained(job: Job, pool: Pool, settings: HeadSettings, neighbors: Tensor) -> HeadTraining:
    """Train the heads on an image and one of its neighbours [M, K] at a time."""
    advice = "--method graph or kmeans takes less."
    with job.runtime.long_task("cluster", _num_steps(pool, settings), "steps", advice) as task:
        return train_heads(
            pool.features,
            neighbors,
            settings,
            checkpoint=job.draft.directory / "checkpoint.safetensors",
            task=task,
            ranks=job.runtime.ranks,
        )
