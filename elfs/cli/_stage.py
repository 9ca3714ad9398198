"""What the six stage commands and ``run`` share: call a stage, say what became of it, say what comes next."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elfs.catalog import SELECTORS
from elfs.cli._invocation import Invocation
from elfs.cli._text import clock, stage_row
from elfs.config import ClusterConfig, EmbedConfig, SelectConfig, StageConfig

if TYPE_CHECKING:
    from elfs.parallel.runtime import Runtime
    from elfs.pipeline.job import Outcome

__all__ = [
    "SMOKE_WARNING",
    "call_stage",
    "run_stage",
    "show_end",
    "show_known",
]

SMOKE_WARNING = "smoke settings: every step ran, the result means nothing."

_CLUSTER_OPTIONS = {
    "kmeans": frozenset({"clusters", "method"}),
    "graph": frozenset({"clusters", "method", "hidden", "bottleneck", "temperature"}),
    "turtle": frozenset({"clusters", "method", "heads", "head_choice", "batch_size", "learning_rate"}),
}
_NOT_OF_TEST_SETS = frozenset({"balance", "blocks", "budget", "key", "method", "per_group"})
_ENCODER_OPTIONS = frozenset({"encoder", "weights", "batch_size"})


def run_stage(invocation: Invocation, stage: str, config: StageConfig, source_root: Path | None = None) -> None:
    """Do what a stage's command does.

    Parameters
    ----------
    invocation : Invocation
        The call of the command.
    stage : str
        Its name.
    config : StageConfig
        Its config.
    source_root : Path or None
        Folder of the images, for embed.
    """
    if invocation.dry_run:
        from elfs.cli._dry_run import show_plan

        show_plan(invocation, [(stage, config)])
        return
    from elfs.pipeline.graph import STAGES
    from elfs.pipeline.known import known

    # What is there already, or cannot be made, is said before torch is loaded.
    may_be_known = invocation.is_plain and not invocation.force
    outcome = known(stage, invocation.workspace, config, source_root) if may_be_known else None
    if outcome is not None:
        show_known(invocation, outcome, config)
    else:
        runtime = invocation.runtime(parallel=STAGES[stage].parallel)
        outcome = call_stage(invocation, runtime, stage, config, source_root)
    show_end(invocation, [outcome])


def call_stage(
    invocation: Invocation, runtime: "Runtime", stage: str, config: StageConfig, source_root: Path | None
) -> "Outcome":
    """Call one stage and print its row of the table.

    Parameters
    ----------
    invocation : Invocation
        The call of the command.
    runtime : Runtime
        Where and how to run.
    stage : str
        Its name.
    config : StageConfig
        Its config.
    source_root : Path or None
        Folder of the images, for embed.

    Returns
    -------
    Outcome
        What was made or found.
    """
    from elfs.pipeline.execution import execute

    _warn_of_idle(invocation, stage, config)
    outcome = execute(
        stage,
        invocation.workspace,
        config,
        runtime,
        force=invocation.force,
        smoke=invocation.smoke,
        source_root=source_root,
    )
    _show_row(invocation, outcome)
    return outcome


def show_known(invocation: Invocation, outcome: "Outcome", config: StageConfig) -> None:
    """Print the row of a stage that has nothing to do.

    Parameters
    ----------
    invocation : Invocation
        The call of the command.
    outcome : Outcome
        What `elfs.pipeline.known.known` found.
    config : StageConfig
        The stage's config.
    """
    _warn_of_idle(invocation, outcome.stage, config)
    _show_row(invocation, outcome)


def _show_row(invocation: Invocation, outcome: "Outcome") -> None:
    took = clock(outcome.seconds) if outcome.ran else "fresh"
    output = invocation.output
    output.note(stage_row(outcome.stage, outcome.headline, took, output.width))


def _warn_of_idle(invocation: Invocation, stage: str, config: StageConfig) -> None:
    """Warn of options that were given and change nothing beside the others."""
    given = {name for name, value in invocation.flags.get(stage, {}).items() if value is not None}
    idle, reason = set[str](), ""
    if isinstance(config, ClusterConfig) and config.method in _CLUSTER_OPTIONS:
        idle, reason = given - _CLUSTER_OPTIONS[config.method], f"beside --method {config.method}"
    elif isinstance(config, SelectConfig):
        method = SELECTORS[config.method]
        concerns = {"hard_rate": method.prunes, "key": method.keyed}
        idle = {name for name, concerned in concerns.items() if name in given and not concerned}
        reason = f"beside --method {config.method}"
        if config.holdout is not None and given & _NOT_OF_TEST_SETS:
            idle, reason = given & _NOT_OF_TEST_SETS, "beside --holdout"
        elif config.metadata is not None and config.column is None:
            idle, reason = {"metadata"}, "without --balance column:NAME"
    elif isinstance(config, EmbedConfig) and config.embeddings is not None:
        idle, reason = given & _ENCODER_OPTIONS, "beside --embeddings"
    elif isinstance(config, EmbedConfig):
        idle, reason = given & {"ids"}, "where there are no --embeddings"
    if idle:
        spelled = ", ".join(invocation.spellings[stage][name] for name in sorted(idle))
        invocation.output.warn(f"{spelled}: without effect {reason}.")


def show_end(invocation: Invocation, outcomes: Sequence["Outcome"]) -> None:
    """Print what a command ends with: the selection if there is one, warnings, what to do next, the document.

    Parameters
    ----------
    invocation : Invocation
        The call of the command.
    outcomes : sequence of Outcome
        What its stages made or found, in order; at least one.
    """
    output, last = invocation.output, outcomes[-1]
    document: dict[str, Any] = {
        "workspace": str(invocation.workspace),
        "stages": [
            {
                "stage": outcome.stage,
                "record": outcome.record,
                "ran": outcome.ran,
                "seconds": round(outcome.seconds, 3),
                "smoke": outcome.smoke,
                "summary": outcome.summary,
            }
            for outcome in outcomes
        ],
    }
    if last.stage == "select":
        from elfs.cli._selection_lines import selection_document, selection_lines
        from elfs.pipeline.facts import SelectionFacts
        from elfs.pipeline.trust import doubt

        document["selection"] = selection_document(invocation.workspace, last)
        for line in selection_lines(invocation.workspace, last, quiet=output.quiet):
            output.data(line)
        if (reason := doubt(SelectionFacts.of(last.summary))) is not None:
            output.warn(reason)
    if last.smoke:
        output.warn(SMOKE_WARNING)
    from elfs.cli._next import commands_after

    for position, line in enumerate(commands_after(last.stage, last.record, invocation.workspace)):
        output.note(f"{'next' if position == 0 else '':<10} {line}", style="cyan")
    output.document("stages", document)
