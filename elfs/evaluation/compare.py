"""Is this better than random on my data? Methods x budgets x seeds, every network trained under one protocol."""

import csv
import dataclasses
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.config import CompareConfig
from elfs.errors import UsageError
from elfs.evaluation.comparison import WHOLE_POOL, Cell, Comparison
from elfs.evaluation.comparison_plan import Planned, Setting, checked
from elfs.evaluation.figure import accuracy_figure
from elfs.evaluation.labels import labels_digest
from elfs.evaluation.recorded import TRAININGS, Journal, published, trainings_csv
from elfs.evaluation.training import Accuracy, Trainer, labelled_rows
from elfs.parallel.runtime import Runtime, ignore
from elfs.pipeline.execution import execute, run_step
from elfs.pipeline.graph import Stage
from elfs.pipeline.job import Job, Prepared, Result, StageCode, Step
from elfs.train.inputs import InputBuilder
from elfs.workspace.files import digest_json
from elfs.workspace.manifest import PARTIAL_NAME
from elfs.workspace.workspace import Workspace

__all__ = ["CompareReport", "compare", "planned_cells", "prepare"]

_RECORD, _ARTIFACT = "compare", "comparison"
_FILES = tuple(f"{_ARTIFACT}/{name}" for name in ("table.csv", "cells.csv", "figure.svg"))
_CELL_COLUMNS = ("method", "budget", "seed", "selection", "images", "correct", "test_images", "accuracy", "digest")

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
    """

    comparison: Comparison
    files: tuple[str, ...]
    ran: bool
    smoke: bool

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.comparison.as_json() | {"files": list(self.files), "smoke": self.smoke}


@dataclass(frozen=True)
class _Training:
    """One network that is needed: of a cell, or of the whole pool where `plan` is None."""

    plan: Planned | None
    seed: int
    rows: Rows

    @property
    def label(self) -> str:
        return WHOLE_POOL if self.plan is None else f"{self.plan.entry.label} {self.plan.budget}"


def _by_itself(runtime: Runtime) -> Runtime:
    """Return the runtime of a rank that works alone, on its own device and its own part of the host's CPUs."""
    return dataclasses.replace(runtime, ranks=runtime.ranks.by_itself())


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
    names, rows, reasons = _selected(setting, runtime, smoke=smoke)
    run = _Run(setting, names, rows, reasons, config.reference, force, say)
    selections = (f"selections/{names[plan]}" for plan in setting.plans if plan in rows)
    needs = ("samples", "embeddings", *dict.fromkeys(selections))
    stage = Stage(_RECORD, needs, (_ARTIFACT, TRAININGS), "elfs.evaluation.compare", parallel=True)
    step = Step(stage, _RECORD, needs, force, smoke, code=StageCode(run, prepare), draft_key=digest_json(_RECORD))
    outcome = run_step(step, path, config, runtime)
    files = tuple(str(path / name) for name in _FILES)
    return CompareReport(Comparison.from_json(outcome.summary), files, outcome.ran, outcome.smoke)


def prepare(config: CompareConfig, source_root: Path | None) -> Prepared:
    """Digest the table of labels; nothing where the source has labels of its own."""
    return Prepared(labels_digest(config.labels))


def planned_cells(path: Path, config: CompareConfig, runtime: Runtime, *, force: bool = False) -> list[dict[str, Any]]:
    """Return what a comparison would select and train; does nothing.

    Parameters
    ----------
    path : Path
        The workspace.
    config : CompareConfig
        Methods, budgets, seeds, protocol.
    runtime : Runtime
        Device.
    force : bool
        Whether recorded trainings would be trained again.

    Returns
    -------
    list of dict
        ``method``, ``budget``, ``seed``, ``selection`` and ``action`` ("select and train", "train" or "recorded") of
        each training.

    Raises
    ------
    ElfsError
        What `compare` refuses before it selects anything.
    """
    setting = checked(Workspace.open(path), config)
    trainer = setting.trainer(config, runtime)
    known = {} if force else published(setting.workspace)
    journals = [Journal(draft) for draft in (path / PARTIAL_NAME / _RECORD).glob("*")]

    def action(rows: Rows | None, seed: int) -> str:
        if rows is None:
            return "select and train"
        digest = trainer.digest(rows, seed)
        found = digest in known or any(journal.get(digest) is not None for journal in journals)
        return "recorded" if found else "train"

    found = []
    for plan in setting.plans:
        name = setting.selected(plan)
        cell = {"method": plan.entry.label, "budget": plan.budget, "seed": plan.seed}
        cell |= {"selection": name or plan.selection}
        found.append(cell | {"action": action(None if name is None else setting.rows(name), plan.seed)})
    pool = np.flatnonzero(setting.table.eligible())
    if config.reference and _missing_labels(setting, pool) is None:
        cell = {"method": WHOLE_POOL, "budget": "1.0", "selection": None}
        seeds = dict.fromkeys(plan.seed for plan in setting.plans)
        found += [cell | {"seed": seed, "action": action(pool, seed)} for seed in seeds]
    return found


