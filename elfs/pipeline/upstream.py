"""What a command builds on: there and fresh, or refused with the commands that mend it."""

import dataclasses

from elfs.catalog import required_epochs
from elfs.config import ScoreConfig
from elfs.errors import MissingUpstreamError, StaleUpstreamError, UsageError
from elfs.pipeline.facts import ScoreFacts
from elfs.pipeline.graph import STAGES, makers
from elfs.pipeline.status import recorded_config
from elfs.suggestions import suggestion
from elfs.workspace.commands import command_line, told_config
from elfs.workspace.workspace import Workspace

__all__ = ["require", "require_key"]


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
    reason = workspace.summary("score", ScoreFacts).why_not(key)
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
