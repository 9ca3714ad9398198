"""What ``--dry-run`` says: which stages would run, why, and what that takes. Writes nothing."""

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elfs.cli._invocation import Invocation
from elfs.cli._text import clock, plural
from elfs.config import SelectConfig, StageConfig, as_json
from elfs.errors import MissingUpstreamError

if TYPE_CHECKING:
    from elfs.pipeline.status import StageState
    from elfs.stages.estimates.costs import Cost
    from elfs.workspace.records import Record

__all__ = ["PlannedStage", "changes", "plan", "show_plan"]


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """What would become of one stage.

    Attributes
    ----------
    stage, record : str
        The stage, and the record that it makes.
    action : {"run", "skip", "refuse"}
        Whether it would run, has nothing to do, or lacks what it builds on.
    reason : str
        Why.
    """

    stage: str
    record: str
    action: str
    reason: str


def changes(asked: StageConfig, recorded: dict[str, Any]) -> list[str]:
    """Return how a config differs from the one that a record was made with.

    Parameters
    ----------
    asked : StageConfig
        What would run.
    recorded : dict
        The record's config, where files stand by name alone.

    Returns
    -------
    list of str
        ``heads 16 -> 8`` for each difference; empty if there is none.
    """
    from elfs.pipeline.recorded_config import portable

    differences = []
    for name, value in as_json(portable(asked)).items():
        if value != recorded.get(name):
            old, new = ("auto" if item is None else str(item) for item in (recorded.get(name), value))
            differences.append(f"{name.replace('_', '-')} {old} -> {new}")
    return differences


def plan(
    workspace: Path,
    calls: Sequence[tuple[str, StageConfig]],
    *,
    force: bool,
    sources: tuple[str, str] | None = None,
) -> list[PlannedStage]:
    """Return what would become of every stage.

    Parameters
    ----------
    workspace : Path
        The workspace, which need not exist.
    calls : sequence of (str, StageConfig)
        The stages that would be called, in running order.
    force : bool
        Whether ``--force`` is given.
    sources : tuple of (str, str) or None
        What the workspace holds and what is to be embedded in its place, if that is something else.

    Returns
    -------
    list of PlannedStage
        One for each of `calls`.
    """
    from elfs.pipeline.graph import ancestors, record_name, series
    from elfs.pipeline.status import states
    from elfs.workspace.freshness import annotated_since
    from elfs.workspace.workspace import Workspace

    found: dict[str, StageState] = {}
    records: dict[str, Record] = {}
    older: set[str] = set()
    with contextlib.suppress(MissingUpstreamError):
        found = {state.record: state for state in states(workspace)}
        manifest = Workspace.open(workspace).manifest
        records = manifest.records
        older = {name for name in records if records[name].stage == "select" and annotated_since(manifest, name)}
    planned: dict[str, PlannedStage] = {}
    for stage, config in calls:
        *taken, free = series(record_name(stage, config), records)
        record = (taken or [free])[0]
        action, reason = _upstream(ancestors(stage, config), found, planned)
        if action == "":
            own = {
                name: ("run", "people have annotated since")
                if name in older
                else _own(found[name], records[name].config, config, force=force)
                for name in reversed(taken)
            }
            record = next((name for name, (action, _) in own.items() if action == "skip"), record)
            action, reason = own.get(record, ("run", "never ran"))
        if stage == "embed" and sources is not None:
            action, reason = "run" if force else "refuse", f"source {sources[0]} -> {sources[1]}"
            reason += "" if force else " takes --force, or another --workspace"
        if action == "run" and taken and isinstance(config, SelectConfig):
            reason += _about_name(config, free.partition("/")[2], force=force)
        planned[stage] = PlannedStage(stage, record, action, reason)
    return list(planned.values())


def _about_name(config: SelectConfig, free: str, *, force: bool) -> str:
    """Return what becomes of a selection whose name is taken, if its list is another one."""
    from elfs.pipeline.graph import is_automatic

    if is_automatic(config):
        return f"; another list is named {free}"
    return "" if force else "; another list is refused"


