"""Is this better than random on my data? Methods x budgets x seeds, every network trained under one protocol."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.config import CompareConfig
from elfs.evaluation.comparison import Comparison
from elfs.evaluation.comparison_plan import Setting, checked
from elfs.evaluation.comparison_selections import Selections, select_all
from elfs.evaluation.comparison_tables import cells_csv, tabulate
from elfs.evaluation.figure import accuracy_figure
from elfs.evaluation.labels import labels_digest
from elfs.evaluation.learning_curves import curve_facts, gain_facts
from elfs.evaluation.recorded import COMPARE, TRAININGS, trainings_csv
from elfs.evaluation.rounds import needed_in_rounds, play_rounds
from elfs.evaluation.trainings import needed_trainings, train_all
from elfs.parallel.runtime import Runtime, ignore
from elfs.pipeline.execution import run_call
from elfs.pipeline.graph import STAGES, Stage
from elfs.pipeline.job import Job, Prepared, Result, StageCall, StageCode
from elfs.train.inputs import InputBuilder
from elfs.workspace.files import digest_json
from elfs.workspace.workspace import Workspace

__all__ = ["CompareReport", "compare", "prepare"]

_ARTIFACT = "comparison"
_FILES = tuple(f"{_ARTIFACT}/{name}" for name in ("table.csv", "cells.csv", "figure.svg"))

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class CompareReport:
    """What networks on the selections of several methods score.

    Attributes
    ----------
    comparison : Comparison
        The cells and what follows from them.
    files : tuple of str
        Files of the workspace that hold them.
    ran : bool
        False where the same comparison was there already.
    smoke : bool
        Whether ``--smoke`` settings went into it.
    rounds : bool
        Whether its budgets are those of one round after the other.
    """

    comparison: Comparison
    files: tuple[str, ...]
    ran: bool
    smoke: bool
    rounds: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        facts = self.comparison.as_json() | {"files": list(self.files), "smoke": self.smoke}
        facts |= {"learning": gain_facts(self.comparison)}
        return facts | ({"curves": curve_facts(self.comparison)} if self.rounds else {})


def compare(
    path: Path,
    config: CompareConfig,
    runtime: Runtime,
    *,
    force: bool = False,
    smoke: bool = False,
    say: Callable[[str], None] = ignore,
) -> CompareReport:
    """Select with every method at every budget with every seed, and train a network on each selection.

    Each finished training is recorded at once. A killed comparison goes on after it, and a later one trains only what
    no comparison in this workspace has trained before. Several ranks deal the trainings out; each network is trained by
    one of them alone, so that the results are those of one device, but for rounding where ranks on one CPU leave each
    other fewer threads.

    Parameters
    ----------
    path : Path
        The workspace. The selections land in it under their default names.
    config : CompareConfig
        Methods, budgets, seeds, protocol.
    runtime : Runtime
        Devices, workers, progress.
    force : bool
        Train again what earlier comparisons trained.
    smoke : bool
        Record that these are smoke settings.
    say : Callable
        Takes one line about how much there is to do.

    Returns
    -------
    CompareReport
        Also in the workspace, as ``comparison``.

    Raises
    ------
    UsageError
        If a method, key or budget cannot be read, or nothing at all can be selected.
    MissingUpstreamError, StaleUpstreamError
        If a method needs what has not been made, or is stale.
    InputDataError
        If no test image has a label, or a selected image has none.
    """
    runtime.device()
    setting = checked(Workspace.open(path), config)
    uses: tuple[str, ...] = ()
    if config.rounds is None:
        selections = select_all(setting, runtime, smoke=smoke)
        names = (f"selections/{selections.names[plan]}" for plan in setting.plans if plan in selections.rows)
        needs = ("samples", "embeddings", *dict.fromkeys(names))
    else:
        selections, needs, uses = None, needed_in_rounds(setting, config), STAGES["select"].needs
    run = _Run(setting, selections, force, say)
    reads = tuple(dict.fromkeys([*needs, *uses]))
    stage = Stage(COMPARE, reads, (_ARTIFACT, TRAININGS), "elfs.evaluation.compare", parallel=True)
    call = StageCall(stage, COMPARE, needs, force, smoke, code=StageCode(run, prepare), draft_key=digest_json(COMPARE))
    outcome = run_call(call, path, config, runtime)
    files = tuple(str(path / name) for name in _FILES)
    comparison = Comparison.of(outcome.summary)
    return CompareReport(comparison, files, outcome.ran, outcome.smoke, config.rounds is not None)


def prepare(config: CompareConfig, source_root: Path | None) -> Prepared:
    """Digest the table of labels; nothing where the source has labels of its own."""
    return Prepared(labels_digest(config.labels))


@dataclass(frozen=True)
class _Run:
    """The part of a comparison that trains and publishes, once all is selected."""

    setting: Setting
    selections: Selections | None
    force: bool
    say: Callable[[str], None]

    def __call__(self, job: Job, config: CompareConfig) -> Result:
        """Train what has not been trained before; write the tables and the figure."""
        setting, runtime = self.setting, job.runtime.by_itself()
        selections = self.selections or play_rounds(job, setting, config)
        recipe = setting.trainer(config, runtime).builder.recipe
        builder = InputBuilder(job.workspace, setting.table, recipe, runtime, job.source_root)
        trainer = setting.trainer(config, runtime, builder)
        trainings = needed_trainings(setting, selections.rows, reference=config.reference)
        try:
            results = train_all(job, trainer, trainings, force=self.force, say=self.say)
        except KeyboardInterrupt:
            if job.runtime.ranks.is_first and config.rounds is None:  # what later rounds select is not known before
                self.say("with -n the same command shows what the trainings came to that are finished")
            raise
        if not job.runtime.ranks.is_first:
            return Result("", {})
        facts = trainer.facts()
        comparison = tabulate(setting, selections, trainings, results, facts, reference=config.reference)
        job.draft.save_bytes(_ARTIFACT, _FILES[0], comparison.table_csv())
        job.draft.save_bytes(_ARTIFACT, _FILES[1], cells_csv(selections, trainings, results))
        job.draft.save_bytes(_ARTIFACT, _FILES[2], accuracy_figure(comparison))
        job.draft.save_bytes(TRAININGS, f"{_ARTIFACT}/{TRAININGS}.csv", trainings_csv(results.known))
        sizes = (len(comparison.methods), len(comparison.budgets), len(comparison.seeds))
        headline = "{} methods x {} budgets x {} seeds".format(*sizes)
        return Result(headline, comparison.as_json())
