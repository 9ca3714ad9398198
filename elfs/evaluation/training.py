"""Networks from scratch on rows with true labels, all of one call under one protocol; images are read once."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import elfs
from elfs.config import TrainingConfig
from elfs.config.cheaper import TRAINING
from elfs.data.samples import SampleTable, Split
from elfs.data.training_images import Subset, TrainingImages
from elfs.errors import InputDataError, UsageError
from elfs.evaluation.labels import TrueLabels
from elfs.parallel.limits import require_rows
from elfs.parallel.runtime import Task
from elfs.pipeline.selections import some
from elfs.pipeline.source_facts import SourceFacts
from elfs.train.classifier import predict, train_on_labels
from elfs.train.fit import Fit
from elfs.train.inputs import InputBuilder
from elfs.train.recipes import Recipe, recipe_for
from elfs.train.seeding import derived_seed
from elfs.workspace.files import digest_json
from elfs.workspace.workspace import Workspace

__all__ = ["Accuracy", "Trainer", "labelled_rows", "labelled_test_rows", "training_recipe"]


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What a network got right on the labelled test images.

    Attributes
    ----------
    correct, total : int
        Images that it names rightly, and all of them; 0 of 0 where there are none.
    confusion : tuple of (int, int, int)
        True class, class that it named, and how many images; only what is not 0, and only where it was asked for.
    """

    correct: int
    total: int
    confusion: tuple[tuple[int, int, int], ...] = ()

    @property
    def share(self) -> float | None:
        """In ``[0, 1]``, higher = better; None where there is no test image."""
        return self.correct / self.total if self.total else None

    @classmethod
    def total_of(cls, parts: Sequence["Accuracy"]) -> "Accuracy":
        """Return the result over the images of several tests.

        Parameters
        ----------
        parts : sequence of Accuracy
            Of networks that were tested apart.

        Returns
        -------
        Accuracy
            Sums of everything.
        """
        counted: Counter[tuple[int, int]] = Counter()
        for part in parts:
            counted.update({(true, named): count for true, named, count in part.confusion})
        confusion = tuple((true, named, count) for (true, named), count in sorted(counted.items()))
        return cls(sum(part.correct for part in parts), sum(part.total for part in parts), confusion)


def labelled_rows(table: SampleTable, truth: TrueLabels, rows: NDArray[np.int64], least: int) -> NDArray[np.int64]:
    """Return those of some rows that have a label.

    Parameters
    ----------
    table : SampleTable
        Their names.
    truth : TrueLabels
        The labels.
    rows : ndarray of shape (n,), int64
        Rows of the workspace.
    least : int
        How many there have to be.

    Returns
    -------
    ndarray of shape (m,), int64
        In their order.

    Raises
    ------
    InputDataError
        If there are fewer; the message names the first ones that have none, and says what else came of the labels.
    """
    missing = rows[truth.values[rows] < 0]
    if len(rows) - len(missing) < least:
        named = some(table.ids(missing)) if len(missing) else "none is left"
        remarks = "" if truth.given is None else "".join(f" {remark}." for remark in truth.given.remarks())
        raise InputDataError(f"{len(missing):,} of {len(rows):,} selected images have no label: {named}.{remarks}")
    return rows[truth.values[rows] >= 0]


def labelled_test_rows(table: SampleTable, truth: TrueLabels) -> NDArray[np.int64]:
    """Return the rows that networks are tested on.

    Parameters
    ----------
    table : SampleTable
        The samples.
    truth : TrueLabels
        The labels.

    Returns
    -------
    ndarray of shape (n,), int64
        Usable rows of the test split that have a label, ascending.
    """
    return np.flatnonzero((table.split == Split.TEST) & table.usable() & (truth.values >= 0))


