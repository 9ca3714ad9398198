"""``elfs verify``."""

import dataclasses
from typing import TYPE_CHECKING

import typer

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._shared_options import COMMON
from elfs.cli._text import plural
from elfs.errors import CorruptArtifactError

if TYPE_CHECKING:
    from elfs.workspace.workspace import Finding, Workspace

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs verify", "elfs verify --json")


@command(shared=COMMON)
def body(invocation: Invocation) -> None:
    """Read every file of the workspace and compare it with the manifest."""
    from elfs.workspace.workspace import Workspace

    output = invocation.output
    workspace = Workspace.open(invocation.workspace)
    findings = [_advised(workspace, item) for item in workspace.verify()]
    num_artifacts = len(workspace.manifest.artifacts)
    if findings:
        advice = [f"run: {item.hint}" if item.hint else "restore it from a copy" for item in findings]
        output.table([(item.file, item.problem, text) for item, text in zip(findings, advice, strict=True)])
    else:
        output.data(f"{plural(num_artifacts, 'artifact')} as the manifest says")
    output.document("verify", {"artifacts": num_artifacts, "findings": [dataclasses.asdict(item) for item in findings]})
    if findings:
        raise typer.Exit(CorruptArtifactError.exit_code)


def _advised(workspace: "Workspace", finding: "Finding") -> "Finding":
    """Return what was found with the command that makes a damaged selection again, where the list would be the same."""
    from elfs.pipeline.selections import restoring_hint

    kind, _, name = finding.artifact.partition("/")
    return dataclasses.replace(finding, hint=restoring_hint(workspace, name)) if kind == "selections" else finding
