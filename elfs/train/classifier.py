"""Train a classifier: one loop for the proxy whose dynamics are recorded and for the network on the coreset.

Where several ranks train one network, each computes a part of every batch, and the mean of their gradients is that of
the whole batch. Shapes: B samples of the part of a batch, C classes, N samples of the pool, E epochs.
"""

import itertools
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elfs.catalog import NETWORKS
from elfs.data.batch_part import BatchPart
from elfs.data.training_images import TrainingImages
from elfs.ops.linear_classifier import LinearClassifier, fit_linear_classifier
from elfs.ops.traces import trace_batch
from elfs.parallel.runtime import Task
from elfs.parallel.shared_batch_norm import with_shared_batch_norm
from elfs.train.checkpoint import SavingPace, load_checkpoint, save_checkpoint
from elfs.train.fit import Fit
from elfs.train.numerics import mixed_precision, repeatable, require_finite, threads_for
from elfs.train.recorded_step import RecordedStep, recording_device, set_rate

__all__ = ["predict", "predict_with_confidence", "record_dynamics", "train_on_labels"]

_ROWS_AT_ONCE = 16_384
_PRODUCTS_PER_THREAD = 10_000_000
"""Of one look at the loss of a linear network: about two milliseconds of a CPU thread."""

_STEPS_PER_LOOK = 1_000
"""After how many steps on a coreset a loss that is not finite is noticed; each look waits for the GPU."""


class _FitState:
    """A fit under way: the network as it is called, the optimiser, the labels where they are needed, the loss so far.

    Making one waits for the other ranks.
    """

    def __init__(self, fit: Fit, optimizer: torch.optim.Optimizer) -> None:
        self.fit, self.optimizer = fit, optimizer
        self.labels_N = fit.classes.to(fit.device)
        fit.network.train()
        fit.require_statistics()
        fit.ranks.wait()
        network = with_shared_batch_norm(fit.network, fit.ranks, fit.device) if fit.shares_statistics else fit.network
        self.network = fit.ranks.data_parallel(network)
        self.total_loss = torch.zeros((), device=fit.device)
        # What a network of timm does may not be something that can be recorded.
        is_ours = fit.recipe.network in NETWORKS
        self._recorded_step = RecordedStep(recording_device(fit.device, fit.ranks) if is_ours else None)

    def step(self, rate: float, positions_B: Tensor, inputs: Tensor, num_samples: int) -> tuple[Tensor, Tensor]:
        """Return logits [B, C] and labels [B] of a part of a batch of `num_samples`, after the step that they led to.

        On a GPU the next step writes over the logits.
        """
        labels_B = self.labels_N[positions_B.to(self.labels_N.device, non_blocking=True)]
        set_rate(self.optimizer, rate)
        if self.fit.ranks.size == 1:
            logits_BC = self._recorded_step(self._whole, inputs, labels_B)
        else:
            logits_BC = self._part(inputs, labels_B, num_samples)
        self.fit.ranks.beat()
        return logits_BC, labels_B

    def _whole(self, inputs: Tensor, labels_B: Tensor) -> Tensor:
        return self._part(inputs, labels_B, len(labels_B))

    def _part(self, inputs: Tensor, labels_B: Tensor, num_samples: int) -> Tensor:
        """Take a step at the rate that is set, and return the logits that led to it."""
        with mixed_precision(self.fit.device):
            logits: Tensor = self.network(inputs)
        logits_BC = logits.float()[: len(labels_B)]  # without what stands in for an empty part
        # The mean over the ranks, which their gradients undergo, is then the mean over the samples of the whole batch.
        loss = F.cross_entropy(logits_BC, labels_B, reduction="sum") / (num_samples / self.fit.ranks.size)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.total_loss += loss.detach()
        return logits_BC.detach()

    def check_finite(self, rate: float, when: str) -> None:
        """Stop, on all ranks alike, before a diverged network is written anywhere; rarely, since it waits for GPUs."""
        ranks = self.fit.ranks
        require_finite(float(ranks.sum_(self.total_loss.clone())) / ranks.size, rate, when)

    def finish(self) -> None:
        """Give all ranks the running statistics of the first; before each forward pass they had them anyway."""
        for buffer in self.fit.network.buffers():
            if buffer.is_floating_point():
                self.fit.ranks.sum_(buffer if self.fit.ranks.is_first else buffer.zero_())


