"""Train a network from scratch on an annotated selection, and say how well it does on the test split."""

import dataclasses
import statistics
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from elfs.annotations.groups import ARTIFACT as GROUPS
from elfs.annotations.groups import kept_groups
from elfs.annotations.kept import ARTIFACT, kept_annotations
from elfs.config import TrainConfig
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError
from elfs.evaluation.labels import TrueLabels, annotated_labels, labels_digest, true_labels
from elfs.evaluation.recorded import Journal
from elfs.evaluation.train_report import TrainReport
from elfs.evaluation.training import Accuracy, Trainer, labelled_rows, training_recipe
from elfs.ops.folds import deal_folds
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import run_call
from elfs.pipeline.graph import Stage
from elfs.pipeline.holdouts import holdouts, rows_of_selections
from elfs.pipeline.job import Job, Outcome, Prepared, Result, StageCall, StageCode
from elfs.pipeline.selections import selected_rows, selection_name, some
from elfs.pipeline.training_facts import LabelFacts, TrainFacts
from elfs.train.inputs import InputBuilder
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
    workspace = Workspace.open(path)
    annotated = (ARTIFACT,) if config.labels is None and workspace.has(ARTIFACT) else ()
    everything = bool(annotated) and config.selection is None
    name = ARTIFACT if everything else selection_name(workspace, config.selection)
    config = dataclasses.replace(config, selection=name)
    tests = (f"selections/{test}" for test in holdouts(workspace, but=name))
    own = () if everything else (f"selections/{name}",)
    grouped = (GROUPS,) if workspace.has(GROUPS) else ()
    needs = ("samples", "embeddings", *annotated, *own, *tests, *grouped)
    stage = Stage("train", needs, (f"models/{name}",), "elfs.evaluation.train", parallel=True)
    outcome: Outcome = run_call(StageCall(stage, f"train/{name}", needs, force, smoke), path, config, runtime)
    return TrainReport(outcome.summary, outcome.ran, path)


def prepare(config: TrainConfig, source_root: Path | None) -> Prepared:
    """Digest the table of labels; nothing where the source has labels of its own."""
    return Prepared(labels_digest(config.labels))


def run(job: Job, config: TrainConfig) -> Result:
    """Write ``models/<selection>``: the first seed's network, and a report of every seed's accuracy.

    The result of each training is kept in the draft as soon as it is there, so that a killed run goes on at the next
    one. Refused where fewer than two of the images have a label, or there are more ranks than images.
    """
    table = SampleTable.from_tensors(job.workspace.arrays("samples"))
    from_people = ARTIFACT in job.inputs
    truth = annotated_labels(job.workspace, table) if from_people else true_labels(job.workspace, table, config.labels)
    selected = _require_two(_selected(job, table, config), config.selection)
    rows = np.sort(labelled_rows(table, truth, selected, 2))
    recipe, iterations = training_recipe(job.workspace, table, config, on_cpu=job.runtime.on_cpu)
    builder = InputBuilder(job.workspace, table, recipe, job.runtime, job.source_root)
    held = _held_out(job, table, truth, str(config.selection), selected)
    trainer = Trainer(builder, truth, iterations, rows, config.sync_batch_norm, held, confusion=True)
    artifact = f"models/{config.selection}"
    groups = _groups(job, table, rows, held)
    folds = _num_folds(config, trainer, groups)
    results = _results(job, trainer, config, artifact, (folds, groups))
    if not job.runtime.ranks.is_first:
        return Result("", {})
    accuracies = tuple(result.share for result in results if result.share is not None)
    facts = TrainFacts(
        selection=str(config.selection),
        images=len(rows),
        accuracies=accuracies,
        mean=statistics.fmean(accuracies) if accuracies else None,
        deviation=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        folds=folds,
        held_out=len(held),
        groups=None if groups is None else len(np.unique(groups)),
        unlabelled=int(np.count_nonzero(table.eligible() & (truth.values < 0))),
        confusion=Accuracy.total_of(results).confusion,
        labels=_about_labels(table, truth, selected, held),
        classes=truth.names,
    )
    summary = trainer.facts() | facts.as_json()
    learned = [[name, int(value)] for name, value in zip(table.ids(rows), truth.values[rows], strict=True)]
    job.draft.save_bytes(artifact, f"{artifact}.json", json_bytes(summary | {"learned_from": learned}))
    headline = "trained" if facts.mean is None else f"accuracy {100 * facts.mean:.2f} %"
    return Result(headline, summary, {artifact: {"classes": list(truth.names)}})


def _selected(job: Job, table: SampleTable, config: TrainConfig) -> NDArray[np.int64]:
    """Return the rows of the selection; of all that people have annotated, but test sets, where none was named."""
    if f"selections/{config.selection}" not in job.inputs:
        return kept_annotations(job.workspace).rows(table, held_out=False)[0]
    rows, said = selected_rows(job.workspace, table, str(config.selection))
    if said is not None:
        job.runtime.note(said)
    return rows


def _require_two(rows: NDArray[np.int64], selection: str | None) -> NDArray[np.int64]:
    """Return the rows of a selection, of which a network needs two to learn from."""
    if len(rows) < 2:
        raise InputDataError(
            f"selection '{selection}' has {len(rows)} of its images in the pool: a network needs at least 2 to learn "
            "from."
        )
    return rows


def _groups(job: Job, table: SampleTable, rows: NDArray[np.int64], held: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return the group of each row that is learned from; warn of those that the test set shares."""
    known = kept_groups(job.workspace, table) if GROUPS in job.inputs else None
    if known is None:
        return None
    both = np.isin(known.number[rows], known.number[held]) & (known.number[rows] >= 0)
    if both.any():
        job.runtime.warn(
            f"{int(both.sum()):,} of {len(rows):,} images are of groups that the test set has images of, too "
            f"({some(table.ids(rows[both]))}): the accuracy may be too high. A test set that is drawn with --groups "
            "splits none."
        )
    return known.of_rows(rows)


def _num_folds(config: TrainConfig, trainer: Trainer, groups: NDArray[np.int64] | None) -> int:
    """Return over how many parts of the annotated images to cross-validate; 0 for none."""
    classes = np.unique(trainer.truth.values[trainer.rows])
    folds = min(config.folds, len(trainer.rows) // 2)
    if groups is not None:
        folds = min(folds, len(np.unique(groups)))
    return folds if len(trainer.test_rows) == 0 and folds > 1 and len(classes) > 1 else 0


def _results(
    job: Job, trainer: Trainer, config: TrainConfig, artifact: str, parts: tuple[int, NDArray[np.int64] | None]
) -> list[Accuracy]:
    """Train with every seed what is not in the draft yet; the network of the first one is kept.

    Without a test image, the accuracy of a seed is that of its cross-validation. Only the first rank knows the results
    of earlier runs. `parts` is the number of folds, and the group of each of the trainer's rows, which none splits.
    """
    folds, groups = parts
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


def _held_out(
    job: Job, table: SampleTable, truth: TrueLabels, name: str, selected: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the labelled rows of the test sets that were drawn from the pool."""
    rows = rows_of_selections(job.workspace, table, holdouts(job.workspace, but=name))
    return np.setdiff1d(rows[truth.values[rows] >= 0], selected)


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
