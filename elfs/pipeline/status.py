"""Where a workspace stands, and which commands mend it. Importing this costs no torch."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from elfs.catalog import STAGES as STAGE_NAMES
from elfs.catalog import required_epochs
from elfs.config import ScoreConfig, StageConfig
from elfs.errors import MissingUpstreamError, StaleUpstreamError, UsageError
from elfs.pipeline.graph import STAGES, makers, needed_artifacts
from elfs.suggestions import suggestion
from elfs.workspace.commands import command_line, config_of, told_config
from elfs.workspace.freshness import changed_inputs
from elfs.workspace.workspace import Workspace

__all__ = [
    "StageState",
    "older_inputs",
    "recorded_config",
    "require",
    "require_key",
    "states",
]


@dataclass(frozen=True)
class StageState:
    """Where one record of the workspace stands.

    Attributes
    ----------
    record, stage : str
        Name of the record and of its stage.
    state : {"fresh", "kept", "stale", "missing"}
        Whether it can be used; a selection is kept, and can, where what it was made from has changed since.
    reason : str or None
        Why it is stale, or what a kept one was made from.
    command : str
        What makes it, or makes it again.
    headline : str
        What it says about itself.
    smoke : bool
        Whether it comes from a smoke run.
    """

    record: str
    stage: str
    state: str
    reason: str | None
    command: str
    headline: str
    smoke: bool


def recorded_config(path: Path, stage: str) -> StageConfig | None:
    """Return what a stage was told last; what ``--smoke`` set is no part of it.

    Parameters
    ----------
    path : Path
        The workspace.
    stage : str
        Name of the stage.

    Returns
    -------
    StageConfig or None
        None if the workspace or the record is not there. For select, the selection that was made last.
    """
    try:
        manifest = Workspace.open(path).manifest
    except MissingUpstreamError:
        return None
    names = [name for name, record in manifest.records.items() if record.stage == stage]
    if not names:
        return None
    latest = max(names, key=lambda name: str(manifest.runs.get(name, {}).get("started", "")))
    return told_config(manifest.records[latest])


def older_inputs(workspace: Workspace, selection: str) -> list[str]:
    """Return what a selection was made from and has changed since.

    Parameters
    ----------
    workspace : Workspace
        Where it is.
    selection : str
        Name of a selection that is there.

    Returns
    -------
    list of str
        Artifacts that its method reads, sorted; what only fills the columns of its table does not count.
    """
    record = f"select/{selection}"
    needs = needed_artifacts("select", config_of(workspace.manifest.records[record]))
    return [name for name in changed_inputs(workspace.manifest, record) if name in needs]


def _again(workspace: Workspace, stage: str) -> str:
    config = recorded_config(workspace.path, stage)
    return command_line(stage, config, workspace.path, workspace.manifest.source_root)


def _mending(workspace: Workspace, artifacts: tuple[str, ...]) -> str:
    """Return the commands that make the artifacts and everything below them fresh."""
    chain = makers(artifacts)
    records = workspace.manifest.records
    first = next(
        (
            name
            for name in chain
            if name not in records
            or workspace.stale_reason(name) is not None
            or not all(workspace.has(artifact) for artifact in STAGES[name].makes)
        ),
        chain[-1],
    )
    todo = chain[chain.index(first) :]
    return " && ".join(_again(workspace, name) for name in todo)


def require(workspace: Workspace, who: str, artifacts: tuple[str, ...]) -> None:
    """Check that the artifacts are there and fresh.

    Parameters
    ----------
    workspace : Workspace
        Where to look.
    who : str
        The command that needs them.
    artifacts : tuple of str
        What is needed.

    Raises
    ------
    MissingUpstreamError
        If one has never been made; the hint names the commands that make it.
    StaleUpstreamError
        If one was made from inputs that have changed since.
    UsageError
        If a selection that another one builds on does not exist.
    """
    for artifact in artifacts:
        if artifact.startswith("selections/"):
            _require_selection(workspace, artifact)
            continue
        if not workspace.has(artifact):
            raise MissingUpstreamError(
                f"{who} needs {artifact}, which {makers([artifact])[-1]} has not made in {workspace.path} yet.",
                hint=_mending(workspace, artifacts),
            )
        reason = workspace.stale_reason(workspace.manifest.artifacts[artifact].record)
        if reason is not None:
            raise StaleUpstreamError(f"{artifact} is stale: {reason}.", hint=_mending(workspace, artifacts))


def require_key(workspace: Workspace, key: str) -> None:
    """Check that the scores hold a key.

    Parameters
    ----------
    workspace : Workspace
        Where to look; the scores are there (``require``).
    key : str
        A key of ``elfs.catalog.SCORES``.

    Raises
    ------
    MissingUpstreamError
        If they lack it, mostly because the dynamics have too few epochs; the hint names the commands that make it.
    """
    if key in workspace.manifest.artifacts["scores"].tensors:
        return
    record = workspace.manifest.records["score"]
    told = told_config(record)
    assert isinstance(told, ScoreConfig)
    score = command_line("score", told, workspace.path)
    reason = record.summary.get("left_out", {}).get(key)
    if reason is None:
        raise MissingUpstreamError(
            f"scores hold no '{key}': they were made before elfs had it.", hint=f"{score} --force"
        )
    dynamics = dataclasses.replace(
        told_config(workspace.manifest.records["dynamics"]), **{"epochs": required_epochs(key, told.window)}
    )
    hint = f"{command_line('dynamics', dynamics, workspace.path)} && {score}"
    raise MissingUpstreamError(f"scores hold no '{key}': it {reason}.", hint=hint)


def _require_selection(workspace: Workspace, artifact: str) -> None:
    """Check that a selection on which another one builds is there."""
    if not workspace.has(artifact):
        known = sorted(name for name in workspace.manifest.artifacts if name.startswith("selections/"))
        available = f" Available: {', '.join(known)}." if known else " There is none yet."
        raise UsageError(f"unknown selection '{artifact}'.{suggestion(artifact, known)}{available}")


def states(path: Path) -> list[StageState]:
    """Return where every stage, and every selection, stands.

    Parameters
    ----------
    path : Path
        The workspace.

    Returns
    -------
    list of StageState
        In running order; a stage that never ran is ``missing``.

    Raises
    ------
    MissingUpstreamError
        If there is no workspace.
    """
    workspace = Workspace.open(path)
    found = []
    for stage in STAGE_NAMES:
        records = sorted(name for name, record in workspace.manifest.records.items() if record.stage == stage)
        if not records:
            found.append(StageState(stage, stage, "missing", None, command_line(stage, None, path), "", False))
        for name in records:
            record = workspace.manifest.records[name]
            state, reason = _standing(workspace, name)
            found.append(
                StageState(
                    record=name,
                    stage=stage,
                    state=state,
                    reason=reason,
                    command=command_line(stage, told_config(record), path, workspace.manifest.source_root),
                    headline=str(record.summary.get("headline", "")),
                    smoke=record.smoke,
                )
            )
    return found


def _standing(workspace: Workspace, record: str) -> tuple[str, str | None]:
    """Return the state of a record that is there, and the reason."""
    if workspace.manifest.records[record].stage == "select":
        older = older_inputs(workspace, record.partition("/")[2])
        return ("kept", f"made from older {', '.join(older)}") if older else ("fresh", None)
    reason = workspace.stale_reason(record)
    return ("fresh" if reason is None else "stale"), reason
