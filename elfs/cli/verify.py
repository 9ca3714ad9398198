"""``elfs verify``."""

import dataclasses

import typer

from elfs.cli._invocation import Invocation
from elfs.cli._options import COMMON, command
from elfs.cli._text import plural
from elfs.errors import CorruptArtifactError

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs verify", "elfs verify --json")


@command(shared=COMMON)
def body(invocation: Invocation) -> None:
    """Read every file of the workspace and compare it with the manifest."""
    from elfs.workspace.workspace import Workspace

    output = invocation.output
    workspace = Workspace.open(invocation.workspace)
    findings = workspace.verify()
    num_artifacts = len(workspace.manifest.artifacts)
    if findings:
        output.table([(item.file, item.problem, f"run: {item.hint}") for item in findings])
    else:
        output.data(f"{plural(num_artifacts, 'artifact')} as the manifest says")
    output.document({"artifacts": num_artifacts, "findings": [dataclasses.asdict(item) for item in findings]})
    if findings:
        raise typer.Exit(CorruptArtifactError.exit_code)
