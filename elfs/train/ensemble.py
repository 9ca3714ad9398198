"""Many small proxies on the embeddings, trained side by side: each step is one product for all of them.

On a GPU noise is drawn there, and steps are recorded (not measured yet). Shapes: P networks, N samples of the pool, B
samples of a batch, D dimensions, C classes, F features.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from elfs.models.networks import MlpEnsemble
from elfs.ops.optimizers import eager
from elfs.ops.schedules import warmup_cosine
from elfs.ops.traces import TraceSums, trace_batch
from elfs.parallel.ranks import ALONE, Ranks
from elfs.parallel.runtime import Task
from elfs.train.checkpoint import load_checkpoint, save_checkpoint
from elfs.train.features import Features
from elfs.train.numerics import repeatable, require_finite
from elfs.train.recipes import Recipe
from elfs.train.recorded_step import RecordedStep, changing_rate, recording_device, set_rate
from elfs.train.seeding import derived_seed, generator

__all__ = ["EnsembleFit", "half_of", "predict_ensemble", "record_ensemble"]

_VALUES = 1 << 22
"""Logits and features of one forward pass where nothing is trained: 16 MiB, a few times over."""

_NOWHERE = -1
"""Fills up the rows of a table of positions."""


def half_of(number: int, num_folds: int) -> int:
    """Return to which half of the proxies one belongs.

    Parameters
    ----------
    number : int
        Its number among all proxies, from 0.
    num_folds : int
        Folds of the recipe: so many proxies in turn leave out one each, and belong together.

    Returns
    -------
    int
        1 for the first half, -1 for the other.
    """
    return 1 - 2 * (number // num_folds % 2)


def _table(rows: list[Tensor]) -> Tensor:
    """Return positions of unequal length as one table, filled up with -1."""
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=_NOWHERE)


@dataclass(frozen=True)
class EnsembleFit:
    """Several networks and what each is trained on; all of them are asked about all samples.

    Attributes
    ----------
    network : MlpEnsemble
        P networks, on ``device``.
    numbers : range
        Number of each of them among all proxies: with the seed it decides the order of its samples, so that what it
        learns does not depend on which others are trained with it.
    inputs : Features
        Embeddings of N samples.
    classes : Tensor of shape (n_samples,), int64
        Pseudo-label of each sample, in ``[0, C)``; on the CPU.
    trained : Tensor of shape (n_networks, n_samples), bool
        Which samples each network learns from.
    recipe : Recipe
        Hyper-parameters; of its folds, each so many networks in turn leave out one each.
    seed : int
        Seed of order and noise; a GPU draws other noise than a CPU.
    device : torch.device
        Where to compute, in float32.
    num_threads : int
        Threads of a CPU.
    ranks : Ranks
        This process alone, and whoever watches over it.
    """

    network: MlpEnsemble
    numbers: range
    inputs: Features
    classes: Tensor
    trained: Tensor
    recipe: Recipe
    seed: int
    device: torch.device
    num_threads: int = 1
    ranks: Ranks = ALONE

    def optimizer(self) -> torch.optim.SGD:
        """Return SGD with Nesterov momentum 0.9 over all networks, none of which sees the others."""
        return eager(torch.optim.SGD)(
            self.network.parameters(),
            lr=changing_rate(self.recipe.learning_rate, self.device),
            momentum=0.9,
            weight_decay=self.recipe.weight_decay,
            nesterov=True,
            fused=True,
        )

    @cached_property
    def learned(self) -> list[Tensor]:
        """Positions that each network learns from, ascending."""
        return [row_N.nonzero().flatten() for row_N in self.trained]

    @property
    def halves(self) -> Tensor:
        """1 for networks of the first half, -1 for the others [P]; each sample is left out equally often in both."""
        return torch.tensor([half_of(number, self.recipe.folds) for number in self.numbers], dtype=torch.float32)

    def steps_per_epoch(self) -> int:
        """Return in how many steps every network sees its samples once."""
        return max(1, math.ceil(max(len(positions) for positions in self.learned) / self.recipe.batch_size))

    def batches(self, epoch: int) -> list[Tensor]:
        """Return the positions [P, B] of each step of an epoch, -1 where a network has one sample less."""
        steps, orders = self.steps_per_epoch(), []
        for number, positions in zip(self.numbers, self.learned, strict=True):
            order = torch.randperm(len(positions), generator=generator(self.seed, "order", number, epoch))
            orders.append(positions[order].tensor_split(steps))
        return [_table([order[step] for order in orders]) for step in range(steps)]


def _placed(batches: list[Tensor], device: torch.device) -> list[Tensor]:
    """Return the positions of an epoch on a device, copied at once: a copy of each batch would wait for the GPU."""
    joined = torch.cat([batch.flatten() for batch in batches]).to(device)
    parts = joined.split([batch.numel() for batch in batches])
    return [part.view(batch.shape) for part, batch in zip(parts, batches, strict=True)]


class _Training:
    """A fit under way: the optimiser, the labels where they are needed, the loss so far."""

    def __init__(self, fit: EnsembleFit, optimizer: torch.optim.Optimizer) -> None:
        self.fit, self.optimizer = fit, optimizer
        self.classes_N = fit.classes.to(fit.device)
        self.total_loss = torch.zeros((), device=fit.device)
        self._recorded_step = RecordedStep(recording_device(fit.device, fit.ranks))

    def epoch(self, number: int, num_epochs: int, task: Task) -> float:
        """Take one step for each batch; every network minimises the mean loss over its own samples. Return its mean."""
        fit, steps = self.fit, self.fit.steps_per_epoch()
        noise = torch.Generator(fit.device).manual_seed(derived_seed(fit.seed, "noise", number))
        rate, batches = fit.recipe.learning_rate, fit.batches(number)
        self.total_loss.zero_()
        places = zip(_placed(batches, fit.inputs.index_device), _placed(batches, fit.device), strict=True)
        for index, (taken_PB, positions_PB) in enumerate(places):
            rate = warmup_cosine(
                number * steps + index,
                peak=fit.recipe.learning_rate,
                final=min(fit.recipe.final_learning_rate, fit.recipe.learning_rate),
                num_steps=num_epochs * steps,
            )
            set_rate(self.optimizer, rate)
            classes_PB = self.classes_N[positions_PB.clamp_min(0)]
            self._recorded_step(self._step, self._inputs(taken_PB, noise), classes_PB, positions_PB >= 0)
            fit.ranks.beat()
            task.advance()
        total = float(self.total_loss)
        require_finite(total, rate, f"epoch {number + 1}")
        return total / (steps * len(fit.numbers))

    def _inputs(self, positions_PB: Tensor, noise: torch.Generator) -> Tensor:
        """Return embeddings [P, B, D] with noise; the first sample's stand in where there is no position."""
        fit = self.fit
        inputs_PBD = fit.inputs.take(positions_PB.clamp_min(0).flatten()).view(*positions_PB.shape, -1)
        if fit.recipe.noise:
            inputs_PBD += fit.recipe.noise * torch.randn(inputs_PBD.shape[1:], generator=noise, device=fit.device)
        return inputs_PBD

    def _step(self, inputs_PBD: Tensor, classes_PB: Tensor, there_PB: Tensor) -> Tensor:
        """Take a step at the rate that is set, and return the loss that led to it."""
        logits_PBC: Tensor = self.fit.network(inputs_PBD)
        loss_PB = F.cross_entropy(logits_PBC.transpose(1, 2), classes_PB, reduction="none")
        loss = (loss_PB * there_PB / there_PB.sum(dim=1, keepdim=True).clamp_min(1)).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.total_loss += loss.detach()
        return loss.detach()