def record_dynamics(
    fit: Fit, num_epochs: int, checkpoint: Path, store: Callable[[int, dict[str, Tensor]], None], task: Task
) -> float:
    """Train a proxy and record how every sample is learned.

    The record is taken from the training forward pass (augmented, train mode), each sample exactly once per epoch.
    After each epoch the first rank stores the traces and, as often as `SavingPace` says, a checkpoint; a run that finds
    one goes on after it and ends with the same numbers. Of the traces, the other ranks keep their own part of one
    epoch.

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
        Takes the epoch number and its traces, each of shape (N,): float16, ``correct`` uint8. Called on the first rank
        alone.
    task : Task
        Advanced by one per step.

    Returns
    -------
    float
        Share of the samples whose prediction was the pseudo-label in the last epoch, in ``[0, 1]``; on every rank.

    Raises
    ------
    UsageError
        If the loss is no longer finite, or batches are too small for batch norm on so many ranks.
    """
    optimizer = fit.optimizer()
    resumed = load_checkpoint(checkpoint, {"network": fit.network}, optimizer, fit.ranks)
    first_epoch, extra = resumed or (0, {})
    agreement = float(extra["agreement"]) if resumed else 0.0
    task.resume(first_epoch * fit.steps_per_epoch(), f"agreement {agreement:.2f}" if resumed else "")
    training, pace = _FitState(fit, optimizer), SavingPace()
    with repeatable(fit.num_threads), fit.ranks.working():
        for epoch in range(first_epoch, num_epochs):
            traces = _gathered(fit, epoch, _recorded_epoch(training, epoch, num_epochs, task))
            if fit.ranks.is_first:
                agreement = float(traces["correct"].double().mean())
                store(epoch, {name: trace.cpu() for name, trace in traces.items()})
                if pace.is_due or epoch + 1 == num_epochs:
                    extra = {"agreement": torch.tensor(agreement, dtype=torch.float64)}
                    with pace.saving():
                        save_checkpoint(checkpoint, epoch + 1, {"network": fit.network}, optimizer, extra)
                loss = float(training.total_loss) / fit.steps_per_epoch()
                task.advance(0, f"loss {loss:.2f}, agreement {agreement:.2f}")
        training.finish()
    return float(fit.ranks.broadcast(agreement))


def _recorded_epoch(training: _FitState, number: int, num_epochs: int, task: Task) -> dict[str, Tensor]:
    """Train for one epoch and return the traces of this rank's samples in the order in which they came.

    All ranks return equally many; what the shorter ones lack at the end stays 0.
    """
    fit = training.fit
    steps = fit.steps_per_epoch()
    length = sum(len(BatchPart(0, fit.ranks.size).cut(batch)) for batch in fit.whole_batches(number))
    training.total_loss.zero_()
    traces: dict[str, Tensor] = {}
    done = 0
    for index, (positions_B, inputs, num_samples) in enumerate(fit.epoch(number)):
        rate = fit.rate(number * steps + index, num_epochs * steps)
        found = trace_batch(*training.step(rate, positions_B, inputs, num_samples))
        for name, value_B in found.items():
            dtype = torch.uint8 if value_B.dtype == torch.uint8 else torch.float16
            if name not in traces:
                traces[name] = torch.zeros(length, dtype=dtype, device=fit.device)
            traces[name][done : done + len(positions_B)] = value_B.to(dtype)
        done += len(positions_B)
        task.advance()
    training.check_finite(rate, f"epoch {number + 1}")
    return traces