def training_recipe(
    workspace: Workspace, table: SampleTable, config: TrainingConfig, *, on_cpu: bool
) -> tuple[Recipe, int]:
    """Return the recipe that suits the whole pool, so that every budget is trained alike, and the iterations.

    Parameters
    ----------
    workspace : Workspace
        Its manifest says how large the images are.
    table : SampleTable
        The samples.
    config : TrainingConfig
        What the user asked for.
    on_cpu : bool
        Whether it is trained on a CPU.

    Returns
    -------
    tuple of (Recipe, int)
        Hyper-parameters and steps.

    Raises
    ------
    UsageError
        If a batch size or a learning rate is given for a linear network, which has none.
    """
    side = workspace.metadata("samples", SourceFacts).image_side
    num_rows = int(np.count_nonzero(table.eligible()))
    recipe = replace(recipe_for(config, num_rows, side, on_cpu=on_cpu), standardize=False)
    if recipe.network == "linear":
        for option, value in (("--batch-size", config.batch_size), ("--learning-rate", config.learning_rate)):
            if value is not None:
                raise UsageError(
                    f"{option} is {value:g}, but a linear network is no matter of steps: it goes to the minimum of its "
                    f"loss. Leave {option} out, or use --network mlp."
                )
    return recipe, config.iterations or recipe.iterations


