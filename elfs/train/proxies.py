"""The proxies of the dynamics: one on all ranks, several on images one after the other, many on embeddings at once.

Shapes: P proxies, N samples of the pool, E epochs.
"""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from elfs.config.cheaper import EMBEDDING_PROXIES, IMAGE_PROXIES
from elfs.data.training_images import TrainingImages
from elfs.models.networks import MlpEnsemble, Network, build_network
from elfs.ops.folds import deal_folds
from elfs.ops.traces import TraceSums
from elfs.parallel.runtime import Runtime, Task
from elfs.train.classifier import predict, record_dynamics
from elfs.train.ensemble import EnsembleFit, half_of, predict_ensemble, record_ensemble
from elfs.train.features import Features
from elfs.train.fit import Fit
from elfs.train.inputs import InputBuilder
from elfs.train.numerics import threads_for
from elfs.train.recipes import Recipe
from elfs.train.seeding import derived_seed, generator
from elfs.workspace.tensors import load_tensors, save_tensors

__all__ = ["Proxies", "Recorded"]

_PART_BYTES = 2 << 30
"""Memory that the networks which are trained side by side may take; with more of them there are several parts."""

_FLOPS_PER_THREAD = 500_000_000
"""Of a step of all networks: about ten milliseconds of a CPU thread."""


@dataclass(frozen=True)
class Recorded:
    """What training left behind, besides the traces on disk.

    Attributes
    ----------
    state : dict of str to Tensor
        Parameters and buffers: of one network, or of several side by side.
    num_networks : int
        How many networks these are.
    predicted : Tensor of shape (n_proxies, n_samples), int32, or None
        What every proxy predicts in the end; None where there is one.
    trained : Tensor of shape (n_proxies, n_samples), bool
        Which samples each was trained on.
    """

    state: dict[str, Tensor]
    num_networks: int
    predicted: Tensor | None
    trained: Tensor