@torch.no_grad()
def _asked(fit: EnsembleFit) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield positions [B] of all samples, block by block, and the logits [P, B, C] of the networks, without noise."""
    num_networks, num_features, num_classes = fit.network.weight.shape
    rows = max(1, _VALUES // (num_networks * (num_features + num_classes)))
    for positions_B in torch.arange(len(fit.classes)).split(rows):
        yield positions_B.to(fit.device), fit.network(fit.inputs.take(positions_B))
        fit.ranks.beat()


def record_ensemble(
    fit: EnsembleFit, num_epochs: int, checkpoint: Path, store: Callable[[int, dict[str, Tensor]], None], task: Task
) -> None:
    """Train the networks and record after every epoch how well each knows every sample.

    They are asked without noise, also about what they were not trained on. After each epoch the sums are stored
    and a checkpoint is written; a run that finds a checkpoint goes on after it and ends with the same numbers.

    Parameters
    ----------
    fit : EnsembleFit
        Networks, inputs, pseudo-labels, recipe. The networks are changed in place.
    num_epochs : int
        E, at least 1.
    checkpoint : Path
        File of the state.
    store : Callable
        Takes the epoch number and the tensors of its ``TraceSums``, on the CPU.
    task : Task
        Advanced by one per step.

    Raises
    ------
    UsageError
        If the loss is no longer finite.
    """
    optimizer = fit.optimizer()
    first_epoch, _ = load_checkpoint(checkpoint, {"network": fit.network}, optimizer) or (0, {})
    task.resume(first_epoch * fit.steps_per_epoch())
    training, halves_P = _Training(fit, optimizer), fit.halves.to(fit.device)
    with repeatable(fit.num_threads), fit.ranks.working():
        for epoch in range(first_epoch, num_epochs):
            loss = training.epoch(epoch, num_epochs, task)
            sums = TraceSums(len(fit.classes), fit.device)
            for positions_B, logits_PBC in _asked(fit):
                classes_PB = training.classes_N[positions_B].expand(len(logits_PBC), -1)
                traces = trace_batch(logits_PBC.flatten(0, 1), classes_PB.flatten())
                seen = {name: trace.view_as(classes_PB) for name, trace in traces.items()}
                sums.add(positions_B, seen, halves_P)
            found = sums.tensors()
            store(epoch, found)
            save_checkpoint(checkpoint, epoch + 1, {"network": fit.network}, optimizer, {})
            agreement = float(found["correct"].sum() / found["count"].sum())
            task.advance(0, f"loss {loss:.2f}, agreement {agreement:.2f}")


def predict_ensemble(fit: EnsembleFit) -> Tensor:
    """Return the class that each network gives to each sample.

    Parameters
    ----------
    fit : EnsembleFit
        As `record_ensemble` leaves it.

    Returns
    -------
    Tensor of shape (n_networks, n_samples), int32
        Index of the largest logit; on the CPU.
    """
    with repeatable(fit.num_threads):
        return torch.cat([logits_PBC.argmax(dim=2).int().cpu() for _, logits_PBC in _asked(fit)], dim=1)