@dataclass
class Trainer:
    """Trains networks on parts of some rows and tests them; nothing is read before it is needed, nothing twice.

    Attributes
    ----------
    builder : InputBuilder
        Makes network inputs, by its recipe.
    truth : TrueLabels
        Labels of at least `rows`.
    iterations : int
        Steps of each training, whatever the number of rows.
    rows : ndarray of shape (n,), int64
        Every row that any of the networks is trained on, ascending.
    sync_batch_norm : bool
        Whether several ranks that train one network take batch statistics over all of them.
    held_out : ndarray of shape (k,), int64, or None
        Rows of the pool that are tested on as well as those of the test split.
    confusion : bool
        Whether results say which classes are taken for which.
    """

    builder: InputBuilder
    truth: TrueLabels
    iterations: int
    rows: NDArray[np.int64]
    sync_batch_norm: bool = True
    held_out: NDArray[np.int64] | None = None
    confusion: bool = False
    _warned: bool = field(default=False, init=False)
    _begun: bool = field(default=False, init=False)

    @cached_property
    def test_rows(self) -> NDArray[np.int64]:
        """Rows that the networks are tested on, ascending."""
        rows = labelled_test_rows(self.builder.table, self.truth)
        return rows if self.held_out is None else np.union1d(rows, self.held_out)

    @cached_property
    def _inputs(self) -> TrainingImages:
        return self.builder.build(self.rows, "train")

    @cached_property
    def _test_inputs(self) -> TrainingImages:
        return self.builder.build(self.test_rows, "test")

    def read(self) -> None:
        """Read the inputs now; otherwise the first training does."""
        _ = self._inputs, self._test_inputs

    def facts(self) -> dict[str, Any]:
        """Return the protocol as plain JSON values: the recipe, the steps, the image size, the number of test images.

        Returns
        -------
        dict
            The same for every network of this trainer.
        """
        facts = dataclasses.asdict(self.builder.recipe)
        del facts["epochs"]
        facts |= {"iterations": self.iterations, "test_images": len(self.test_rows)}
        return facts | {"image_size": self.builder.image_size if self.builder.uses_images else None}

    def digest(self, rows: NDArray[np.int64], seed: int, held_out: NDArray[np.int64] | None = None) -> str:
        """Return the digest of all that decides the result of one training.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            What would be trained on, in any order.
        seed : int
            Seed of weights, order and augmentation.
        held_out : ndarray of shape (k,), int64, or None
            What the network is tested on instead of the test images.

        Returns
        -------
        str
            Of samples (and embeddings, where the network sees those), rows, labels, protocol, seed (but for a linear
            network), kind of device and version of elfs.
        """
        rows = np.sort(rows)
        artifacts = self.builder.workspace.manifest.artifacts
        read = ("samples",) if self.builder.uses_images else ("samples", "embeddings")
        drawn = None if self.builder.recipe.network == "linear" else seed  # that one has no chance in it
        decisive: dict[str, Any] = {"inputs": [artifacts[name].digest for name in read], "seed": drawn}
        decisive |= {"rows": _hex(rows), "labels": _hex(self.truth.values[rows]), "classes": len(self.truth.names)}
        decisive |= {"test": _hex(self.test_rows), "test_labels": _hex(self.truth.values[self.test_rows])}
        decisive |= {"device": self.builder.runtime.device().type, "version": elfs.__version__}
        protocol = self.facts()
        del protocol["name"]
        if held_out is not None:
            decisive |= {"held_out": _hex(held_out), "held_out_labels": _hex(self.truth.values[held_out])}
        if self.confusion:
            decisive["confusion"] = True
        return digest_json(decisive | {"protocol": protocol})

    def train_on_rows(self, rows: NDArray[np.int64], *, seed: int, label: str = "train") -> tuple[nn.Module, Accuracy]:
        """Train one network on some rows and test it once, after its last step.

        The ranks of the builder's runtime do so together; each tests on some of the images.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            A part of the trainer's rows, in any order: a set gives one result.
        seed : int
            Seed of weights, order and augmentation.
        label : str
            What the progress display calls this.

        Returns
        -------
        tuple of (nn.Module, Accuracy)
            The network, and what it got right; on every rank.

        Raises
        ------
        InputDataError
            If there are more ranks than rows.
        """
        builder, ranks = self.builder, self.builder.runtime.ranks
        require_rows(len(rows), ranks)
        rows = np.sort(rows)
        inputs = Subset(self._inputs, torch.from_numpy(np.searchsorted(self.rows, rows)))
        labels = torch.from_numpy(self.truth.values[rows])
        fit = Fit.from_scratch(
            builder,
            inputs,
            labels,
            num_classes=len(self.truth.names),
            seeds=(derived_seed(seed, "train-network"), derived_seed(seed, "train")),
            sync_batch_norm=self.sync_batch_norm,
        )
        if fit.caveat and ranks.is_first and not self._warned:
            builder.runtime.warn(fit.caveat)
            self._warned = True
        with self._task(f"{label}, seed {seed}") as task:
            train_on_labels(fit, self.iterations, task)
        return fit.network, self.test(fit.network)

    def _task(self, label: str) -> AbstractContextManager[Task]:
        """Open a training; the first one says if it will take long, which tells what the others will take."""
        runtime, is_first, self._begun = self.builder.runtime, not self._begun, True
        if is_first:
            return runtime.long_task(label, self.iterations, "steps", TRAINING)
        return runtime.progress.task(label, self.iterations, "steps")

    def test(self, network: nn.Module, held_out: NDArray[np.int64] | None = None) -> Accuracy:
        """Return what a network gets right; each of the builder's ranks looks at some of the images.

        Parameters
        ----------
        network : nn.Module
            On every rank the same.
        held_out : ndarray of shape (k,), int64, or None
            Rows of the trainer to test on; None for the test images.

        Returns
        -------
        Accuracy
            On every rank.
        """
        rows, ranks = self.test_rows if held_out is None else held_out, self.builder.runtime.ranks
        if len(rows) == 0:
            return Accuracy(0, 0)
        own = torch.arange(*ranks.part(len(rows)))
        if held_out is None:
            inputs = Subset(self._test_inputs, own)
        else:
            inputs = Subset(self._inputs, torch.from_numpy(np.searchsorted(self.rows, held_out))[own])
        predicted = predict(network, inputs, batch_size=512, device=self.builder.runtime.device()).tolist()
        pairs = Counter(zip(self.truth.values[rows][own.numpy()].tolist(), predicted, strict=True))
        counted: Counter[tuple[int, int]] = Counter()
        for part in ranks.collect([[true, named, count] for (true, named), count in pairs.items()]):
            counted.update({(true, named): count for true, named, count in part})
        correct = sum(count for (true, named), count in counted.items() if true == named)
        confusion = tuple((true, named, count) for (true, named), count in sorted(counted.items()))
        return Accuracy(correct, len(rows), confusion if self.confusion else ())


def _hex(values: NDArray[np.int64]) -> str:
    return hashlib.sha256(values.astype("<i8").tobytes()).hexdigest()
