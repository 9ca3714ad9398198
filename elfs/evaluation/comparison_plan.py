"""What a comparison consists of, checked before anything is selected or trained."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from elfs.catalog import SELECTORS, required_epochs
from elfs.config import CompareConfig, DynamicsConfig, ScoreConfig, SelectConfig, as_json
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError, MissingUpstreamError, StaleUpstreamError
from elfs.evaluation.entries import (
    Entry,
    every_method,
    first_entry,
    parse_budgets,
    parse_methods,
    round_names,
)
from elfs.evaluation.labels import TrueLabels, true_labels
from elfs.evaluation.training import Trainer, labelled_test_rows, training_recipe
from elfs.parallel.runtime import Runtime
from elfs.pipeline.annotated import require_annotations
from elfs.pipeline.facts import ScoreFacts
from elfs.pipeline.graph import needed_artifacts, series
from elfs.pipeline.recorded_config import portable
from elfs.pipeline.selections import selected_rows
from elfs.pipeline.status import older_inputs, recorded_config
from elfs.pipeline.upstream import require
from elfs.train.inputs import InputBuilder
from elfs.workspace.commands import command_line
from elfs.workspace.workspace import Workspace

__all__ = ["Planned", "Setting", "checked"]


@dataclass(frozen=True, slots=True)
class Planned:
    """One selection to be made and trained on.

    Attributes
    ----------
    entry : Entry
        The method.
    budget : str
        As typed, or the name of a round.
    seed : int
        Of the selection and the training.
    """

    entry: Entry
    budget: str
    seed: int

    @property
    def cell(self) -> tuple[str, str]:
        """Method and budget as they are shown."""
        return self.entry.label, self.budget

    @property
    def config(self) -> SelectConfig:
        """What select is told."""
        return self.entry.select_config(self.budget, self.seed)

    @property
    def selection(self) -> str:
        """Name of the selection, unless another list has it."""
        return str(self.config.name)


@dataclass(frozen=True)
class Setting:
    """A workspace with labels, and what is to be compared on it.

    Attributes
    ----------
    workspace : Workspace
        The workspace.
    table : SampleTable
        Its samples.
    truth : TrueLabels
        Their labels.
    plans : tuple of Planned
        Every method at every budget with every seed; seed by seed, so that a first table is there early.
    """

    workspace: Workspace
    table: SampleTable
    truth: TrueLabels
    plans: tuple[Planned, ...]

    def trainer(self, config: CompareConfig, runtime: Runtime, builder: InputBuilder | None = None) -> Trainer:
        """Return what trains on rows of the workspace.

        Parameters
        ----------
        config : CompareConfig
            Recipe, network, steps.
        runtime : Runtime
            Device and worker processes.
        builder : InputBuilder or None
            Makes network inputs; None for one that knows no folder of images.

        Returns
        -------
        Trainer
            It has no rows yet.
        """
        recipe, iterations = training_recipe(self.workspace, self.table, config, on_cpu=runtime.on_cpu)
        made = builder or InputBuilder(self.workspace, self.table, recipe, runtime, None)
        return Trainer(made, self.truth, iterations, np.empty(0, np.int64))

    def selected(self, plan: Planned) -> str | None:
        """Return the name of a selection that is there.

        Parameters
        ----------
        plan : Planned
            Which one.

        Returns
        -------
        str or None
            None if it has not been made, was made otherwise, or from what has changed since.
        """
        records = self.workspace.manifest.records
        stored = as_json(portable(plan.config))
        for record in reversed(series(f"select/{plan.selection}", records)[:-1]):
            name = record.partition("/")[2]
            if records[record].config == stored and not older_inputs(self.workspace.manifest, name):
                return name
        return None

    def rows(self, name: str) -> np.ndarray:
        """Return the rows of a selection.

        Parameters
        ----------
        name : str
            Name of a selection that is there.

        Returns
        -------
        ndarray of shape (n,), int64
            In rank order.
        """
        return selected_rows(self.workspace, self.table, name)[0]


def checked(workspace: Workspace, config: CompareConfig) -> Setting:
    """Check that what shall be compared can be.

    Parameters
    ----------
    workspace : Workspace
        The workspace.
    config : CompareConfig
        What the user asked for.

    Returns
    -------
    Setting
        Labels and plans.

    Raises
    ------
    UsageError
        If a method, key or budget cannot be read.
    MissingUpstreamError, StaleUpstreamError
        If a method needs what has not been made, or is stale; the hint names the commands.
    InputDataError
        If there are no true labels, or none of a test image.
    """
    budgets, parsed = round_names(config) or parse_budgets(config), parse_methods(config)
    require(workspace, "compare", ("samples", "embeddings"))
    annotated = config.rounds is not None or workspace.has("annotations")
    if config.rounds is not None:
        _require_needs(workspace, first_entry(config), annotated=False)
    entries: dict[Entry, None] = {}
    for entry in parsed:
        if isinstance(entry, Entry):
            _require_needs(workspace, entry, annotated=annotated)
            entries[entry] = None
        else:
            entries |= dict.fromkeys(_available(workspace, every_method(config), annotated=annotated))
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    truth = true_labels(workspace, table, config.labels)
    if len(labelled_test_rows(table, truth)) == 0:
        raise InputDataError(
            "no test image has a label: compare tests every network on the labelled images of the test split, those of "
            "a data set or of a folder 'test' beside 'train'."
        )
    seeds = range(config.seed, config.seed + config.seeds)
    plans = (Planned(entry, budget, seed) for seed in seeds for entry in entries for budget in budgets)
    return Setting(workspace, table, truth, tuple(plans))


def _require_needs(workspace: Workspace, entry: Entry, *, annotated: bool) -> None:
    """Check that all that a method reads is there, its scores too."""
    config = entry.select_config("1.0", 0)
    require(workspace, "compare", needed_artifacts("select", config))
    if not annotated:
        require_annotations(entry.method, annotated=False)
    keys = SELECTORS[entry.method].scores if entry.key is None else (entry.key, *SELECTORS[entry.method].scores)
    for key in keys:
        if key not in workspace.manifest.artifacts["scores"].tensors:
            reason = workspace.summary("score", ScoreFacts).why_not(key) or "never computed"
            raise MissingUpstreamError(
                f"{entry.label} needs the score '{key}', which is not among the scores: {reason}.",
                hint=_scoring(workspace, key),
            )


def _scoring(workspace: Workspace, key: str) -> str:
    """Return the commands that make a score that is missing."""
    told = recorded_config(workspace.path, "score")
    dynamics, score = recorded_config(workspace.path, "dynamics"), command_line("score", told, workspace.path)
    needed = required_epochs(key, told.window if isinstance(told, ScoreConfig) else ScoreConfig().window)
    if not isinstance(dynamics, DynamicsConfig) or len(workspace.tensors("dynamics")["correct"]) >= needed:
        return f"{score} --force"
    longer = command_line("dynamics", dataclasses.replace(dynamics, epochs=needed), workspace.path)
    return f"{longer} && {score}"


def _available(workspace: Workspace, entries: Iterable[Entry], *, annotated: bool) -> Iterable[Entry]:
    for entry in entries:
        try:
            _require_needs(workspace, entry, annotated=annotated)
        except (MissingUpstreamError, StaleUpstreamError):
            continue
        yield entry
