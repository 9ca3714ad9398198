"""What a call of a stage would find there already, and what it lacks. Importing this costs no torch."""

import dataclasses
import importlib
from pathlib import Path
from typing import Any

from elfs.config import StageConfig, as_json
from elfs.pipeline.graph import series
from elfs.pipeline.job import Outcome, StageCall
from elfs.pipeline.recorded_config import portable
from elfs.pipeline.upstream import require
from elfs.workspace.names import HOLDER_NAME, PARTIAL_NAME
from elfs.workspace.workspace import Workspace

__all__ = ["fresh_record", "kept", "known", "resolved"]


def known(stage: str, path: Path, config: StageConfig, source_root: Path | None = None) -> Outcome | None:
    """Return what a stage has made with this config from these inputs, without loading its code.

    Parameters
    ----------
    stage : str
        Name of the stage.
    path : Path
        The workspace.
    config : StageConfig
        The stage's config.
    source_root : Path or None
        Folder of the images; None keeps the recorded one.

    Returns
    -------
    Outcome or None
        None where the stage would run, only its code can tell, or a writer has left something to clear away.

    Raises
    ------
    MissingUpstreamError
        If there is no workspace, or an artifact has never been made that the stage needs.
    StaleUpstreamError
        If one was made from inputs that have changed since.
    UsageError, InputDataError
        If files or selections that the config names are not there.
    """
    call = StageCall.of(stage, config)
    outside: dict[str, str] | None = {}
    if call.stage.outside:
        outside = importlib.import_module(call.stage.outside).digests_outside(config, path, source_root)
    if outside is None:
        return None
    workspace = Workspace.open(path)
    call, inputs = resolved(call, workspace, outside)
    record = fresh_record(workspace, call, as_json(portable(config)), inputs)
    return None if record is None or _has_leftovers(path) else kept(workspace, call, record)


def _has_leftovers(path: Path) -> bool:
    """Return whether a writer is at work or was killed: what it left is for the next one to clear away."""
    return (path / PARTIAL_NAME).exists() or (path / HOLDER_NAME).exists()


def resolved(call: StageCall, workspace: Workspace, outside: dict[str, str]) -> tuple[StageCall, dict[str, str]]:
    """Return a call with all that it needs, and what it would be made from.

    Parameters
    ----------
    call : StageCall
        With what it needs in any workspace.
    workspace : Workspace
        What is there.
    outside : dict of str to str
        Inputs that lie outside the workspace, each with its digest.

    Returns
    -------
    call : StageCall
        With what its stage needs because it is there.
    inputs : dict of str to str
        Every artifact that the stage would read, needed or used because it is fresh, and what lies outside, each with
        its digest.

    Raises
    ------
    ElfsError
        If what it needs is missing or stale; see `elfs.pipeline.upstream.require`.
    """
    call = _with_optional(call, workspace)
    require(workspace, call.stage.name, call.needs)
    maybe = (*call.stage.needs, *call.stage.uses)
    uses = [name for name in maybe if name not in call.needs and _usable(workspace, name)]
    artifacts = workspace.manifest.artifacts
    return call, {name: artifacts[name].digest for name in [*call.needs, *uses]} | outside


def kept(workspace: Workspace, call: StageCall, record: str) -> Outcome:
    """Return the outcome of a call that found a record.

    Parameters
    ----------
    workspace : Workspace
        Holds it.
    call : StageCall
        Found it.
    record : str
        Its name.

    Returns
    -------
    Outcome
        With the record's facts; nothing ran.
    """
    facts = workspace.manifest.records[record]
    return Outcome(call.stage.name, record, False, 0.0, facts.summary, facts.smoke)


def _with_optional(call: StageCall, workspace: Workspace) -> StageCall:
    """Return the call with what its stage reads because it is there."""
    optional = call.stage.optional.items()
    more = [name for artifact, besides in optional if workspace.has(artifact) for name in (artifact, *besides)]
    if "annotations" in more:
        more += [artifact for artifact in call.stage.beside_annotations if workspace.has(artifact)]
    return dataclasses.replace(call, needs=tuple(dict.fromkeys([*call.needs, *more])))


def _usable(workspace: Workspace, artifact: str) -> bool:
    if not workspace.has(artifact):
        return False
    return workspace.stale_reason(workspace.manifest.artifacts[artifact].record) is None


def fresh_record(workspace: Workspace, call: StageCall, config: dict[str, Any], inputs: dict[str, str]) -> str | None:
    """Return the record that was made with this config from these inputs, and is neither incomplete nor stale.

    It is incomplete where an older elfs made it, which did not know one of the stage's artifacts. What a stage only
    uses where it is there does not count.

    Parameters
    ----------
    workspace : Workspace
        Where to look.
    call : StageCall
        As `resolved` returns it.
    config : dict
        As the record holds it.
    inputs : dict of str to str
        As `resolved` returns them.

    Returns
    -------
    str or None
        Its name; None where there is none.
    """
    used = {*call.stage.needs, *call.stage.uses} - set(call.needs)
    needed = {name: digest for name, digest in inputs.items() if name not in used}
    for name in reversed(series(call.record, workspace.manifest.records)[:-1]):
        known = workspace.manifest.records[name]
        made = {artifact.partition("/")[0] for artifact in known.outputs}
        is_complete = made >= {artifact.partition("/")[0] for artifact in call.stage.makes}
        seen = {artifact: digest for artifact, digest in known.inputs.items() if artifact not in used}
        if known.config == config and seen == needed and is_complete and workspace.stale_reason(name) is None:
            return name
    return None
