"""``elfs status``."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elfs.catalog import STAGES
from elfs.cli._invocation import Invocation
from elfs.cli._options import COMMON, command
from elfs.errors import CorruptArtifactError, MissingUpstreamError
from elfs.workspace.names import selection_file

if TYPE_CHECKING:
    from elfs.pipeline.status import StageState

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs status", "elfs status --workspace /data/cats --json")

_COUNTS = ("images", "train", "test", "missing", "broken", "unsupported", "too_large")
"""What embed's summary counts: all images, the usable ones of each split, and why others are left out."""

_STYLES = {"fresh": "green", "kept": "green", "stale": "yellow", "missing": "dim"}


@command(shared=COMMON)
def body(invocation: Invocation) -> None:
    """Show what is there, what is stale, and what to run next."""
    from elfs.pipeline.status import states
    from elfs.workspace.commands import command_line

    output, workspace = invocation.output, invocation.workspace
    try:
        found = states(workspace)
    except MissingUpstreamError:
        output.data(f"no workspace at {workspace}")
        output.note(f"{'next':<10} {command_line('embed', None, workspace)}", style="cyan")
        output.document({"workspace": str(workspace), "exists": False, "stages": []})
        return
    images = _images(workspace)
    output.data(f"workspace {workspace}")
    output.table([_row(state) for state in found], [_STYLES[state.state] for state in found])
    if images:
        output.data(_images_line(images))
    try:
        annotated, facts = _annotated(workspace)
    except CorruptArtifactError as error:
        output.warn(error.message)
        annotated, facts = "", {}
    if annotated:
        output.data(annotated)
    selections = [str(selection_file(workspace, state.record)) for state in found if _is_selection(state)]
    for path in selections:
        output.data(f"selection  {path}")
    mending = _mending(found)
    if mending is not None:
        output.note(f"{'next':<10} {mending}", style="cyan")
    output.document(
        {
            "workspace": str(workspace),
            "exists": True,
            "stages": [dataclasses.asdict(state) for state in found],
            "images": images,
            "selections": selections,
            "annotations": facts,
            "next": mending,
        }
    )


def _is_selection(state: "StageState") -> bool:
    return state.stage == "select" and state.state != "missing"


def _row(state: "StageState") -> tuple[str, str, str]:
    """Return record, state and what there is to say about it."""
    reason = state.reason or ""
    said = {"fresh": state.headline, "kept": f"{state.headline}, {reason}", "stale": reason, "missing": ""}[state.state]
    said = "  ".join(said.split("   "))
    return f"  {state.record}", state.state, f"{said} (smoke run)" if state.smoke else said


def _mending(found: "list[StageState]") -> str | None:
    """Return the command for the first stage that is stale or missing."""
    unfit = [state for state in found if state.state in ("stale", "missing")]
    first = min(unfit, key=lambda state: STAGES.index(state.stage), default=None)
    return None if first is None else first.command


def _images(workspace: Path) -> dict[str, Any]:
    """Return the counts of images by what became of them; empty before the first embed."""
    from elfs.workspace.manifest import open_manifest

    record = open_manifest(workspace).records.get("embed")
    if record is None:
        return {}
    return {name: record.summary[name] for name in _COUNTS if name in record.summary}


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