def _upstream(
    names: Sequence[str], found: dict[str, "StageState"], planned: dict[str, PlannedStage]
) -> tuple[str, str]:
    """Return what the stages before this one decide about it; no action where they leave the decision to it."""
    for name in names:
        if name in planned and planned[name].action == "refuse":
            return "refuse", f"{name} is refused"
        state = found[name].state if name in found else "missing"
        if name not in planned and state != "fresh":
            return "refuse", f"{name} is {state}"
    reruns = [name for name in names if name in planned and planned[name].action == "run"]
    return ("run", f"{reruns[-1]} runs before it") if reruns else ("", "")


def _own(state: "StageState", recorded: dict[str, Any], config: StageConfig, *, force: bool) -> tuple[str, str]:
    """Return what a record decides that is there."""
    if state.state in ("kept", "stale"):
        return "run", str(state.reason)
    if differences := changes(config, recorded):
        return "run", ", ".join(differences)
    if force:
        return "run", "--force"
    return "skip", "fresh, unless the images have changed" if state.stage == "embed" else "fresh"


def show_plan(
    invocation: Invocation,
    calls: Sequence[tuple[str, StageConfig]],
    sources: tuple[str, str] | None = None,
    source_root: Path | None = None,
) -> None:
    """Print what would run and what it would take, and do nothing.

    Parameters
    ----------
    invocation : Invocation
        The call of the command.
    calls : sequence of (str, StageConfig)
        The stages that it would call, in running order.
    sources : tuple of (str, str) or None
        As `plan` takes it.
    source_root : Path or None
        Folder or file of the images, where the call names one.
    """
    steps = plan(invocation.workspace, calls, force=invocation.force, sources=sources)
    costs = _costs(invocation, calls, steps, source_root)
    rows = [(step.record, step.action, step.reason, *_cost_cells(costs.get(step.stage))) for step in steps]
    invocation.output.table(rows if costs else [row[:3] for row in rows])
    if costs:
        invocation.output.data(_total(list(costs.values())))
    document = {"workspace": str(invocation.workspace), "plan": [_as_json(step, costs) for step in steps]}
    invocation.output.document("dry-run", document)


def _costs(
    invocation: Invocation,
    calls: Sequence[tuple[str, StageConfig]],
    steps: Sequence[PlannedStage],
    source_root: Path | None,
) -> dict[str, "Cost"]:
    """Return what each stage that runs takes; nothing where no rates are known: on GPUs, and for smoke runs."""
    runs = [step.stage for step in steps if step.action == "run"]
    if not runs or invocation.smoke or not invocation.runtime().on_cpu:
        return {}
    from elfs.stages.estimates.chain import chain_costs

    return chain_costs(invocation.workspace, source_root, dict(calls), runs)


def _cost_cells(cost: "Cost | None") -> tuple[str, str, str]:
    if cost is None:
        return "", "", ""
    seconds = "time not known" if cost.seconds is None else f"about {clock(cost.seconds)}"
    return seconds, f"{cost.memory_bytes / 1e9:,.1f} GB", f"{cost.disk_bytes / 1e6:,.1f} MB"


def _total(costs: Sequence["Cost"]) -> str:
    """Return one line about all stages: they run one after the other in one process."""
    from elfs.parallel.cpus import available_cpus
    from elfs.stages.estimates.costs import START_SECONDS

    known = [cost.seconds for cost in costs if cost.seconds is not None]
    more = "" if len(known) == len(costs) else " and what is not known"
    return (
        f"takes about {clock(START_SECONDS + sum(known))}{more} on {plural(available_cpus(), 'CPU')}, "
        f"{max(cost.memory_bytes for cost in costs) / 1e9:,.1f} GB of memory, "
        f"{sum(cost.disk_bytes for cost in costs) / 1e6:,.1f} MB of disk: by measured rates, within a factor of two"
    )


def _as_json(step: PlannedStage, costs: Mapping[str, "Cost"]) -> dict[str, Any]:
    cost = costs.get(step.stage)
    facts = {"seconds": None, "memory_bytes": None, "disk_bytes": None} if cost is None else dataclasses.asdict(cost)
    return dataclasses.asdict(step) | facts
