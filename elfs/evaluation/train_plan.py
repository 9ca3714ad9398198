"""What one `train` learns from and is tested on, checked before anything is trained, and how long that would take."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.annotations.groups import ARTIFACT as GROUPS
from elfs.annotations.groups import kept_groups
from elfs.annotations.kept import ARTIFACT, kept_annotations
from elfs.config import TrainConfig, as_json
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError
from elfs.evaluation.labels import annotated_labels, labels_digest, true_labels
from elfs.evaluation.training import Trainer, labelled_rows, training_recipe
from elfs.evaluation.training_time import seconds_by_images
from elfs.parallel.runtime import Runtime
from elfs.pipeline.graph import Stage
from elfs.pipeline.holdouts import holdouts, rows_of_selections
from elfs.pipeline.job import StageCall
from elfs.pipeline.known import fresh_record, resolved
from elfs.pipeline.recorded_config import portable
from elfs.pipeline.selections import selected_rows, selection_name, some
from elfs.stages.estimates.costs import START_SECONDS
from elfs.train.inputs import InputBuilder
from elfs.workspace.workspace import Workspace

__all__ = ["TrainPlan", "checked", "forecast", "train_call"]


@dataclass(frozen=True)
class TrainPlan:
    """What is trained, on which images, and how it is tested.

    Attributes
    ----------
    trainer : Trainer
        With the rows that are learned from, and their labels.
    selected : ndarray of shape (n_selected,), int64
        Rows of the selection, with a label or without.
    held_out : ndarray of shape (n_held_out,), int64
        Labelled rows of the test sets that were drawn from the pool.
    groups : ndarray of shape (n_rows,), int64, or None
        Group of each row that is learned from; None where nobody gave groups.
    folds : int
        Parts of the rows over which is cross-validated, where no test image has a label; 0 for none.
    """

    trainer: Trainer
    selected: NDArray[np.int64]
    held_out: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    folds: int


def train_call(
    workspace: Workspace, config: TrainConfig, *, force: bool = False, smoke: bool = False
) -> tuple[StageCall, TrainConfig]:
    """Return the call of a training, and its config with the name of what it learns from.

    Parameters
    ----------
    workspace : Workspace
        The workspace.
    config : TrainConfig
        What the user asked for.
    force, smoke : bool
        Train even if the result is there; record that these are smoke settings.

    Returns
    -------
    tuple of (StageCall, TrainConfig)
        For `elfs.pipeline.execution.run_call`.

    Raises
    ------
    MissingUpstreamError
        If there is no selection.
    UsageError
        If there is no selection of that name.
    """
    annotated = (ARTIFACT,) if config.labels is None and workspace.has(ARTIFACT) else ()
    everything = bool(annotated) and config.selection is None
    name = ARTIFACT if everything else selection_name(workspace, config.selection)
    tests = (f"selections/{test}" for test in holdouts(workspace, but=name))
    own = () if everything else (f"selections/{name}",)
    grouped = (GROUPS,) if workspace.has(GROUPS) else ()
    needs = ("samples", "embeddings", *annotated, *own, *tests, *grouped)
    stage = Stage("train", needs, (f"models/{name}",), "elfs.evaluation.train", parallel=True)
    return StageCall(stage, f"train/{name}", needs, force, smoke), dataclasses.replace(config, selection=name)


def checked(
    workspace: Workspace,
    inputs: Collection[str],
    config: TrainConfig,
    runtime: Runtime,
    source_root: Path | None = None,
) -> TrainPlan:
    """Check that what shall be trained can be.

    Parameters
    ----------
    workspace : Workspace
        The workspace.
    inputs : collection of str
        Artifacts that the training reads.
    config : TrainConfig
        As `train_call` returns it.
    runtime : Runtime
        Device and worker processes.
    source_root : Path or None
        Folder of the images; None for a plan that is not carried out.

    Returns
    -------
    TrainPlan
        Nothing was decoded for it.

    Raises
    ------
    InputDataError
        If fewer than two of the images are in the pool, or have a label.
    UsageError
        If an option does not suit the network.
    """
    table, name = SampleTable.from_tensors(workspace.arrays("samples")), str(config.selection)
    truth = annotated_labels(workspace, table) if ARTIFACT in inputs else true_labels(workspace, table, config.labels)
    if f"selections/{name}" in inputs:
        selected, said = selected_rows(workspace, table, name)
        if said is not None:
            runtime.note(said)
    else:  # all that people have annotated, but test sets
        selected = kept_annotations(workspace).rows(table, held_out=False)[0]
    if len(selected) < 2:
        raise InputDataError(
            f"selection '{name}' has {len(selected)} of its images in the pool: a network needs at least 2 to learn "
            "from."
        )
    rows = np.sort(labelled_rows(table, truth, selected, 2))
    if len(classes := np.unique(truth.values[rows])) == 1:
        runtime.warn(
            f"all {len(rows):,} labelled images are of one class, {truth.names[classes[0]]!r}: the network can name no "
            "other."
        )
    recipe, iterations = training_recipe(workspace, table, config, on_cpu=runtime.on_cpu)
    builder = InputBuilder(workspace, table, recipe, runtime, source_root)
    held_out = rows_of_selections(workspace, table, holdouts(workspace, but=name))
    held_out = np.setdiff1d(held_out[truth.values[held_out] >= 0], selected)
    trainer = Trainer(builder, truth, iterations, rows, config.sync_batch_norm, held_out, confusion=True)
    groups = _groups(trainer, held_out) if GROUPS in inputs else None
    return TrainPlan(trainer, selected, held_out, groups, _num_folds(config, trainer, groups))


def _groups(trainer: Trainer, held_out: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return the group of each row that is learned from; warn of those that the test set shares."""
    builder, rows = trainer.builder, trainer.rows
    known = kept_groups(builder.workspace, builder.table)
    if known is None:
        return None
    both = np.isin(known.number[rows], known.number[held_out]) & (known.number[rows] >= 0)
    if both.any():
        builder.runtime.warn(
            f"{int(both.sum()):,} of {len(rows):,} images are of groups that the test set has images of, too "
            f"({some(builder.table.ids(rows[both]))}): the accuracy may be too high. A test set that is drawn with "
            "--groups splits none."
        )
    return known.of_rows(rows)


