"""Train a network from scratch on an annotated selection, and say how well it does on the test split."""

import dataclasses
import statistics
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from elfs.config import TrainConfig
from elfs.data.samples import SampleTable
from elfs.evaluation.labels import TrueLabels, labels_digest
from elfs.evaluation.recorded import Journal
from elfs.evaluation.train_plan import TrainPlan, checked, train_call
from elfs.evaluation.train_report import TrainReport
from elfs.evaluation.training import Accuracy, Trainer
from elfs.ops.folds import deal_folds
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import run_call
from elfs.pipeline.job import Job, Outcome, Prepared, Result, StageCode
from elfs.pipeline.selections import some
from elfs.pipeline.training_facts import LabelFacts, TrainFacts
from elfs.train.seeding import generator
from elfs.workspace.files import json_bytes
from elfs.workspace.workspace import Workspace

__all__ = ["CODE", "prepare", "run", "train"]


def train(
    path: Path, config: TrainConfig, runtime: Runtime, *, force: bool = False, smoke: bool = False
) -> TrainReport:
    """Train on a selection, unless the same training is recorded already.

    Without ``--labels`` what people have annotated counts, where they have; without a selection all of it is learned
    from, and the network is called ``annotations``.

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
        If fewer than two of the selected images have a label.
    """
    call, config = train_call(Workspace.open(path), config, force=force, smoke=smoke)
    outcome: Outcome = run_call(call, path, config, runtime)
    return TrainReport(outcome.summary, outcome.ran, path)


def prepare(config: TrainConfig, source_root: Path | None) -> Prepared:
    """Digest the table of labels; nothing where the source has labels of its own."""
    return Prepared(labels_digest(config.labels))


def run(job: Job, config: TrainConfig) -> Result:
    """Write ``models/<selection>``: the first seed's network, and a report of every seed's accuracy.

    The result of each training is kept in the draft as soon as it is there, so that a killed run goes on at the next
    one. Refused where fewer than two of the images have a label, or there are more ranks than images.
    """
    plan = checked(job.workspace, job.inputs, config, job.runtime, job.source_root)
    trainer, table, truth = plan.trainer, plan.trainer.builder.table, plan.trainer.truth
    artifact = f"models/{config.selection}"
    results = _results(job, plan, config, artifact)
    if not job.runtime.ranks.is_first:
        return Result("", {})
    accuracies = tuple(result.share for result in results if result.share is not None)
    facts = TrainFacts(
        selection=str(config.selection),
        images=len(trainer.rows),
        accuracies=accuracies,
        mean=statistics.fmean(accuracies) if accuracies else None,
        deviation=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        folds=plan.folds,
        held_out=len(plan.held_out),
        groups=None if plan.groups is None else len(np.unique(plan.groups)),
        unlabelled=int(np.count_nonzero(table.eligible() & (truth.values < 0))),
        confusion=Accuracy.total_of(results).confusion,
        labels=_about_labels(table, truth, plan.selected, plan.held_out),
        classes=truth.names,
    )
    summary = trainer.facts() | facts.as_json()
    learned_from = zip(table.ids(trainer.rows), truth.values[trainer.rows].tolist(), strict=True)
    job.draft.save_bytes(
        artifact, f"{artifact}.json", json_bytes(summary | {"learned_from": [[*pair] for pair in learned_from]})
    )
    headline = "trained" if facts.mean is None else f"accuracy {100 * facts.mean:.2f} %"
    return Result(headline, summary, {artifact: {"classes": list(truth.names)}})


def _results(job: Job, plan: TrainPlan, config: TrainConfig, artifact: str) -> list[Accuracy]:
    """Train with every seed what is not in the draft yet; the network of the first one is kept.

    Without a test image, the accuracy of a seed is that of its cross-validation. Only the first rank knows the results
    of earlier runs.
    """
    trainer, folds, groups = plan.trainer, plan.folds, plan.groups
    seeds = range(config.seed, config.seed + config.seeds)
    if not folds:
        return [_result(job, trainer, seed, keep=artifact if seed == seeds[0] else None) for seed in seeds]
    _result(job, trainer, seeds[0], keep=artifact)
    results = []
    for seed in seeds:
        classes = torch.from_numpy(trainer.truth.values[trainer.rows])
        together = None if groups is None else torch.from_numpy(groups)
        fold_of = deal_folds(classes, folds, generator(seed, "folds"), together).numpy()
        tested = [_result(job, trainer, seed, held_out=trainer.rows[fold_of == fold]) for fold in range(folds)]
        results.append(Accuracy.total_of(tested))
    return results


def _result(
    job: Job, trainer: Trainer, seed: int, *, held_out: NDArray[np.int64] | None = None, keep: str | None = None
) -> Accuracy:
    """Return the result of one training, which is done only where the draft does not have it."""
    journal, ranks = Journal(job.draft.directory), job.runtime.ranks
    rows = trainer.rows if held_out is None else np.setdiff1d(trainer.rows, held_out)
    digest = trainer.digest(rows, seed, held_out)
    known = journal.get(digest) if ranks.is_first else None
    if ranks.broadcast(known is not None):
        return known or Accuracy(0, 0)
    network, result = trainer.train_on_rows(rows, seed=seed)
    if held_out is not None:
        result = trainer.test(network, held_out)
    if ranks.is_first:
        if keep is not None:
            job.draft.save(keep, {name: tensor.cpu().numpy() for name, tensor in network.state_dict().items()})
        journal.put(digest, result)
    return result


def _about_labels(
    table: SampleTable, truth: TrueLabels, selected: NDArray[np.int64], held: NDArray[np.int64]
) -> LabelFacts:
    """Return what became of the labels: of how many selected images, and of which others."""
    missing = selected[truth.values[selected] < 0]
    facts = LabelFacts(
        selected=len(selected),
        labelled=len(selected) - len(missing),
        without=some(table.ids(missing)) if len(missing) else "",
        outside=0,
        remarks=(),
    )
    if (given := truth.given) is None:
        return facts
    used = np.concatenate([selected, held])
    others = np.setdiff1d(np.flatnonzero(table.eligible() & (truth.values >= 0)), used)
    return dataclasses.replace(facts, outside=len(others), remarks=tuple(given.remarks()), **given.counts())  # type: ignore[arg-type]  # one field each


CODE = StageCode(run, prepare)
