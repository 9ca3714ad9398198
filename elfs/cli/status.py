"""``elfs status``."""

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elfs.catalog import STAGES
from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._shared_options import COMMON
from elfs.cli._text import clock
from elfs.errors import CorruptArtifactError, MissingUpstreamError, UsageError
from elfs.workspace.names import selection_file

if TYPE_CHECKING:
    from elfs.cli._output import Output
    from elfs.pipeline.status import StageState
    from elfs.workspace.manifest import Manifest

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs status", "elfs status --workspace /data/cats --json")

_COUNTS = ("images", "train", "test", "missing", "broken", "unsupported", "too_large")
"""What embed's summary counts: all images, the usable ones of each split, and why others are left out."""

_SHOWN, _MAX_LEFT_OUT = 5, 1000
"""Images left out that people are shown, and the JSON document has."""

_TOLD = ("hard_rate", "include", "exclude", "holdout", "groups", "per_group", "metadata")
_USUAL = {"balance": "none", "dedup": "exact", "blocks": 1, "seed": 0}
"""Options of a selection that status names where they are given, and where they are unusual."""

_NOTHING: dict[str, Any] = {
    **{"exists": False, "source": {}, "stages": [], "doing": {}, "images": {}, "left_out": [], "selections": []},
    **{"default_selection": None, "annotations": {}, "next": None},
}
"""What the JSON document says where there is no workspace."""

_STYLES = {"fresh": "green", "kept": "green", "stale": "yellow", "missing": "dim"}


@command(shared=COMMON)
def body(invocation: Invocation) -> None:
    """Show what is there, what is stale, and what to run next."""
    from elfs.pipeline.status import states

    output, workspace = invocation.output, invocation.workspace
    try:
        found = states(workspace)
    except MissingUpstreamError:
        _say_nothing_is_there(output, workspace)
        return
    from elfs.pipeline.status import default_selection
    from elfs.workspace.manifest import open_manifest

    manifest = open_manifest(workspace)
    default = default_selection(manifest)
    source, doing = _source(manifest), _doing(workspace)
    output.data(f"workspace {workspace}")
    if source:
        output.data(f"source     {'  '.join(text for text in source.values() if text)}")
    rows = [_row(state, manifest, is_default=state.record == f"select/{default}") for state in found]
    output.table(rows, [_STYLES[state.state] for state in found])
    if doing:
        output.data(_doing_line(doing), style="cyan")
    images, left_out = _tell_images(output, workspace, manifest)
    facts = _tell_annotations(output, workspace)
    selections = [str(selection_file(workspace, state.record)) for state in found if _is_selection(state)]
    for path in selections:
        output.data(f"selection  {path}")
    commands = [] if doing else _next_commands(found, default, workspace)
    for position, line in enumerate(commands):
        output.note(f"{'next' if position == 0 else '':<10} {line}", style="cyan")
    document = {"workspace": str(workspace), "exists": True, "source": source, "doing": doing, "images": images}
    document |= {"left_out": left_out, "selections": selections, "default_selection": default, "annotations": facts}
    stages = [dataclasses.asdict(state) for state in found]
    output.document("status", document | {"stages": stages, "next": _mending(found)})


def _say_nothing_is_there(output: "Output", workspace: Path) -> None:
    from elfs.workspace.commands import command_line

    output.data(f"no workspace at {workspace}")
    next_command = command_line("embed", None, workspace)
    output.note(f"{'next':<10} {next_command}", style="cyan")
    output.document("status", _NOTHING | {"workspace": str(workspace), "next": next_command})


def _tell_annotations(output: "Output", workspace: Path) -> dict[str, Any]:
    """Show how far the annotations are, and return the same as plain JSON values; empty if they cannot be read."""
    try:
        annotated, facts = _annotated(workspace)
    except CorruptArtifactError as error:
        output.warn(error.message)
        return {}
    if annotated:
        output.data(annotated)
    return facts


