"""What budgets would buy, one selection each, of which none is kept; and what more annotations are to bring."""

import csv
import dataclasses
import io
from collections.abc import Sequence, Sized
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from elfs.annotations.kept import ARTIFACT
from elfs.config import PlanConfig, SelectConfig
from elfs.data.samples import SampleTable
from elfs.errors import UsageError
from elfs.ops.selection.budget_curve import bend, equal_budget
from elfs.ops.selection.chance import coverage_and_chance
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import run_call
from elfs.pipeline.graph import STAGES, Stage, needed_artifacts, stage_of
from elfs.pipeline.job import Job, Outcome, Prepared, Result, StageCall, StageCode
from elfs.pipeline.plan_facts import BudgetFacts, LeftOut, PlanFacts
from elfs.stages.selection.candidates import Candidates, gather_candidates, picks_per_cluster, read_rows
from elfs.stages.selection.choice import choose, number_to_pick
from elfs.stages.selection.gain import gain_of_more
from elfs.stages.selection.grouping import gather_grouping
from elfs.stages.selection.rounds import list_digests
from elfs.train.seeding import generator

__all__ = ["CODE", "COLUMNS", "plan_budgets", "prepare", "run"]

_RECORD = "plan"
_FILE = f"{_RECORD}/table.csv"
COLUMNS = tuple(field.name for field in dataclasses.fields(BudgetFacts))
"""Of the table; what is None stays empty."""


def plan_budgets(
    path: Path, config: PlanConfig, runtime: Runtime, *, force: bool = False, smoke: bool = False
) -> Outcome:
    """Say what each budget would buy; the table lands in the workspace as ``plan``.

    Parameters
    ----------
    path : Path
        The workspace.
    config : PlanConfig
        Budgets and how to select.
    runtime : Runtime
        Progress.
    force : bool
        Work it out again.
    smoke : bool
        Record that these are smoke settings.

    Returns
    -------
    Outcome
        Its summary is that of `run`.

    Raises
    ------
    ElfsError
        What select refuses.
    """
    selections = config.selections()
    needs = tuple(dict.fromkeys([*needed_artifacts("select", selections[0]), "embeddings"]))
    select = stage_of("select", selections[0])
    stage = Stage(
        _RECORD,
        tuple(dict.fromkeys([*needs, *STAGES["select"].needs])),
        (_RECORD,),
        __name__,
        optional=select.optional,
        beside_annotations=select.beside_annotations,
    )
    return run_call(StageCall(stage, _RECORD, needs, force, smoke), path, config, runtime)


def prepare(config: PlanConfig, source_root: Path | None) -> Prepared:
    """Digest the lists of images that are named."""
    return Prepared(list_digests(config.selections()[0]))


def run(job: Job, config: PlanConfig) -> Result:
    """Write ``plan/table.csv``: one line for each budget that fits the pool.

    Parameters
    ----------
    job : Job
        Workspace, draft, runtime.
    config : PlanConfig
        Budgets and how to select.

    Returns
    -------
    Result
        What `PlanFacts` says.

    Raises
    ------
    InputDataError
        If nothing can be selected, or a list of images names an unknown one.
    UsageError
        If no budget fits the pool.
    """
    selections = config.selections()
    table = SampleTable.from_tensors(job.workspace.arrays("samples"))
    grouping = gather_grouping(job, selections[0], table)
    found = grouping.into(gather_candidates(job, selections[0], table), selections[0])
    lines, left_out = _lines(job, selections, found, table)
    job.draft.save_bytes(_RECORD, _FILE, _csv(lines))
    position = bend([line.images for line in lines], [line.coverage for line in lines])
    facts = PlanFacts(
        method=config.method,
        key=config.key,
        eligible=len(found.pool),
        copies_left_out=found.num_copies,
        budgets=lines,
        left_out=tuple(left_out),
        bend=None if position is None else lines[position].budget,
        annotations=gain_of_more(job.workspace, table, config.seed) if ARTIFACT in job.inputs else None,
    )
    return Result(f"{len(lines)} budgets by {config.method}", facts.as_json())


