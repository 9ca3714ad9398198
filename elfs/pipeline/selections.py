"""Which selection a person means, and whether it can be used. Importing this costs no torch."""

from elfs.config import SelectConfig, from_json
from elfs.errors import MissingUpstreamError, StaleUpstreamError, UsageError
from elfs.pipeline.graph import COMPARE_PREFIX, ancestors, named_parts
from elfs.pipeline.status import command_line, recorded_config
from elfs.suggestions import suggestion
from elfs.workspace.workspace import Workspace

__all__ = ["mending_command", "require_fresh", "selection_name"]


def selection_name(workspace: Workspace, wanted: str | None) -> str:
    """Return the name of a selection.

    Parameters
    ----------
    workspace : Workspace
        Where to look.
    wanted : str or None
        What was typed; None for the selection that was made last, those of ``elfs compare`` after all others.

    Returns
    -------
    str
        Such as ``aum-0.1``.

    Raises
    ------
    MissingUpstreamError
        If nothing has been selected yet.
    UsageError
        If there is no selection of that name.
    """
    manifest = workspace.manifest
    names = [name.partition("/")[2] for name, record in manifest.records.items() if record.stage == "select"]
    if not names:
        hint = command_line("select", None, workspace.path)
        raise MissingUpstreamError(f"{workspace.path} holds no selection yet.", hint=hint)
    if wanted is None:
        names = [name for name in names if not name.startswith(COMPARE_PREFIX)] or names
        return max(names, key=lambda name: str(manifest.runs.get(f"select/{name}", {}).get("started", "")))
    if wanted not in names:
        raise UsageError(
            f"unknown selection '{wanted}'.{suggestion(wanted, names)} Available: {', '.join(sorted(names))}."
        )
    return wanted


def mending_command(workspace: Workspace, name: str) -> str:
    """Return what makes a stale selection anew.

    Parameters
    ----------
    workspace : Workspace
        Where it is.
    name : str
        Name of a selection that is there.

    Returns
    -------
    str
        Commands joined by ``&&``: of the first stage that is stale and of all after it, or of select alone.
    """
    records = workspace.manifest.records
    config = from_json(SelectConfig, records[f"select/{name}"].config)
    chain = ancestors("select", config)
    stale = [stage for stage in chain if stage not in records or workspace.stale_reason(stage) is not None]
    commands = [
        command_line(stage, recorded_config(workspace.path, stage), workspace.path)
        for stage in (chain[chain.index(stale[0]) :] if stale else ())
    ]
    for part in named_parts(config.include) + named_parts(config.exclude):
        if part.startswith("selections/") and workspace.has(part):
            record = workspace.manifest.artifacts[part].record
            if workspace.stale_reason(record) is not None:
                commands += mending_command(workspace, record.partition("/")[2]).split(" && ")
    return " && ".join(dict.fromkeys([*commands, command_line("select", config, workspace.path)]))


def require_fresh(workspace: Workspace, name: str) -> None:
    """Check that a selection follows from what is in the workspace now.

    Parameters
    ----------
    workspace : Workspace
        Where it is.
    name : str
        Name of a selection that is there.

    Raises
    ------
    StaleUpstreamError
        If something that it was made from has changed; the hint names the commands that make it anew.
    """
    reason = workspace.stale_reason(f"select/{name}")
    if reason is not None:
        raise StaleUpstreamError(f"selection '{name}' is stale: {reason}.", hint=mending_command(workspace, name))
