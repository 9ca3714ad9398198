"""``elfs evaluate``."""

from typing import Annotated

import typer

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._shared_options import COMMON
from elfs.cli._words import FILE

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs evaluate", "elfs evaluate --labels annotated.csv --json")

LabelsOption = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar=FILE,
        help="What annotators gave: CSV with id and label, an export of Label Studio or CVAT, COCO, a folder a class; "
        "or 'folders', those of the pool. \\[default: auto = the source's own labels]",
    ),
]


@command(shared=COMMON)
def body(invocation: Invocation, labels: LabelsOption = None) -> None:
    """Say how well clusters and pseudo-labels agree with true labels, where there are any."""
    from elfs.evaluation.evaluate import evaluate
    from elfs.workspace.steady import read_steadily

    path = invocation.workspace
    report = read_steadily(path, lambda: evaluate(path, None if labels == "auto" else labels))
    for line in report.lines():
        invocation.output.data(line)
    invocation.output.document("evaluate", report.as_json())
