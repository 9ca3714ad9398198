"""Train a classifier: one loop for the proxy whose dynamics are recorded and for the network on the coreset.

Shapes: B samples of a batch, C classes, N samples of the pool, E epochs.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elfs.data.training_images import TrainingImages
from elfs.errors import UsageError
from elfs.ops.schedules import warmup_cosine
from elfs.ops.traces import trace_batch
from elfs.train.checkpoint import load_checkpoint, save_checkpoint
from elfs.train.recipes import Recipe
from elfs.train.runtime import Task
from elfs.train.seeding import generator

__all__ = ["Fit", "mixed_precision", "predict", "record_dynamics", "train_iterations"]

_STEPS_PER_LOOK = 1_000
"""After how many steps on a coreset a loss that is not finite is noticed; each look waits for the GPU."""


@dataclass(frozen=True)
class Fit:
    """One network, what it is trained on, and how.

    Attributes
    ----------
    network : nn.Module
        Inputs to logits [B, C]; on ``device``.
    inputs : TrainingImages
        Network inputs of N samples.
    labels : Tensor of shape (N,), int64
        Class of each sample, in ``[0, C)``; on the CPU.
    recipe : Recipe
        Hyper-parameters.
    seed : int
        Seed of the order and the augmentation.
    device : torch.device
        Where to compute; bfloat16 autocast on a GPU, float32 on the CPU.
    num_threads : int
        Threads of a CPU. Small networks on small images are fastest on one: more spend their time waiting for each
        other, most of all on a machine with other work.
    """

    network: nn.Module
    inputs: TrainingImages
    labels: Tensor
    recipe: Recipe
    seed: int
    device: torch.device
    num_threads: int = 1

    def optimizer(self) -> torch.optim.SGD:
        """Return SGD with Nesterov momentum 0.9 over all parameters."""
        return torch.optim.SGD(
            self.network.parameters(),
            lr=self.recipe.learning_rate,
            momentum=0.9,
            weight_decay=self.recipe.weight_decay,
            nesterov=True,
        )

    def steps_per_epoch(self) -> int:
        """Return in how many steps the samples are seen once."""
        return math.ceil(len(self.inputs) / self.recipe.batch_size)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the augmented batches of one epoch: every sample exactly once."""
        order = torch.randperm(len(self.inputs), generator=generator(self.seed, "order", number))
        return self.inputs.batches(
            order,
            batch_size=self.recipe.batch_size,
            augment=True,
            generator=generator(self.seed, "augment", number),
            device=self.device,
        )

    def rate(self, step: int, num_steps: int) -> float:
        """Return the learning rate of a step."""
        return warmup_cosine(
            step,
            peak=self.recipe.learning_rate,
            final=self.recipe.final_learning_rate,
            num_steps=num_steps,
            num_warmup_steps=0,
        )


def mixed_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return the context that networks run in on a device.

    Parameters
    ----------
    device : torch.device
        Where to compute.

    Returns
    -------
    AbstractContextManager
        bfloat16 autocast on a GPU; nothing on the CPU.
    """
    return torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()


@contextmanager
def _repeatable(num_threads: int) -> Iterator[None]:
    """Compute on a fixed number of CPU threads, and on GPUs by cuDNN's deterministic convolutions alone."""
    before = torch.get_num_threads(), torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    torch.set_num_threads(num_threads)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before[1:]


