"""Train a network from scratch on an annotated selection, and say how well it does on the test split."""

import dataclasses
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from elfs.config import TrainConfig
from elfs.data.samples import SampleTable, Split
from elfs.errors import InputDataError
from elfs.evaluation.labels import TrueLabels, labels_digest, true_labels
from elfs.models.networks import build_network
from elfs.stages.execution import Outcome, Step, run_step
from elfs.stages.graph import Stage
from elfs.stages.job import Job, Prepared, Result
from elfs.stages.selections import require_fresh, selection_name
from elfs.train.classifier import Fit, predict, train_iterations
from elfs.train.inputs import InputBuilder
from elfs.train.recipes import RECIPES, Recipe, choose_recipe, override
from elfs.train.runtime import Runtime
from elfs.train.seeding import derived_seed
from elfs.workspace.files import json_bytes
from elfs.workspace.workspace import Workspace

__all__ = ["TrainReport", "prepare", "run", "train", "train_on_rows"]

_NAMED = 5
"""How many images without a label an error names."""


@dataclass(frozen=True)
class TrainReport:
    """Accuracy of networks that were trained on a selection.

    Attributes
    ----------
    summary : dict
        Selection, images, iterations, recipe, accuracy of each seed with mean and sample standard deviation.
    ran : bool
        False where the result was there already.
    """

    summary: dict[str, Any]
    ran: bool

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.summary

    def lines(self) -> list[str]:
        """Return the report for people."""
        facts = self.summary
        protocol = f"{facts['network']}, {facts['iterations']:,} iterations whatever the budget, last iterate"
        found = [f"selection   {facts['selection']}, {facts['images']:,} images", f"protocol    {protocol}"]
        if not facts["accuracies"]:
            return [*found, "accuracy    not measured: no test image has a label"]
        each = " ".join(f"{100 * accuracy:.2f}" for accuracy in facts["accuracies"])
        spread = "" if facts["deviation"] is None else f" +- {100 * facts['deviation']:.2f}"
        seeds = f"{len(facts['accuracies'])} seed{'s' if len(facts['accuracies']) > 1 else ''}: {each}"
        found.append(
            f"accuracy    {100 * facts['mean']:.2f} %{spread}   ({seeds}; {facts['test_images']:,} test images)"
        )
        return found


def train(
    path: Path, config: TrainConfig, runtime: Runtime, *, force: bool = False, smoke: bool = False
) -> TrainReport:
    """Train on a selection, unless the same training is recorded already.

    Parameters
    ----------
    path : Path
        The workspace.
    config : TrainConfig
        Selection, labels, recipe, seeds.
    runtime : Runtime
        Devices, workers, progress.
    force : bool
        Train even if the result is there.
    smoke : bool
        Record that these are smoke settings.

    Returns
    -------
    TrainReport
        For people and as JSON. The network of the first seed lies in the workspace as ``models/<selection>``.

    Raises
    ------
    MissingUpstreamError
        If there is no selection.
    StaleUpstreamError
        If the selection is stale.
    UsageError
        If there is no selection of that name.
    InputDataError
        If a selected image has no label, or it is the only one.
    """
    workspace = Workspace.open(path)
    name = selection_name(workspace, config.selection)
    require_fresh(workspace, name)
    config = dataclasses.replace(config, selection=name)
    needs = ("samples", "embeddings", f"selections/{name}")
    stage = Stage("train", needs, (f"models/{name}",), "elfs.evaluation.train")
    outcome: Outcome = run_step(Step(stage, f"train/{name}", needs, force, smoke), path, config, runtime)
    return TrainReport(outcome.summary, outcome.ran)


def prepare(config: TrainConfig, source_root: Path | None) -> Prepared:
    """Look at the table of labels.

    Parameters
    ----------
    config : TrainConfig
        Names the table.
    source_root : Path or None
        Without effect.

    Returns
    -------
    Prepared
        Its digest; nothing where the source has labels of its own.

    Raises
    ------
    InputDataError
        If there is no such file.
    """
    return Prepared(labels_digest(config.labels))


