"""``elfs compare``."""

from typing import TYPE_CHECKING

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._stage import SMOKE_WARNING
from elfs.cli._text import about, plural
from elfs.config import CompareConfig

if TYPE_CHECKING:
    from elfs.evaluation.compare import CompareReport

__all__ = ["EXAMPLES", "body"]

EXAMPLES = (
    "elfs compare --methods elfs,random --budgets 0.01,0.05,0.1 --seeds 3",
    "elfs compare --methods elfs@el2n:0.3,random --budgets 100",
    "elfs compare --rounds 5 --batch 2% --methods auto,margin,badge,random",
)


@command("compare")
def body(invocation: Invocation) -> None:
    """Train on what several methods select, and say which ones beat random."""
    from elfs.evaluation.compare import compare

    config = invocation.config("compare")
    assert isinstance(config, CompareConfig)
    if invocation.dry_run:
        _show_plan(invocation, config)
        return
    output = invocation.output
    report = compare(
        invocation.workspace,
        config,
        invocation.runtime(parallel=True),
        force=invocation.force,
        smoke=invocation.smoke,
        say=output.note,
    )
    _show(invocation, report)


def _show(invocation: Invocation, report: "CompareReport") -> None:
    """Print the table, what it says in words, and where it lies."""
    output = invocation.output
    output.table(report.comparison.rows())
    from elfs.evaluation.learning_curves import curve_table, gain_line

    if report.rounds:
        output.data("")
        output.table(curve_table(report.comparison))
    output.data("")
    for line in filter(None, (*report.comparison.lines(), gain_line(report.comparison))):
        output.data(line)
    for position, name in enumerate(report.files):
        output.note(f"{'files' if position == 0 else '':<11} {name}", style="cyan")
    if report.smoke:
        output.warn(SMOKE_WARNING)
    output.document("compare", report.as_json() | {"workspace": str(invocation.workspace)})


def _show_plan(invocation: Invocation, config: CompareConfig) -> None:
    """Print what would be selected and trained, and what is trained already came to; do nothing."""
    from elfs.cli._dry_run import LONG_SECONDS
    from elfs.config.cheaper import TRAINING
    from elfs.evaluation.comparison_forecast import planned_cells
    from elfs.stages.estimates.costs import START_SECONDS

    cells = planned_cells(invocation.workspace, config, invocation.runtime(), force=invocation.force)
    columns = ("method", "budget", "seed", "selection", "action", "accuracy")
    shares = [None if cell["accuracy"] is None else f"{100 * cell['accuracy']:.1f}" for cell in cells]
    shown = [cell | {"accuracy": share} for cell, share in zip(cells, shares, strict=True)]
    rows = [tuple("-" if cell[name] is None else str(cell[name]) for name in columns) for cell in shown]
    invocation.output.table([tuple(name.upper() for name in columns), *rows])
    todo = [cell["seconds"] for cell in cells if cell["action"] != "recorded"]
    seconds = None if None in todo else START_SECONDS + sum(todo)
    takes = f", {about(seconds)}" if todo else ""
    invocation.output.note(f"{plural(len(todo), 'training')} at most, {len(cells) - len(todo)} recorded already{takes}")
    if (seconds or 0) > LONG_SECONDS:
        invocation.output.note(TRAINING)
    invocation.output.document("compare-dry-run", {"workspace": str(invocation.workspace), "cells": cells})
