"""Train many cluster heads side by side on frozen embeddings: TEMI and its relatives.

Where several ranks train them, each computes a part of every batch; the prior and SCAN's mean assignment are those of
the whole batch. Shapes: H heads, B pairs of (the part of) a batch, C clusters, N images of the pool, K neighbours.
"""

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from elfs.data.batch_part import BatchPart
from elfs.errors import UsageError
from elfs.models.heads import ClusterHeads
from elfs.ops.optimizers import eager
from elfs.ops.schedules import warmup_cosine
from elfs.ops.temi import (
    Views,
    WeightMode,
    log_probabilities,
    pair_weights,
    probability_sum,
    scan_loss,
    temi_loss,
    updated_prior,
)
from elfs.parallel.ranks import ALONE, Ranks
from elfs.parallel.runtime import Task
from elfs.train.checkpoint import SavingPace, load_checkpoint, save_checkpoint
from elfs.train.features import Features
from elfs.train.numerics import mixed_precision, repeatable, threads_for
from elfs.train.recorded_step import RecordedStep, changing_rate, recording_device, set_rate
from elfs.train.seeding import generator

__all__ = ["HeadSettings", "HeadTraining", "train_heads"]

_CHECKPOINTS = 10
"""How many checkpoints a training writes at most, evenly spaced; fewer where `SavingPace` finds them dear."""