def _gathered(fit: Fit, number: int, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the traces [N] of an epoch by position on the first rank, which knows the order; nothing on the others."""
    parts = [BatchPart(rank, fit.ranks.size) for rank in range(fit.ranks.size)] if fit.ranks.is_first else []
    whole = fit.whole_batches(number) if fit.ranks.is_first else []
    places = [torch.cat([part.cut(batch) for batch in whole]).to(fit.device) for part in parts]
    traces: dict[str, Tensor] = {}
    for name, values in own.items():
        for positions, part in zip(places, fit.ranks.gather(values), strict=True):
            trace = traces.setdefault(name, torch.zeros(len(fit.inputs), dtype=part.dtype, device=fit.device))
            trace[positions] = part[: len(positions)]
    return traces


def train_on_labels(fit: Fit, num_iterations: int, task: Task) -> None:
    """Train for a fixed number of steps, whatever the number of samples; a linear network to the minimum of its loss.

    That minimum is of the mean cross-entropy plus half the weight decay times the squared length of the parameters,
    which the steps of the other networks go down, too. 600 steps do not reach it (benchmarks/RESULTS.md).

    Parameters
    ----------
    fit : Fit
        Network, inputs, labels, recipe. The network is changed in place and left in evaluation mode, on all ranks
        alike.
    num_iterations : int
        Steps; for a linear network the most iterations of L-BFGS.
    task : Task
        Advanced by one per step.

    Raises
    ------
    UsageError
        If the loss is no longer finite, or batches are too small for batch norm on so many ranks.
    """
    if fit.recipe.network == "linear":
        _minimise(fit, num_iterations, task)
        return
    training = _FitState(fit, fit.optimizer())
    epochs = itertools.chain.from_iterable(fit.epoch(number) for number in itertools.count())
    with repeatable(fit.num_threads), fit.ranks.working():
        for step, batch in enumerate(itertools.islice(epochs, num_iterations)):
            rate = fit.rate(step, num_iterations)
            training.step(rate, *batch)
            task.advance()
            if (step + 1) % _STEPS_PER_LOOK == 0 or step + 1 == num_iterations:
                training.check_finite(rate, f"{step + 1:,} steps")
        training.finish()
    fit.network.eval()


def _minimise(fit: Fit, most_iterations: int, task: Task) -> None:
    """Bring a linear network to the minimum of its loss; the first rank does, and the others get what it found."""
    layer, done = fit.network.classifier, 0
    assert isinstance(layer, nn.Linear)

    def advance() -> None:
        nonlocal done
        fit.ranks.beat()
        if done < most_iterations:
            done += 1
            task.advance()

    threads = threads_for(len(fit.inputs) * layer.weight.numel() // _PRODUCTS_PER_THREAD, fit.ranks)
    with repeatable(threads), torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        if fit.ranks.is_first:
            with fit.ranks.working():
                found = _minimum(fit, layer.out_features, most_iterations, advance)
            layer.weight.copy_(found.weights)
            layer.bias.copy_(found.bias)
            task.advance(most_iterations - done)
        fit.ranks.wait()
        for parameter in layer.parameters():
            fit.ranks.sum_(parameter)
    fit.network.eval()


def _minimum(fit: Fit, num_classes: int, most_iterations: int, advance: Callable[[], None]) -> LinearClassifier:
    """Return the linear classifier of least loss on all samples at once."""
    batches = fit.inputs.batches(
        torch.arange(len(fit.inputs)),
        batch_size=_ROWS_AT_ONCE,
        augment=False,
        generator=torch.Generator(),
        device=fit.device,
    )
    features_ND = torch.cat([inputs for _, inputs in batches])
    labels_N, penalty = fit.classes.to(fit.device), fit.recipe.weight_decay
    with torch.enable_grad():
        return fit_linear_classifier(
            features_ND, labels_N, num_classes, penalty=penalty, most_steps=most_iterations, advance=advance
        )


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
    return predict_with_confidence(network, inputs, batch_size=batch_size, device=device)[0]


@torch.no_grad()
def predict_with_confidence(
    network: nn.Module, inputs: TrainingImages, *, batch_size: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the class that a network gives to each sample, and how sure it is.

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
    predicted : Tensor of shape (N,), int64
        Index of the largest logit, on the CPU.
    confidence : Tensor of shape (N,), float32
        Its softmax, in ``(0, 1]``, on the CPU.
    """
    network.eval()
    predicted_N = torch.empty(len(inputs), dtype=torch.int64)
    confidence_N = torch.empty(len(inputs))
    order = torch.arange(len(inputs))
    for positions_B, batch in inputs.batches(
        order, batch_size=batch_size, augment=False, generator=torch.Generator(), device=device
    ):
        logits_BC = network(batch).float()
        predicted_N[positions_B.cpu()] = logits_BC.argmax(dim=1).cpu()
        confidence_N[positions_B.cpu()] = logits_BC.softmax(dim=1).amax(dim=1).cpu()
    return predicted_N, confidence_N
