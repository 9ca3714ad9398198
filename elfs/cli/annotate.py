"""``elfs annotate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elfs.cli._invocation import Invocation
from elfs.cli._options import FILE, command
from elfs.cli._text import plural
from elfs.errors import UsageError

if TYPE_CHECKING:
    from elfs.annotations.annotating import Report
    from elfs.annotations.asking import Progress
    from elfs.annotations.kept import Annotations

__all__ = ["EXAMPLES", "body", "progress_line"]

EXAMPLES = ("elfs annotate project-1-at-2026-01-01.json", "elfs annotate --remove a.png,b.png")

_SHOWN = 10
"""Changed annotations that people are shown; the JSON document has all."""

FileArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILE]",
        show_default=False,
        help="What an annotation tool exported, a table, JSON, or a folder with a folder for each class.",
    ),
]
RemoveOption = Annotated[
    str | None,
    typer.Option("--remove", metavar=FILE, help="Take these annotations out again: a list, or ids with commas."),
]


@command(shared=("workspace", "dry_run", "json", "quiet", "verbose"))
def body(invocation: Invocation, file: FileArgument = None, remove: RemoveOption = None) -> None:
    """Take labels from people into the workspace; without FILE, say what it holds."""
    from elfs.annotations.annotating import annotate, remove_annotations, show_annotations

    path, dry_run, output = invocation.workspace, invocation.dry_run, invocation.output
    if file is not None and remove is not None:
        raise UsageError("--remove takes annotations out, and FILE brings some in: one at a time.")
    if remove is not None:
        report = remove_annotations(path, remove, dry_run=dry_run)
    elif file is not None:
        report = annotate(path, Path(file), dry_run=dry_run)
    else:
        report = show_annotations(path)
    for remark in report.remarks:
        output.warn(f"{remark}.")
    for line in _lines(report, dry_run=dry_run):
        output.data(line)
    document = report.as_json() | {"workspace": str(path), "dry_run": dry_run}
    output.document(document)


def _lines(report: "Report", *, dry_run: bool) -> list[str]:
    counts, head = report.counts, "would do" if dry_run else "done"
    words = {"new": "taken in", "changed": "changed", "same": "there already", "removed": "removed"}
    done = [f"{counts[name]:,} {what}" for name, what in words.items() if counts.get(name)]
    lines = [f"{head:<10} {', '.join(done)}"] if done else []
    lines += [f"{'changed':<10} {image}: {old} -> {new}" for image, old, new in report.changed[:_SHOWN]]
    if len(report.changed) > _SHOWN:
        lines.append(f"{'':<10} and {len(report.changed) - _SHOWN:,} more; --json has all")
    lines.append(progress_line(report.after, report.progress))
    lines += [f"{'class':<10} {name}   {plural(count, 'image')}" for name, count in report.after.counts().items()]
    return lines


def progress_line(annotations: "Annotations", progress: "list[Progress]") -> str:
    """Return how far people are, as ``annotate`` and ``status`` say it.

    Parameters
    ----------
    annotations : Annotations
        What they said.
    progress : list of Progress
        How far they are with each selection that they have begun.

    Returns
    -------
    str
        Such as ``by people  200 of 200 of round1 annotated, 12 classes``.
    """
    if not annotations:
        return f"{'by people':<10} nothing annotated yet"
    parts = [f"{item.annotated:,} of {item.images:,} of {item.selection} annotated" for item in progress]
    if unasked := sum(not said.selection for said in annotations.of_image.values()):
        parts.append(f"{unasked:,} that no selection asked for")
    number = len(annotations.names)
    return f"{'by people':<10} {', '.join(parts)}, {'1 class' if number == 1 else f'{number:,} classes'}"