_PRODUCTS_PER_THREAD = 1 << 26
"""Multiplications of a step's first layer that are worth a CPU thread."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadSettings:
    """Everything that the training of the heads depends on, with nothing left to choose.

    Attributes
    ----------
    clusters, heads, hidden, bottleneck : int
        Sizes of the heads.
    loss : str
        ``temi``, ``wmi``, ``pmi`` or ``scan``.
    epochs, warmup_epochs, batch_size : int
        Length of the training; the last layers are frozen during the first epoch.
    learning_rate, min_learning_rate, weight_decay : float
        AdamW with a cosine; biases are not decayed.
    beta, temperature, teacher_momentum, prior_momentum : float
        As in ``elfs.ops.temi``.
    seed : int
        Seed of the initial weights, the order and the choice of neighbours.
    """

    clusters: int
    heads: int
    hidden: int
    bottleneck: int
    loss: str
    epochs: int
    warmup_epochs: int
    batch_size: int
    learning_rate: float
    min_learning_rate: float
    weight_decay: float
    beta: float
    temperature: float
    teacher_momentum: float
    prior_momentum: float
    seed: int


@dataclass(frozen=True)
class HeadTraining:
    """Trained heads.

    Attributes
    ----------
    teacher : ClusterHeads
        The moving average of the student, in evaluation mode.
    loss : Tensor of shape (n_heads,), float32
        Mean loss of each head over the last epoch (nats), lower = better; on the CPU.
    """

    teacher: ClusterHeads
    loss: Tensor


class _HeadState:
    """State of a training: student, teacher, prior, optimiser, and the loss of the last epoch."""

    def __init__(self, features: Features, settings: HeadSettings, ranks: Ranks) -> None:
        self.features, self.settings, self.ranks = features, settings, ranks
        self.part = BatchPart(ranks.rank, ranks.size)
        self.device = features.device
        self.student = ClusterHeads(
            settings.heads,
            features.dim,
            settings.hidden,
            settings.bottleneck,
            settings.clusters,
            generator(settings.seed, "heads"),
        ).to(self.device)
        self.parallel: nn.Module = self.student  # as it is called; `start` joins it with those of the other ranks
        self.teacher = deepcopy(self.student).requires_grad_(False)
        self.prior_HC = torch.full((settings.heads, settings.clusters), 1 / settings.clusters, device=self.device)
        self.loss_H = torch.full((settings.heads,), math.nan, device=self.device)
        self.optimizer = _adamw(self.student, settings)
        self.num_batches = math.ceil(len(features) / settings.batch_size)
        self._recorded_step = RecordedStep(recording_device(self.device, ranks))

    @property
    def num_threads(self) -> int:
        """CPU threads of a step: one for every 67 million products of its images and the first layers' weights."""
        settings = self.settings
        products = 2 * settings.batch_size * settings.heads * self.features.dim * settings.hidden
        return threads_for(products // (self.ranks.size * _PRODUCTS_PER_THREAD), self.ranks)

    def start(self) -> None:
        """Join the students of all ranks, so that their gradients are those of whole batches."""
        self.parallel = self.ranks.data_parallel(self.student)

    def loss(self, student: Views, teacher: Views, num_own: int, num_pairs: int) -> Tensor:
        """Return the loss of each head [H] on this rank's pairs, updating the prior first.

        The first `num_own` of them count, out of `num_pairs` of the whole batch.
        """
        settings = self.settings
        if settings.loss == "scan":
            total_HC, _ = probability_sum(student[0][:, :num_own])
            return scan_loss(student, self.ranks.sum_(total_HC), num_pairs)
        total_HC, _ = probability_sum(*(view_HBC[:, :num_own] for view_HBC in teacher))
        self.prior_HC.copy_(
            updated_prior(
                self.prior_HC, self.ranks.sum_(total_HC), len(teacher) * num_pairs, momentum=settings.prior_momentum
            )
        )
        mode: WeightMode = settings.loss  # type: ignore[assignment]  # checked by the config
        return temi_loss(student, teacher, self.prior_HC, pair_weights(teacher, mode), beta=settings.beta)

    def views(self, heads: nn.Module, inputs: Tensor) -> Views:
        """Return the log-probabilities of both halves of the inputs."""
        with mixed_precision(self.device):
            logits_HBC = heads(inputs)
        first_HBC, second_HBC = log_probabilities(logits_HBC, self.settings.temperature).chunk(2, dim=1)
        return first_HBC, second_HBC

    def step(self, inputs: Tensor, num_own: int, num_pairs: int, step: int) -> Tensor:
        """Take one step on the pairs (first half, second half) and return what they add to the loss of each head [H].

        The first `num_own` of them count, out of `num_pairs` of the whole batch.
        """
        settings = self.settings
        rate = warmup_cosine(
            step,
            peak=settings.learning_rate,
            final=min(settings.min_learning_rate, settings.learning_rate),
            num_steps=settings.epochs * self.num_batches,
            num_warmup_steps=min(settings.warmup_epochs, settings.epochs // 2) * self.num_batches,
        )
        set_rate(self.optimizer, rate)
        is_frozen = step < self.num_batches
        if is_frozen or self.ranks.size > 1:
            loss_H = self._part(inputs, num_own, num_pairs, is_frozen=is_frozen)
        else:
            loss_H = self._recorded_step(self._whole, inputs)
        self.ranks.beat()
        return loss_H

    def _whole(self, inputs: Tensor) -> Tensor:
        return self._part(inputs, len(inputs) // 2, len(inputs) // 2, is_frozen=False)

    def _part(self, inputs: Tensor, num_own: int, num_pairs: int, *, is_frozen: bool) -> Tensor:
        """Take a step at the rate that is set; while the last layers are frozen they get no gradient."""
        student = self.views(self.parallel, inputs)
        with torch.no_grad():
            teacher = self.views(self.teacher, inputs)
        loss_H = self.loss(student, teacher, num_own, num_pairs)
        weight = num_own / num_pairs
        self.optimizer.zero_grad(set_to_none=True)
        # The mean over the ranks, which their gradients undergo, is then the mean over the pairs of the whole batch.
        (loss_H.mean() * (weight * self.ranks.size)).backward()
        if is_frozen:
            for parameter in self.student.last_layer_parameters():
                parameter.grad = None
        self.optimizer.step()
        with torch.no_grad():
            for kept, new in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
                kept.lerp_(new, 1 - self.settings.teacher_momentum)
        return loss_H.detach() * weight

    def _pairs(self, number: int, neighbors_NK: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the images of each batch of an epoch, and of each one of its neighbours, where features are taken."""
        draws = generator(self.settings.seed, "pairs", number)
        order_N = torch.randperm(len(self.features), generator=draws)
        num_kept = neighbors_NK.shape[1]
        columns = [
            torch.randint(num_kept, (len(batch),), generator=draws) for batch in order_N.tensor_split(self.num_batches)
        ]
        partners_N = neighbors_NK[order_N, torch.cat(columns)].long()
        yield from zip(
            *(
                positions.to(self.features.index_device).tensor_split(self.num_batches)
                for positions in (order_N, partners_N)
            ),
            strict=True,
        )

    def epoch(self, number: int, neighbors_NK: Tensor, task: Task) -> None:
        """See every image once, each paired with one of its neighbours."""
        settings = self.settings
        total_H = torch.zeros_like(self.loss_H)
        for index, (positions_B, partners_B) in enumerate(self._pairs(number, neighbors_NK)):
            inputs = self.features.take(torch.cat([self.part.padded(positions_B), self.part.padded(partners_B)]))
            num_own = len(self.part.cut(positions_B))
            total_H += self.step(inputs, num_own, len(positions_B), number * self.num_batches + index)
            task.advance()
        self.loss_H = self.ranks.sum_(total_H) / self.num_batches
        if not torch.isfinite(self.loss_H).all():
            raise UsageError(
                f"the cluster heads diverged in epoch {number + 1}: the loss is not finite. "
                f"Try --learning-rate {settings.learning_rate / 10:g}."
            )


def _adamw(student: ClusterHeads, settings: HeadSettings) -> torch.optim.AdamW:
    """Return AdamW that decays everything but biases."""
    plain = student.bias_parameters()
    kept = {id(parameter) for parameter in plain}
    decayed = [parameter for parameter in student.parameters() if id(parameter) not in kept]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    device = student.gain.device
    return eager(torch.optim.AdamW)(
        groups, lr=changing_rate(settings.learning_rate, device), fused=True, capturable=device.type == "cuda"
    )


def train_heads(
    features: Features,
    neighbors: Tensor,
    settings: HeadSettings,
    *,
    checkpoint: Path,
    task: Task,
    ranks: Ranks = ALONE,
) -> HeadTraining:
    """Train the heads.

    Parameters
    ----------
    features : Features
        Embeddings of N images.
    neighbors : Tensor of shape (n_images, n_neighbors), int32 or int64
        Positions of the neighbours of each image, on the CPU.
    settings : HeadSettings
        Everything else.
    checkpoint : Path
        File of the state, which the first rank writes; a run that finds it goes on from it and ends with the same
        numbers.
    task : Task
        Advanced by one per step, ``epochs * ceil(N / batch_size)`` in all.
    ranks : Ranks
        What trains them together; all give the same arguments, each with features on its own device.

    Returns
    -------
    HeadTraining
        Teacher and loss, the same on every rank.

    Raises
    ------
    UsageError
        If the loss is no longer finite.
    """
    training = _HeadState(features, settings, ranks)
    modules = {"student": training.student, "teacher": training.teacher}
    resumed = load_checkpoint(checkpoint, modules, training.optimizer, ranks)
    first_epoch = 0
    if resumed is not None:
        first_epoch, extra = resumed
        training.prior_HC.copy_(extra["prior"])
        training.loss_H = extra["loss"].to(training.device)
        task.resume(first_epoch * training.num_batches)
    training.start()
    interval, pace = math.ceil(settings.epochs / _CHECKPOINTS), SavingPace()
    with repeatable(training.num_threads), ranks.working():
        for number in range(first_epoch, settings.epochs):
            training.epoch(number, neighbors, task)
            task.advance(0, f"loss {float(training.loss_H.min()):.2f}")
            if (number + 1) % interval == 0 and ranks.is_first and pace.is_due:
                extra = {"prior": training.prior_HC, "loss": training.loss_H}
                with pace.saving():
                    save_checkpoint(checkpoint, number + 1, modules, training.optimizer, extra)
    return HeadTraining(training.teacher.eval(), training.loss_H.cpu())
