"""Train a network from scratch on an annotated selection, and say how well it does on the test split."""

import dataclasses
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elfs.config import TrainConfig
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError
from elfs.evaluation.labels import labels_digest, true_labels
from elfs.evaluation.recorded import Journal
from elfs.evaluation.training import Accuracy, Trainer, require_labels, training_recipe
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import Outcome, run_step
from elfs.pipeline.graph import Stage
from elfs.pipeline.job import Job, Prepared, Result, StageCode, Step
from elfs.pipeline.selections import selected_rows, selection_name
from elfs.train.inputs import InputBuilder
from elfs.workspace.files import json_bytes
from elfs.workspace.workspace import Workspace

__all__ = ["CODE", "TrainReport", "prepare", "run", "train"]


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
    UsageError
        If there is no selection of that name.
    InputDataError
        If a selected image has no label, or it is the only one.
    """
    workspace = Workspace.open(path)
    name = selection_name(workspace, config.selection)
    config = dataclasses.replace(config, selection=name)
    needs = ("samples", "embeddings", f"selections/{name}")
    stage = Stage("train", needs, (f"models/{name}",), "elfs.evaluation.train", parallel=True)
    outcome: Outcome = run_step(Step(stage, f"train/{name}", needs, force, smoke), path, config, runtime)
    return TrainReport(outcome.summary, outcome.ran)


def prepare(config: TrainConfig, source_root: Path | None) -> Prepared:
    """Digest the table of labels; nothing where the source has labels of its own."""
    return Prepared(labels_digest(config.labels))


def run(job: Job, config: TrainConfig) -> Result:
    """Write ``models/<selection>``: the first seed's network, and a report of every seed's accuracy.

    The result of each seed is kept in the draft as soon as it is there, so that a killed run goes on at the next one.
    Refused where a selected image has no label, it is the only one, or there are more ranks than images.
    """
    table = SampleTable.from_tensors(job.workspace.arrays("samples"))
    truth = true_labels(job.workspace, table, config.labels)
    selected, said = selected_rows(job.workspace, table, str(config.selection))
    if said is not None:
        job.runtime.warn(said)
    rows = np.sort(selected)
    if len(rows) < 2:
        raise InputDataError(
            f"selection '{config.selection}' has {len(rows)} of its images in the pool: a network needs at least 2 to "
            "learn from."
        )
    require_labels(table, truth, rows)
    recipe, iterations = training_recipe(job.workspace, table, config, on_cpu=job.runtime.on_cpu)
    builder = InputBuilder(job.workspace, table, recipe, job.runtime, job.source_root)
    trainer = Trainer(builder, truth, iterations, rows, config.sync_batch_norm)
    artifact = f"models/{config.selection}"
    results = _results(job, trainer, range(config.seed, config.seed + config.seeds), artifact)
    if not job.runtime.ranks.is_first:
        return Result("", {})
    accuracies = [result.share for result in results if result.share is not None]
    summary = trainer.facts() | {"selection": config.selection, "images": len(rows)}
    summary |= {"accuracies": accuracies, "mean": None, "deviation": None}
    if accuracies:
        summary["mean"] = statistics.fmean(accuracies)
    if len(accuracies) > 1:
        summary["deviation"] = statistics.stdev(accuracies)
    job.draft.save_bytes(artifact, f"{artifact}.json", json_bytes(summary | {"classes": list(truth.names)}))
    headline = "trained" if summary["mean"] is None else f"accuracy {100 * summary['mean']:.2f} %"
    return Result(headline, summary, {artifact: {"classes": list(truth.names)}})


def _results(job: Job, trainer: Trainer, seeds: range, artifact: str) -> list[Accuracy]:
    """Train with every seed that is not in the draft yet; the network of the first one is kept.

    Only the first rank knows the results of earlier runs.
    """
    journal, ranks = Journal(job.draft.directory), job.runtime.ranks
    results: list[Accuracy] = []
    for seed in seeds:
        digest = trainer.digest(trainer.rows, seed)
        known = journal.get(digest) if ranks.is_first else None
        if ranks.share(known is not None):
            results += [known] if known is not None else []
            continue
        network, result = trainer.train_on_rows(trainer.rows, seed=seed)
        if ranks.is_first:
            if seed == seeds[0]:
                job.draft.save(artifact, {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()})
            journal.put(digest, result)
        results.append(result)
    return results


CODE = StageCode(run, prepare)
