"""Which stages would run, and why. Writes nothing."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elfs.config import SelectConfig, StageConfig, as_json
from elfs.errors import MissingUpstreamError

if TYPE_CHECKING:
    from elfs.pipeline.status import StageState
    from elfs.workspace.records import Record

__all__ = ["PlannedStage", "changes", "plan"]


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
    there = _There.of(workspace)
    planned: dict[str, PlannedStage] = {}
    for stage, config in calls:
        planned[stage] = _planned(there, planned, stage, config, force=force)
        if stage == "embed" and sources is not None:
            action, reason = "run" if force else "refuse", f"source {sources[0]} -> {sources[1]}"
            reason += "" if force else " takes --force, or another --workspace"
            planned[stage] = dataclasses.replace(planned[stage], action=action, reason=reason)
    return list(planned.values())


@dataclass(frozen=True)
class _There:
    """What a workspace holds: states and records by name, and the selections that people have annotated since."""

    states: dict[str, "StageState"] = dataclasses.field(default_factory=dict)
    records: Mapping[str, "Record"] = dataclasses.field(default_factory=dict)
    annotated: frozenset[str] = frozenset()

    @classmethod
    def of(cls, workspace: Path) -> "_There":
        from elfs.pipeline.status import states
        from elfs.workspace.freshness import annotated_since
        from elfs.workspace.workspace import Workspace

        try:
            found = {state.record: state for state in states(workspace)}
            manifest = Workspace.open(workspace).manifest
        except MissingUpstreamError:
            return cls()
        selections = [name for name, record in manifest.records.items() if record.stage == "select"]
        return cls(found, manifest.records, frozenset(name for name in selections if annotated_since(manifest, name)))


def _planned(
    there: _There, planned: Mapping[str, PlannedStage], stage: str, config: StageConfig, *, force: bool
) -> PlannedStage:
    """Return what would become of a stage after those that are planned already."""
    from elfs.pipeline.graph import ancestors, record_name, series

    *taken, free = series(record_name(stage, config), there.records)
    record = (taken or [free])[0]
    action, reason = _upstream(ancestors(stage, config), there.states, planned)
    if action == "":
        own = {
            name: ("run", "people have annotated since")
            if name in there.annotated
            else _own(there.states[name], there.records[name].config, config, force=force)
            for name in reversed(taken)
        }
        record = next((name for name, (action, _) in own.items() if action == "skip"), record)
        action, reason = own.get(record, ("run", "never ran"))
    if action == "run" and taken and isinstance(config, SelectConfig):
        reason += _about_name(config, free.partition("/")[2], force=force)
    return PlannedStage(stage, record, action, reason)


def _about_name(config: SelectConfig, free: str, *, force: bool) -> str:
    """Return what becomes of a selection whose name is taken, if its list is another one."""
    from elfs.pipeline.graph import is_automatic

    if is_automatic(config):
        return f"; another list is named {free}"
    return "" if force else "; another list is refused"


def _upstream(
    names: Sequence[str], found: Mapping[str, "StageState"], planned: Mapping[str, PlannedStage]
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