@dataclass(frozen=True)
class Proxies:
    """All proxies of a run, what they learn and where their traces wait until they are published.

    Attributes
    ----------
    builder : InputBuilder
        Made the inputs; its recipe says how many proxies there are and how each is trained.
    inputs : TrainingImages
        Of N samples.
    classes : Tensor of shape (n_samples,), int64
        Pseudo-label of each; on the CPU.
    num_epochs : int
        E.
    seed : int
        Seed of the dynamics.
    sync_batch_norm : bool
        Whether batch statistics are taken over all ranks.
    runtime : Runtime
        Ranks, device, progress.
    directory : Path
        Where checkpoints and the traces of every epoch go.
    """

    builder: InputBuilder
    inputs: TrainingImages
    classes: Tensor
    num_epochs: int
    seed: int
    sync_batch_norm: bool
    runtime: Runtime
    directory: Path

    @property
    def recipe(self) -> Recipe:
        """Hyper-parameters, the number of proxies and of folds."""
        return self.builder.recipe

    @property
    def averaged(self) -> bool:
        """Whether there are several proxies."""
        return self.recipe.proxies > 1

    @property
    def halved(self) -> bool:
        """Whether the proxies make two halves that leave out each sample equally often."""
        return self.averaged and self.recipe.proxies // self.recipe.folds % 2 == 0

    def record(self) -> Recorded | None:
        """Train all proxies; all ranks call this.

        Returns
        -------
        Recorded or None
            What is left; on the first rank alone.

        Raises
        ------
        UsageError
            If the loss is no longer finite, or batches are too small for batch norm on so many ranks.
        """
        if self.averaged and isinstance(self.inputs, Features):
            found = self._ensemble(self.inputs) if self.runtime.ranks.is_first else None
            self.runtime.ranks.wait()
            return found
        return self._one_after_the_other()

    def epoch(self, number: int) -> dict[str, Tensor]:
        """Return the traces of one epoch, the mean over the proxies, and the variance over these.

        Parameters
        ----------
        number : int
            Epoch, from 0.

        Returns
        -------
        dict of str to Tensor of shape (n_samples,)
            The traces, float16; ``correct`` uint8 where there is one proxy, else the share of the proxies, float16.
            With several proxies also ``<trace>_variance``, and with an even number of rounds of the folds
            ``<trace>_difference`` of the two halves, float32.
        """
        files = sorted(self.directory.glob(f"epoch-{number:05d}*.safetensors"))
        loaded = [
            {name: torch.from_numpy(np.array(value)) for name, value in load_tensors(file).items()} for file in files
        ]
        if not self.averaged:
            return loaded[0]
        sums = TraceSums.of(loaded[0])
        for more in loaded[1:]:
            sums.join(TraceSums.of(more))
        means = {name: mean_N.half() for name, mean_N in sums.means().items()}
        means |= {f"{name}_variance": value_N for name, value_N in sums.variances().items()}
        if not self.halved:
            return means
        return means | {f"{name}_difference": value_N for name, value_N in sums.differences().items()}

    def _store(self, part: int, epoch: int, traces: dict[str, Tensor]) -> None:
        part_name = f"-{part:04d}" if self.averaged else ""
        path = self.directory / f"epoch-{epoch:05d}{part_name}.safetensors"
        save_tensors(path, {name: trace_N.numpy() for name, trace_N in traces.items()})

    def _checkpoint(self, part: int) -> Path:
        return self.directory / (f"checkpoint-{part:04d}.safetensors" if self.averaged else "checkpoint.safetensors")

    def _member(self, number: int) -> Network:
        return build_network(
            self.recipe.network,
            num_classes=int(self.classes.max()) + 1,
            image_size=self.builder.image_size,
            dim=self.builder.dim,
            seed=derived_seed(self.seed, "network", number),
            hidden=self.recipe.hidden,
        )

    def _one_after_the_other(self) -> Recorded | None:
        """Train each proxy on all samples, by all ranks."""
        ranks = self.runtime.ranks
        first: dict[str, Tensor] = {}
        predicted: list[Tensor] = []
        for number in range(self.recipe.proxies):
            fit = self._fit(number)
            if ranks.is_first and fit.caveat and number == 0:
                self.runtime.warn(fit.caveat)
            label = f"dynamics: proxy {number + 1}" if self.averaged else "dynamics"
            steps = self.num_epochs * fit.steps_per_epoch()
            with self.runtime.long_task(label, steps, "steps", IMAGE_PROXIES) as task:
                self._record_one(fit, number, task)
            if ranks.is_first:
                first = first or {name: tensor.cpu() for name, tensor in fit.network.state_dict().items()}
                if self.averaged:
                    size = self.recipe.batch_size
                    predicted.append(predict(fit.network, self.inputs, batch_size=size, device=fit.device).int())
            ranks.wait()
        if not ranks.is_first:
            return None
        trained = torch.ones(self.recipe.proxies, len(self.classes), dtype=torch.bool)
        return Recorded(first, 1, torch.stack(predicted) if predicted else None, trained)

    def _fit(self, number: int) -> Fit:
        """Return how a proxy is trained by itself; the first as if it were the only one."""
        place = (number,) if number else ()
        return Fit.from_scratch(
            self.builder,
            self.inputs,
            self.classes,
            num_classes=int(self.classes.max()) + 1,
            seeds=(derived_seed(self.seed, "network", *place), derived_seed(self.seed, "dynamics", *place)),
            sync_batch_norm=self.sync_batch_norm,
        )

    def _record_one(self, fit: Fit, number: int, task: Task) -> None:
        def store(epoch: int, traces: dict[str, Tensor]) -> None:
            if self.averaged:
                sums = TraceSums(len(self.classes), torch.device("cpu"))
                seen = {name: trace.float()[None] for name, trace in traces.items()}
                sums.add(torch.arange(len(self.classes)), seen, torch.tensor([float(half_of(number, 1))]))
                traces = sums.tensors()
            self._store(number, epoch, traces)

        record_dynamics(fit, self.num_epochs, self._checkpoint(number), store, task)

    def _ensemble(self, inputs: Features) -> Recorded:
        """Train the networks on embeddings, as many at once as memory allows; on the first rank."""
        parts, trained = self._parts(inputs.dim), self._trained()
        states, predicted = [], []
        fits = [self._ensemble_fit(part, inputs, trained[part.start : part.stop]) for part in parts]
        steps = self.num_epochs * sum(fit.steps_per_epoch() for fit in fits)
        with self.runtime.long_task("dynamics", steps, "steps", EMBEDDING_PROXIES) as task:
            for number, fit in enumerate(fits):
                record_ensemble(
                    fit,
                    self.num_epochs,
                    self._checkpoint(number),
                    partial(self._store, number),
                    task,
                )
                predicted.append(predict_ensemble(fit))
                states.append({name: tensor.cpu() for name, tensor in fit.network.state_dict().items()})
        state = {name: torch.cat([each[name] for each in states]) for name in states[0]}
        return Recorded(state, self.recipe.proxies, torch.cat(predicted), trained)

    def _trained(self) -> Tensor:
        """Return which samples [P, N] each proxy is trained on: with F folds, each F of them leave out all in turn."""
        num_folds, rows = self.recipe.folds, []
        for number in range(self.recipe.proxies):
            if number % num_folds == 0:
                round_ = generator(self.seed, "folds", number // num_folds)
                fold_N = deal_folds(self.classes, num_folds, round_)
            rows.append(fold_N != number % num_folds if num_folds > 1 else torch.ones_like(fold_N, dtype=torch.bool))
        return torch.stack(rows)

    def _parts(self, dim: int) -> list[range]:
        """Return the numbers of the proxies that are trained side by side."""
        recipe, num_classes = self.recipe, int(self.classes.max()) + 1
        batch = min(recipe.batch_size, len(self.classes))
        values = 4 * recipe.hidden * (dim + num_classes) + batch * (2 * dim + 4 * recipe.hidden + 6 * num_classes)
        length = max(1, min(recipe.proxies, _PART_BYTES // (4 * values)))
        return [range(start, min(start + length, recipe.proxies)) for start in range(0, recipe.proxies, length)]

    def _ensemble_fit(self, numbers: range, inputs: Features, trained: Tensor) -> EnsembleFit:
        recipe, device = self.recipe, self.runtime.device()
        ranks = self.runtime.ranks.by_itself()
        network = MlpEnsemble([self._member(number) for number in numbers]).to(device)
        flops = 6 * min(recipe.batch_size, len(self.classes)) * network.hidden_weight.numel()
        return EnsembleFit(
            network,
            numbers,
            inputs,
            self.classes,
            trained,
            recipe,
            derived_seed(self.seed, "dynamics"),
            device,
            threads_for(math.ceil(flops / _FLOPS_PER_THREAD), ranks),
            ranks,
        )
