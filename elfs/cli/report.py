"""``elfs report``."""

from pathlib import Path
from typing import Annotated

import typer

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._shared_options import COMMON
from elfs.cli._words import FILE
from elfs.cli.export import SelectionOption

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs report", "elfs report --selection aum-0.1 --output aum.html")

OutputOption = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar=FILE,
        show_default=False,
        help="The page; one that is there is replaced. \\[default: elfs-report.html]",
    ),
]


@command(shared=COMMON)
def body(
    invocation: Invocation, selection: SelectionOption = None, target: OutputOption = Path("elfs-report.html")
) -> None:
    """Show a selection on one page: what was kept, what was left out, and why."""
    from elfs.delivery.report import write_report
    from elfs.workspace.steady import read_steadily

    output, path = invocation.output, invocation.workspace
    report = read_steadily(path, lambda: write_report(path, None if selection == "auto" else selection, target))
    for text in report.warnings:
        output.warn(text)
    output.data(str(target))
    output.document("report", {"selection": report.selection, "path": str(target), "warnings": report.warnings})
