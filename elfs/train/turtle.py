"""Train TURTLE: runs side by side, each looking for labels that linear heads on all encoders find easy."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from elfs.errors import UsageError
from elfs.ops.optimizers import eager
from elfs.ops.turtle import fitted_heads, soft_labels, turtle_loss, unit_parts
from elfs.parallel.runtime import Task
from elfs.train.checkpoint import load_checkpoint, save_checkpoint
from elfs.train.features import Features
from elfs.train.seeding import generator

__all__ = ["TurtleSettings", "TurtleTraining", "train_turtle"]

INNER_STEPS, INNER_RATE = 10, 10.0
ENTROPY_WEIGHT = 10.0
_CHOICE_ROWS = 10_000
_CHECKPOINTS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class TurtleSettings:
    """Everything that a training depends on.

    Attributes
    ----------
    clusters, runs : int
        Number of clusters, and of runs from different weights.
    widths : tuple of int
        Width of each encoder's embeddings.
    steps, batch_size : int
        Length of the training.
    learning_rate : float
        Of Adam, for inputs as long as the root of their width.
    seed : int
        Seed of the first weights and of the batches.
    """

    clusters: int
    runs: int
    widths: tuple[int, ...]
    steps: int
    batch_size: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class TurtleTraining:
    """Trained runs.

    Attributes
    ----------
    weights : list of Tensor of shape (width, n_runs * n_clusters), float32
        Of each encoder, for embeddings of length 1; on the CPU.
    loss : Tensor of shape (n_runs,), float32
        Cross-validated loss in nats, lower = better: linear heads fitted to the labels of one half of at most 10,000
        images predict those of the other.
    """

    weights: list[Tensor]
    loss: Tensor


def train_turtle(features: Features, settings: TurtleSettings, *, checkpoint: Path, task: Task) -> TurtleTraining:
    """Train all runs.

    Parameters
    ----------
    features : Features
        Embeddings of the pool, not standardised.
    settings : TurtleSettings
        Everything else.
    checkpoint : Path
        File of the state; a run that finds it goes on from it and ends with the same numbers.
    task : Task
        Advanced by one a step.

    Returns
    -------
    TurtleTraining
        Weights and losses.

    Raises
    ------
    UsageError
        If the loss is no longer finite.
    """
    draws, columns = generator(settings.seed, "turtle"), settings.runs * settings.clusters
    first = [torch.randn(width, columns, generator=draws) / math.sqrt(width) for width in settings.widths]
    weights = nn.ParameterList([weight.to(features.device) for weight in first])
    optimizer = eager(torch.optim.Adam)(weights.parameters(), lr=settings.learning_rate)
    resumed = load_checkpoint(checkpoint, {"weights": weights}, optimizer)
    start = 0 if resumed is None else resumed[0]
    task.resume(start)
    interval = math.ceil(settings.steps / _CHECKPOINTS)
    for step in range(start, settings.steps):
        draws = generator(settings.seed, "batch", step)
        inputs = _inputs(features, torch.randint(len(features), (settings.batch_size,), generator=draws), settings)
        labels = soft_labels(inputs, list(weights), settings.clusters)
        loss = turtle_loss(inputs, _heads(inputs, labels), labels, entropy_weight=ENTROPY_WEIGHT).sum()
        if not loss.isfinite():
            slower = f"Try --learning-rate {settings.learning_rate / 10:g}."
            raise UsageError(f"turtle diverged in step {step + 1}: the loss is not finite. {slower}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        task.advance(note=f"loss {float(loss.detach()) / settings.runs:.2f}")
        if (step + 1) % interval == 0:
            save_checkpoint(checkpoint, step + 1, {"weights": weights}, optimizer, {})
    found = [weight.detach() for weight in weights]
    scaled = [w.cpu() * math.sqrt(width) for w, width in zip(found, settings.widths, strict=True)]
    return TurtleTraining(scaled, _validated_loss(features, found, settings))


def _inputs(features: Features, positions: Tensor, settings: TurtleSettings) -> list[Tensor]:
    """Return embeddings as long as the root of their width, so that one learning rate suits all."""
    parts = unit_parts(features.take(positions), settings.widths)
    return [part * math.sqrt(width) for part, width in zip(parts, settings.widths, strict=True)]


def _heads(inputs: list[Tensor], labels: Tensor) -> list[Tensor]:
    return [fitted_heads(part, labels, steps=INNER_STEPS, rate=INNER_RATE) for part in inputs]


@torch.no_grad()
def _validated_loss(features: Features, weights: list[Tensor], settings: TurtleSettings) -> Tensor:
    """Return each run's mean loss on halves that the heads were not fitted to [R]."""
    order = torch.randperm(len(features), generator=generator(settings.seed, "choice"))[:_CHOICE_ROWS]
    inputs = _inputs(features, order, settings)
    labels = soft_labels(inputs, weights, settings.clusters)
    halves = torch.arange(len(order), device=labels.device) % 2 == 0
    total_R = labels.new_zeros(settings.runs)
    for test in (halves, ~halves):
        heads = _heads([part[~test] for part in inputs], labels[~test])
        total_R += turtle_loss([part[test] for part in inputs], heads, labels[test], entropy_weight=ENTROPY_WEIGHT) / 2
    return total_R.cpu()