def _lines(
    job: Job, selections: Sequence[SelectConfig], found: Candidates, table: SampleTable
) -> tuple[tuple[BudgetFacts, ...], list[LeftOut]]:
    """Return what each budget buys, the smallest first, and those that are left out with the reason."""
    fitting, left_out = _fitting(selections, found)
    embeddings = found.pool.embeddings
    if embeddings is None:
        embeddings = read_rows(job, "embeddings", "embeddings", found.rows)
    lines: list[BudgetFacts] = []
    with job.runtime.progress.task("plan", len(fitting), "budgets") as task:
        for number in sorted(fitting):
            config = fitting[number]
            try:
                picked = choose(job, config, found, table).picked
            except UsageError as error:  # such as that no whole group fits
                left_out.append(LeftOut(config.budget, error.message))
            else:
                line = _line(job, config, found, embeddings, picked)
                if lines and line.images == lines[-1].images:
                    reason = f"the groups leave {line.images:,}, as many as for {lines[-1].budget}."
                    left_out.append(LeftOut(config.budget, reason))
                else:
                    lines.append(line)
            task.advance()
    _refuse_none(lines, left_out)
    return tuple(_with_equals(line, lines) for line in lines), left_out


def _with_equals(line: BudgetFacts, lines: Sequence[BudgetFacts]) -> BudgetFacts:
    """Return the line with how many random images cover as well, by all lines."""
    equal = equal_budget(line.coverage, [other.images for other in lines], [other.random for other in lines])
    return dataclasses.replace(line, as_many_random=None if equal is None else round(equal))


def _fitting(selections: Sequence[SelectConfig], found: Candidates) -> tuple[dict[int, SelectConfig], list[LeftOut]]:
    """Return the budgets that fit by the number of images that they pay for, and the others with the reason."""
    fitting: dict[int, SelectConfig] = {}
    left_out: list[LeftOut] = []
    for selection in selections:
        try:
            number = number_to_pick(selection, found)
        except UsageError as error:
            left_out.append(LeftOut(selection.budget, error.message))
            continue
        if number in fitting:
            reason = f"pays for as many images as {fitting[number].budget}."
            left_out.append(LeftOut(selection.budget, reason))
        else:
            fitting[number] = selection
    _refuse_none(fitting, left_out)
    return fitting, left_out


def _refuse_none(fitting: Sized, left_out: list[LeftOut]) -> None:
    if not fitting:
        raise UsageError(f"no budget fits: {left_out[0].budget}: {left_out[0].reason}")


def _line(job: Job, config: SelectConfig, found: Candidates, embeddings: Tensor, picked: Tensor) -> BudgetFacts:
    """Return what a budget buys, but for what depends on the others."""
    chance = coverage_and_chance(embeddings, picked, found.pool.candidates(), generator(config.seed, "chance"))
    draws = torch.tensor(chance.draws, dtype=torch.float64)
    rows = found.rows_with(picked)
    sizes = picks_per_cluster(job, found, rows)
    return BudgetFacts(
        budget=config.budget,
        images=len(rows),
        coverage=round(chance.selected, 6),
        random=round(float(draws.mean()), 6),
        random_lowest=round(min(chance.draws), 6),
        random_highest=round(max(chance.draws), 6),
        as_many_random=None,
        clusters=None if sizes is None else len(sizes),
        clusters_with_1=None if sizes is None else int(np.count_nonzero(sizes >= 1)),
        clusters_with_5=None if sizes is None else int(np.count_nonzero(sizes >= 5)),
    )


def _csv(lines: Sequence[BudgetFacts]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(line.as_json() for line in lines)
    return text.getvalue().encode("utf-8", "surrogateescape")


CODE = StageCode(run, prepare)