def run(job: Job, config: TrainConfig) -> Result:
    """Write ``models/<selection>``: the first seed's network and the report.

    Parameters
    ----------
    job : Job
        Workspace, draft, runtime.
    config : TrainConfig
        Selection, labels, recipe, seeds.

    Returns
    -------
    Result
        Accuracy of each seed, mean and spread.

    Raises
    ------
    InputDataError
        If a selected image has no label, or it is the only one.
    """
    table = SampleTable.from_tensors(job.workspace.arrays("samples"))
    truth = true_labels(job.workspace, table, config.labels)
    rows = np.array(job.workspace.arrays(f"selections/{config.selection}")["indices"])
    _require_labels(table, truth, rows)
    recipe, iterations = _recipe(job, config, table)
    builder = InputBuilder(job.workspace, table, recipe, job.runtime, job.source_root)
    accuracies, network = [], None
    for seed in range(config.seed, config.seed + config.seeds):
        trained, accuracy, num_test = train_on_rows(builder, truth, rows, iterations=iterations, seed=seed)
        network = network or trained
        accuracies += [] if accuracy is None else [accuracy]
    assert network is not None
    summary = dataclasses.asdict(recipe) | {"selection": config.selection, "images": len(rows)}
    summary |= {"image_size": builder.image_size if builder.uses_images else None}
    summary |= {"iterations": iterations, "accuracies": accuracies, "test_images": num_test, "mean": None}
    summary["deviation"] = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    if accuracies:
        summary["mean"] = statistics.fmean(accuracies)
    del summary["epochs"]
    artifact = f"models/{config.selection}"
    job.draft.save(artifact, {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()})
    job.draft.save_bytes(artifact, f"{artifact}.json", json_bytes(summary | {"classes": list(truth.names)}))
    headline = "trained" if summary["mean"] is None else f"accuracy {100 * summary['mean']:.2f} %"
    return Result(headline, summary, {artifact: {"classes": list(truth.names)}})


def _require_labels(table: SampleTable, truth: TrueLabels, rows: NDArray[np.int64]) -> None:
    if len(rows) < 2:
        raise InputDataError("the selection has one image: a network needs at least 2 to learn from.")
    missing = rows[truth.values[rows] < 0]
    if len(missing):
        named = ", ".join(repr(name) for name in table.ids(missing[:_NAMED]))
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise InputDataError(f"{len(missing)} of {len(rows)} selected images have no label: {named}{more}.")


def _recipe(job: Job, config: TrainConfig, table: SampleTable) -> tuple[Recipe, int]:
    """Return the recipe that suits the whole pool, so that every budget is trained alike, and the iterations."""
    side = job.workspace.manifest.artifacts["samples"].metadata["image_side"]
    num_rows = int(np.count_nonzero(table.eligible()))
    recipe = choose_recipe(num_rows, side) if config.recipe is None else RECIPES[config.recipe]
    recipe = override(
        recipe,
        network=config.network or ("mlp" if side is None else None),
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        image_size=config.image_size,
    )
    return recipe, config.iterations or recipe.iterations


def train_on_rows(
    builder: InputBuilder, truth: TrueLabels, rows: NDArray[np.int64], *, iterations: int, seed: int
) -> tuple[nn.Module, float | None, int]:
    """Train one network on some rows and test it.

    Parameters
    ----------
    builder : InputBuilder
        Makes network inputs.
    truth : TrueLabels
        Labels of at least those rows.
    rows : ndarray of shape (n,), int64
        What to train on.
    iterations : int
        Steps.
    seed : int
        Seed of weights, order and augmentation.

    Returns
    -------
    tuple of (nn.Module, float or None, int)
        The network after its last step, its accuracy on the labelled test samples in ``[0, 1]`` (None if there are
        none), and their number.
    """
    recipe, runtime = builder.recipe, builder.runtime
    device = runtime.device()
    network = build_network(
        recipe.network,
        num_classes=len(truth.names),
        image_size=builder.image_size,
        dim=builder.dim,
        seed=derived_seed(seed, "train-network"),
    ).to(device)
    labels = torch.from_numpy(truth.values[rows])
    fit = Fit(
        network, builder.build(rows, "train"), labels, recipe, derived_seed(seed, "train"), device, builder.num_threads
    )
    with runtime.progress.task(f"train, seed {seed}", iterations, "steps") as task:
        train_iterations(fit, iterations, task)
    table = builder.table
    test_rows = np.flatnonzero((table.split == Split.TEST) & table.usable() & (truth.values >= 0))
    if len(test_rows) == 0:
        return network, None, 0
    predicted: Tensor = predict(network, builder.build(test_rows, "test"), batch_size=512, device=device)
    accuracy = float((predicted == torch.from_numpy(truth.values[test_rows])).double().mean())
    return network, accuracy, len(test_rows)