def _train_step(
    fit: Fit, optimizer: torch.optim.Optimizer, rate: float, inputs: Tensor, labels_B: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the logits [B, C] of the training forward pass and the loss, after the step that they led to."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    with mixed_precision(fit.device):
        logits_BC = fit.network(inputs)
    logits_BC = logits_BC.float()
    loss = F.cross_entropy(logits_BC, labels_B)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return logits_BC.detach(), loss.detach()


def _check_finite(total_loss: Tensor, rate: float, when: str) -> None:
    """Stop before a diverged network is written anywhere; one look per epoch, so no step waits for the GPU."""
    if not math.isfinite(float(total_loss)):
        raise UsageError(
            f"training diverged in {when}: the loss is {float(total_loss)} at learning rate {rate:g}. "
            f"Try --learning-rate {rate / 10:g}."
        )


def record_dynamics(
    fit: Fit, num_epochs: int, checkpoint: Path, store: Callable[[int, dict[str, Tensor]], None], task: Task
) -> float:
    """Train a proxy and record how every sample is learned.

    The record is taken from the training forward pass (augmented, train mode), each sample exactly once per epoch.
    After each epoch the traces are stored and the state is checkpointed; a run that finds a checkpoint goes on after it
    and ends with the same numbers.

    Parameters
    ----------
    fit : Fit
        Network, inputs, pseudo-labels, recipe. The network is changed in place: it ends as the last epoch left it, also
        where that epoch was in an earlier run, and in training mode.
    num_epochs : int
        E, at least 1.
    checkpoint : Path
        File of the state.
    store : Callable
        Takes the epoch number and its traces, each of shape (N,): float16, ``correct`` uint8.
    task : Task
        Advanced by one per step.

    Returns
    -------
    float
        Share of the samples whose prediction was the pseudo-label in the last epoch, in ``[0, 1]``.

    Raises
    ------
    UsageError
        If the loss is no longer finite.
    """
    optimizer = fit.optimizer()
    resumed = load_checkpoint(checkpoint, {"network": fit.network}, optimizer)
    first_epoch, extra = resumed or (0, {})
    agreement = float(extra["agreement"]) if resumed else 0.0
    task.advance(first_epoch * fit.steps_per_epoch())
    labels_N = fit.labels.to(fit.device)
    fit.network.train()
    with _repeatable(fit.num_threads):
        for epoch in range(first_epoch, num_epochs):
            traces = _recorded_epoch(fit, optimizer, labels_N, (epoch, num_epochs), task)
            agreement = float(traces["correct"].double().mean())
            store(epoch, {name: trace.cpu() for name, trace in traces.items()})
            extra = {"agreement": torch.tensor(agreement, dtype=torch.float64)}
            save_checkpoint(checkpoint, epoch + 1, {"network": fit.network}, optimizer, extra)
    return agreement


def _recorded_epoch(
    fit: Fit, optimizer: torch.optim.Optimizer, labels_N: Tensor, epoch: tuple[int, int], task: Task
) -> dict[str, Tensor]:
    """Train for one epoch (number, of how many) and return its traces [N]."""
    number, num_epochs = epoch
    steps = fit.steps_per_epoch()
    total_loss = torch.zeros((), device=fit.device)
    traces: dict[str, Tensor] = {}
    for index, (positions_B, inputs) in enumerate(fit.epoch(number)):
        rate = fit.rate(number * steps + index, num_epochs * steps)
        positions_B = positions_B.to(fit.device)
        logits_BC, loss = _train_step(fit, optimizer, rate, inputs, labels_N[positions_B])
        total_loss += loss
        _scatter(traces, trace_batch(logits_BC, labels_N[positions_B]), positions_B, len(fit.inputs))
        task.advance()
    _check_finite(total_loss, rate, f"epoch {number + 1}")
    return traces


def _scatter(traces: dict[str, Tensor], batch: dict[str, Tensor], positions_B: Tensor, num_rows: int) -> None:
    """Write a batch's traces to their rows, in the precision in which they are kept."""
    for name, value_B in batch.items():
        dtype = torch.uint8 if value_B.dtype == torch.uint8 else torch.float16
        if name not in traces:
            traces[name] = torch.zeros(num_rows, dtype=dtype, device=value_B.device)
        traces[name][positions_B] = value_B.to(dtype)


def train_iterations(fit: Fit, num_iterations: int, task: Task) -> None:
    """Train for a fixed number of steps, whatever the number of samples.

    Parameters
    ----------
    fit : Fit
        Network, inputs, labels, recipe. The network is changed in place and left in evaluation mode.
    num_iterations : int
        Steps.
    task : Task
        Advanced by one per step.

    Raises
    ------
    UsageError
        If the loss is no longer finite.
    """
    optimizer = fit.optimizer()
    labels_N = fit.labels.to(fit.device)
    fit.network.train()
    epochs = itertools.chain.from_iterable(fit.epoch(number) for number in itertools.count())
    total_loss = torch.zeros((), device=fit.device)
    with _repeatable(fit.num_threads):
        for step, (positions_B, inputs) in enumerate(itertools.islice(epochs, num_iterations)):
            rate = fit.rate(step, num_iterations)
            _, loss = _train_step(fit, optimizer, rate, inputs, labels_N[positions_B.to(fit.device)])
            total_loss += loss
            task.advance()
            if (step + 1) % _STEPS_PER_LOOK == 0 or step + 1 == num_iterations:
                _check_finite(total_loss, rate, f"{step + 1:,} steps")
    fit.network.eval()


@torch.no_grad()
def predict(network: nn.Module, inputs: TrainingImages, *, batch_size: int, device: torch.device) -> Tensor:
    """Return the class that a network gives to each sample.

    Parameters
    ----------
    network : nn.Module
        Inputs to logits; put into evaluation mode.
    inputs : TrainingImages
        Network inputs of N samples.
    batch_size : int
        Samples per forward pass.
    device : torch.device
        Where to compute.

    Returns
    -------
    Tensor of shape (N,), int64
        Index of the largest logit, on the CPU.
    """
    network.eval()
    predicted_N = torch.empty(len(inputs), dtype=torch.int64)
    order = torch.arange(len(inputs))
    for positions_B, batch in inputs.batches(
        order, batch_size=batch_size, augment=False, generator=torch.Generator(), device=device
    ):
        predicted_N[positions_B.cpu()] = network(batch).argmax(dim=1).cpu()
    return predicted_N