def _num_folds(config: TrainConfig, trainer: Trainer, groups: NDArray[np.int64] | None) -> int:
    """Return over how many parts of the annotated images to cross-validate; 0 for none."""
    classes = np.unique(trainer.truth.values[trainer.rows])
    folds = min(config.folds, len(trainer.rows) // 2)
    if groups is not None:
        folds = min(folds, len(np.unique(groups)))
    return folds if len(trainer.test_rows) == 0 and folds > 1 and len(classes) > 1 else 0


def forecast(path: Path, config: TrainConfig, runtime: Runtime, *, force: bool = False) -> dict[str, Any]:
    """Return what `train` would do; does nothing.

    Parameters
    ----------
    path : Path
        The workspace.
    config : TrainConfig
        Selection, labels, recipe, seeds.
    runtime : Runtime
        Device.
    force : bool
        Whether it would train again what is there.

    Returns
    -------
    dict
        ``selection``, ``action`` ("run" or "keep"), ``images`` that are learned from, ``test_images``, ``folds``,
        ``trainings`` and the ``steps`` of each, ``network``, and ``seconds`` of all, None where nobody knows.

    Raises
    ------
    ElfsError
        What `train` refuses before it trains.
    """
    workspace = Workspace.open(path)
    call, config = train_call(workspace, config, force=force)
    call, inputs = resolved(call, workspace, labels_digest(config.labels))
    is_known = not force and fresh_record(workspace, call, as_json(portable(config)), inputs) is not None
    plan = checked(workspace, inputs, config, runtime)
    trainer, network, images = plan.trainer, plan.trainer.builder.recipe.network, len(plan.trainer.rows)
    trainings = 1 if network == "linear" else config.seeds  # that one has no chance in it
    if plan.folds:
        trainings = 1 + config.seeds * plan.folds
    each = seconds_by_images(trainer)(images - images // plan.folds if plan.folds else images)
    return {
        "selection": config.selection,
        "action": "keep" if is_known else "run",
        "images": images,
        "test_images": len(trainer.test_rows),
        "folds": plan.folds,
        "network": network,
        "trainings": 0 if is_known else trainings,
        "steps": trainer.iterations,
        "seconds": 0.0 if is_known else None if each is None else START_SECONDS + trainings * each,
    }
