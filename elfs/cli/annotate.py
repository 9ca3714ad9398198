"""``elfs annotate``."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._text import plural
from elfs.cli._words import FILE
from elfs.cli.export import ForceOption
from elfs.errors import UsageError

if TYPE_CHECKING:
    from elfs.annotations.annotating import Report
    from elfs.annotations.asking import AnnotationProgress
    from elfs.annotations.kept import Annotations

__all__ = ["EXAMPLES", "body", "progress_line"]

EXAMPLES = ("elfs annotate project-1-at-2026-01-01.json", "elfs annotate --doubtful -o second-look.csv")

_SHOWN = 10
"""Changed annotations that people are shown; the JSON document has all."""

FileArgument = Annotated[
    str | None,
    typer.Argument(
        metavar=FILE,
        show_default=False,
        help="What an annotation tool exported, a table, JSON, or a folder with a folder for each class.",
    ),
]
RemoveOption = Annotated[
    str | None,
    typer.Option("--remove", metavar=FILE, help="Take these annotations out again: a list, or ids with commas."),
]

DoubtfulOption = Annotated[
    bool, typer.Option("--doubtful", metavar="", help="List the annotations that are likely wrong, for a second look.")
]
OutputOption = Annotated[
    str | None, typer.Option("--output", "-o", metavar=FILE, help="Write the doubtful ones to this CSV file.")
]


@command(shared=("workspace", "dry_run", "json", "quiet", "verbose"))
def body(
    invocation: Invocation,
    file: FileArgument = None,
    remove: RemoveOption = None,
    doubtful: DoubtfulOption = False,
    target: OutputOption = None,
    force: ForceOption = False,
) -> None:
    """Take labels from people into the workspace; without FILE, say what it holds."""
    from elfs.annotations.annotating import annotate, remove_annotations, show_annotations

    path, dry_run, output = invocation.workspace, invocation.dry_run, invocation.output
    if (file is not None) + (remove is not None) + doubtful > 1:
        raise UsageError("FILE brings annotations in, --remove takes some out, --doubtful lists some: one at a time.")
    if target is not None and not doubtful:
        raise UsageError("--output is where --doubtful writes its list.")
    if doubtful:
        _show_doubtful(invocation, target, force=force)
        return
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
    output.document("annotate", document)


def _show_doubtful(invocation: Invocation, target: str | None, *, force: bool) -> None:
    """List the annotations that are likely wrong, the most doubtful first."""
    from elfs.delivery.places import publish_file
    from elfs.stages.doubtful_annotations import doubtful_annotations, doubts_csv

    output, doubts = invocation.output, doubtful_annotations(invocation.workspace)
    if target is not None:
        publish_file(Path(target), lambda: doubts_csv(doubts), force=force)
    head = ("ID", "CLASS", "TAKEN FOR", "SUPPORT")
    rows = [head, *((doubt.image, doubt.name, doubt.taken_for, f"{doubt.support:.3f}") for doubt in doubts)]
    output.table(rows if doubts else [("no annotation is doubtful",)])
    if target is not None:
        output.note(f"file        {target}", style="cyan")
    listed = [dataclasses.asdict(doubt) for doubt in doubts]
    output.document("doubtful", {"workspace": str(invocation.workspace), "doubtful": listed, "path": target})


def _lines(report: "Report", *, dry_run: bool) -> list[str]:
    counts, head = report.counts, "would do" if dry_run else "done"
    words = {"new": "taken in", "changed": "changed", "same": "there already", "removed": "removed"}
    words["skipped"] = "without a label"
    done = [f"{counts[name]:,} {what}" for name, what in words.items() if counts.get(name)]
    lines = [f"{head:<10} {', '.join(done)}"] if done else []
    lines += [f"{'changed':<10} {image}: {old} -> {new}" for image, old, new in report.changed[:_SHOWN]]
    if len(report.changed) > _SHOWN:
        lines.append(f"{'':<10} and {len(report.changed) - _SHOWN:,} more; --json has all")
    lines.append(progress_line(report.after, report.progress))
    lines += [f"{'class':<10} {name}   {plural(count, 'image')}" for name, count in report.after.counts().items()]
    return lines


def progress_line(annotations: "Annotations", progress: "list[AnnotationProgress]") -> str:
    """Return how far people are, as ``annotate`` and ``status`` say it.

    Parameters
    ----------
    annotations : Annotations
        What they said.
    progress : list of AnnotationProgress
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