def _selected(
    setting: Setting, runtime: Runtime, *, smoke: bool
) -> tuple[dict[Planned, str], dict[Planned, Rows], dict[tuple[str, str], str]]:
    """Return name and rows of every selection, and for each method and budget that do not fit the reason."""
    workspace, ranks = setting.workspace, runtime.ranks
    ranks.wait()  # until all have read what is there
    made = _select(setting, _by_itself(runtime), smoke=smoke) if ranks.is_first else None
    told, refused = ranks.share(None if made is None else [made[0], list(made[1].items())])
    names = dict(zip(setting.plans, told, strict=True))
    reasons = {(method, budget): reason for (method, budget), reason in refused}
    workspace.reload()
    rows: dict[Planned, Rows] = {}
    for plan, name in names.items():
        found = None if plan.cell in reasons else setting.rows(name)
        if found is not None and len(found) < 2:
            reasons[plan.cell] = "the selection has one image: a network needs at least 2 to learn from."
        elif found is not None:
            rows[plan] = np.sort(found)
    rows = {plan: found for plan, found in rows.items() if plan.cell not in reasons}
    if not rows:
        (method, budget), reason = next(iter(reasons.items()))
        raise UsageError(f"nothing to compare: {method} at {budget}: {reason}")
    needed = np.unique(np.concatenate(list(rows.values())))
    labelled_rows(setting.table, setting.truth, needed, len(needed))
    return names, rows, reasons


def _select(setting: Setting, runtime: Runtime, *, smoke: bool) -> tuple[list[str], dict[tuple[str, str], str]]:
    """Make every selection; return the name of each, and for each method and budget that do not fit the reason."""
    names: list[str] = []
    reasons: dict[tuple[str, str], str] = {}
    with runtime.progress.task("compare: select", len(setting.plans), "selections") as task:
        for plan in setting.plans:
            name = plan.selection
            if plan.cell not in reasons:
                try:
                    outcome = execute("select", setting.workspace.path, plan.config, runtime, smoke=smoke)
                    name = outcome.record.partition("/")[2]
                except UsageError as error:
                    reasons[plan.cell] = error.message
            names.append(name)
            task.advance()
    return names, reasons


def _missing_labels(setting: Setting, rows: Rows) -> str | None:
    """Return why the whole pool cannot be trained on."""
    missing = int(np.count_nonzero(setting.truth.values[rows] < 0))
    return f"{missing:,} of {len(rows):,} images have no label." if missing else None