def _tell_images(
    output: "Output", workspace: Path, manifest: "Manifest"
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Show what became of the images, and return their counts and those that were left out."""
    images = _images(manifest)
    if images:
        output.data(_images_line(images))
    left_out = _left_out(output, workspace, images)
    for image in left_out[:_SHOWN]:
        output.data(f"{'left out':<10} {image['id']}: {image['outcome']}{', ' if image['why'] else ''}{image['why']}")
    return images, left_out


def _is_selection(state: "StageState") -> bool:
    return state.stage == "select" and state.state != "missing"


def _row(state: "StageState", manifest: "Manifest", *, is_default: bool) -> tuple[str, str, str, str]:
    """Return record, state, how long it took and what there is to say about it; ``*`` is the default selection."""
    reason = state.reason or ""
    headline = state.headline
    if made := _made(manifest.records[state.record].config) if _is_selection(state) else "":
        headline = f"{headline}, {made}"
    said = {"fresh": headline, "kept": f"{headline}, {reason}", "stale": reason, "missing": ""}[state.state]
    said = "  ".join(said.split("   "))
    took = "" if state.seconds is None else clock(state.seconds)
    mark = "*" if is_default else " "
    return f"{mark} {state.record}", state.state, took, f"{said} (smoke run)" if state.smoke else said


def _made(config: Mapping[str, Any]) -> str:
    """Return how a selection was made, as far as its headline does not say so."""
    words = [f"budget {config['budget']}"] if "budget" in config else []
    words += [f"{name.replace('_', ' ')} {config[name]}" for name in _TOLD if config.get(name) is not None]
    words += ["whole groups"] if config.get("by_group") else []
    words += [f"{name} {config[name]}" for name, usual in _USUAL.items() if config.get(name, usual) != usual]
    return ", ".join(words)


def _mending(found: "list[StageState]") -> str | None:
    """Return the command for the first stage that is stale or missing."""
    unfit = [state for state in found if state.state in ("stale", "missing")]
    first = min(unfit, key=lambda state: STAGES.index(state.stage), default=None)
    return None if first is None else first.command


def _next_commands(found: "list[StageState]", default: str | None, workspace: Path) -> list[str]:
    """Return the command that mends what is stale or missing; else what ``select`` says is next after the default."""
    if (mending := _mending(found)) is not None:
        return [mending]
    if default is None:
        return []
    from elfs.cli._next import commands_after

    return commands_after("select", f"select/{default}", workspace)


def _source(manifest: "Manifest") -> dict[str, str | None]:
    """Return what was embedded and where it lies; empty before the first embed."""
    record = manifest.records.get("embed")
    return {} if record is None else {"source": str(record.config.get("source")), "root": manifest.source_root}


def _doing(workspace: Path) -> dict[str, Any]:
    """Return what a process is making of the workspace, or was making when it was stopped; empty where none is."""
    from elfs.config import CONFIGS, from_json
    from elfs.workspace.commands import command_line
    from elfs.workspace.progress import read_progress

    doing = read_progress(workspace)
    if doing is None:
        return {}
    is_running = doing.is_running(workspace)
    command = None
    if doing.stage in STAGES:
        with suppress(UsageError):  # another elfs may have noted it
            config = from_json(CONFIGS[doing.stage], doing.config)
            command = command_line(doing.stage, config, workspace, doing.source_root)
            command += " --force" if doing.force else ""
    facts = {name: getattr(doing, name) for name in ("record", "work", "done", "total", "unit", "pid", "host")}
    return facts | {"state": "running" if is_running else "interrupted", "command": command}


def _doing_line(doing: dict[str, Any]) -> str:
    far = f"{doing['done']:,} of {doing['total']:,} {doing['unit']}"
    if doing["state"] == "running":
        return f"{'running':<10} {doing['record']}, process {doing['pid']} on {doing['host']}, {far}"
    goes_on = f": {doing['command']} goes on" if doing["command"] else ": the same command goes on"
    return f"{'stopped':<10} {doing['record']} was interrupted at {far}{goes_on}"


def _images(manifest: "Manifest") -> dict[str, Any]:
    """Return the counts of images by what became of them; empty before the first embed."""
    record = manifest.records.get("embed")
    if record is None:
        return {}
    return {name: record.summary[name] for name in _COUNTS if name in record.summary}


def _left_out(output: "Output", workspace: Path, images: dict[str, Any]) -> list[dict[str, str]]:
    """Return images that could not be used, with the reasons; nothing is loaded where there are none."""
    if not any(images.get(name) for name in _COUNTS[3:]):
        return []
    import numpy as np

    from elfs.data.samples import Outcome, SampleTable
    from elfs.workspace.workspace import Workspace

    try:
        table = SampleTable.from_tensors(Workspace.open(workspace).arrays("samples"))
    except (CorruptArtifactError, MissingUpstreamError) as error:
        output.warn(error.message)
        return []
    reasons = table.reasons()
    rows = np.flatnonzero(~table.usable())[:_MAX_LEFT_OUT].tolist()
    names = [Outcome(int(table.outcome[row])).name.lower().replace("_", " ") for row in rows]
    return [
        {"id": table.id(row), "outcome": name, "why": reasons.get(row, "")}
        for row, name in zip(rows, names, strict=True)
    ]


def _annotated(workspace: Path) -> tuple[str, dict[str, Any]]:
    """Return a line about what people said, and its facts; nothing, and nothing is loaded, where they said nothing."""
    from elfs.workspace.manifest import open_manifest

    if "annotations" not in open_manifest(workspace).artifacts:
        return "", {}
    from elfs.annotations.asking import progress_of
    from elfs.annotations.kept import kept_annotations
    from elfs.cli.annotate import progress_line
    from elfs.workspace.workspace import Workspace

    opened = Workspace.open(workspace)
    annotations = kept_annotations(opened)
    if not annotations:
        return "", {}
    return progress_line(annotations, progress_of(opened, annotations)), annotations.facts()


def _images_line(images: dict[str, Any]) -> str:
    parts = [f"{count:,} {name.replace('_', ' ')}" for name, count in images.items() if name != "images" and count]
    return f"images     {images.get('images', 0):,}, of which {', '.join(parts)}"