@dataclass(frozen=True)
class _Run:
    """The part of a comparison that trains and publishes, once all is selected."""

    setting: Setting
    names: Mapping[Planned, str]
    rows: Mapping[Planned, Rows]
    reasons: Mapping[tuple[str, str], str]
    reference: bool
    force: bool
    say: Callable[[str], None]
    results: dict[tuple[Planned | None, int], tuple[str, Accuracy]] = field(default_factory=dict)

    def __call__(self, job: Job, config: CompareConfig) -> Result:
        """Train what has not been trained before; write the tables and the figure."""
        runtime = _by_itself(job.runtime)
        recipe = self.setting.trainer(config, runtime).builder.recipe
        builder = InputBuilder(job.workspace, self.setting.table, recipe, runtime, job.source_root)
        trainer = self.setting.trainer(config, runtime, builder)
        trainings = self._trainings()
        known = self._train(job, trainer, trainings)
        if not job.runtime.ranks.is_first:
            return Result("", {})
        comparison = self._comparison(trainer.facts())
        job.draft.save_bytes(_ARTIFACT, _FILES[0], comparison.table_csv())
        job.draft.save_bytes(_ARTIFACT, _FILES[1], self._cells_csv(trainings))
        job.draft.save_bytes(_ARTIFACT, _FILES[2], accuracy_figure(comparison))
        job.draft.save_bytes(TRAININGS, f"{_ARTIFACT}/{TRAININGS}.csv", trainings_csv(known))
        sizes = (len(comparison.methods), len(comparison.budgets), len(comparison.seeds))
        headline = "{} methods x {} budgets x {} seeds".format(*sizes)
        return Result(headline, comparison.as_json())

    def _trainings(self) -> list[_Training]:
        """Return every training whose result is needed, the whole pool last."""
        found = [_Training(plan, plan.seed, rows) for plan, rows in self.rows.items()]
        pool = np.flatnonzero(self.setting.table.eligible())
        if self.reference and _missing_labels(self.setting, pool) is None:
            seeds = dict.fromkeys(plan.seed for plan in self.setting.plans)
            found += [_Training(None, seed, pool) for seed in seeds]
        return found

    def _train(self, job: Job, trainer: Trainer, trainings: list[_Training]) -> dict[str, Accuracy]:
        """Fill in the results; return those of all trainings ever, by digest; complete on the first rank."""
        journal, ranks = Journal(job.draft.directory), job.runtime.ranks
        earlier = published(job.workspace, forgo_damaged=self.force)
        digests = [trainer.digest(training.rows, training.seed) for training in trainings]
        known = journal.everything() if self.force else earlier | journal.everything()
        todo: list[str] = ranks.share([digest for digest in dict.fromkeys(digests) if digest not in known])
        if ranks.is_first:
            count = f"{len(todo)} training{'' if len(todo) == 1 else 's'} of {trainer.iterations:,} steps"
            self.say(f"{count}, {len(set(digests)) - len(todo)} recorded already")
        work = dict(zip(reversed(digests), reversed(trainings), strict=True))  # the first of those with one digest
        found = self._train_own(job, trainer, {digest: work[digest] for digest in todo}, journal)
        for results in ranks.collect({digest: [result.correct, result.total] for digest, result in found.items()}):
            known |= {digest: Accuracy(*result) for digest, result in results.items()}
        if ranks.is_first:
            for digest, training in zip(digests, trainings, strict=True):
                self.results[training.plan, training.seed] = digest, known[digest]
        return earlier | known

    def _train_own(
        self, job: Job, trainer: Trainer, todo: dict[str, _Training], journal: Journal
    ) -> dict[str, Accuracy]:
        """Train what is this rank's, note each result at once, and return them by digest."""
        ranks, found = job.runtime.ranks, dict[str, Accuracy]()
        own = dict(list(todo.items())[ranks.rank :: ranks.size])
        if own:
            rows = np.unique(np.concatenate([work.rows for work in own.values()]))
            trainer = dataclasses.replace(trainer, rows=rows)
            trainer.read()  # so that the time of the first training tells that of the others
        with job.runtime.progress.task("compare", len(own), "trainings") as task:
            for number, (digest, work) in enumerate(own.items(), 1):
                started = time.perf_counter()
                _, result = trainer.train_on_rows(work.rows, seed=work.seed, label=work.label)
                found[digest] = result
                journal.put(digest, result)
                task.advance(note=f"{work.label}: {100 * (result.share or 0.0):.1f} %")
                if number == 1 and len(own) > 1 and ranks.is_first:
                    self.say(_estimate(time.perf_counter() - started, len(own) - 1, len(todo) - ranks.size))
        return found

    def _comparison(self, protocol: dict[str, Any]) -> Comparison:
        seeds = tuple(dict.fromkeys(plan.seed for plan in self.setting.plans))
        plans: dict[tuple[str, str], list[Planned]] = {}
        for plan in self.setting.plans:
            plans.setdefault(plan.cell, []).append(plan)
        cells = []
        for cell, members in plans.items():
            if cell in self.reasons:
                cells.append(Cell(*cell, None, (), self.reasons[cell]))
            else:
                shares = tuple(self.results[plan, plan.seed][1].share or 0.0 for plan in members)
                cells.append(Cell(*cell, len(self.rows[members[0]]), shares))
        return Comparison(protocol, seeds, tuple(cells), self._whole_pool(seeds))

    def _whole_pool(self, seeds: tuple[int, ...]) -> Cell | None:
        if not self.reference:
            return None
        pool = np.flatnonzero(self.setting.table.eligible())
        reason = _missing_labels(self.setting, pool)
        shares = () if reason else tuple(self.results[None, seed][1].share or 0.0 for seed in seeds)
        return Cell(WHOLE_POOL, "1.0", len(pool), shares, reason)

    def _cells_csv(self, trainings: list[_Training]) -> bytes:
        """Return one line for each training of this comparison."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(_CELL_COLUMNS)
        for work in trainings:
            digest, result = self.results[work.plan, work.seed]
            name, budget = (WHOLE_POOL, "1.0") if work.plan is None else work.plan.cell
            selection = None if work.plan is None else self.names[work.plan]
            hits = (result.correct, result.total, f"{result.share:.6f}")
            writer.writerow([name, budget, work.seed, selection, len(work.rows), *hits, digest])
        return text.getvalue().encode("utf-8", "surrogateescape")


def _estimate(seconds: float, num_rounds: int, num_left: int) -> str:
    """Return how long the other trainings will take if each round of them takes as long as the first one."""
    left = seconds * num_rounds
    shown = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min" if left < 6000 else f"{left / 3600:.1f} h"
    return f"the first took {seconds:.0f} s, so about {shown} for the other {num_left}"
