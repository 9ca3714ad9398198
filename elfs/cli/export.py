"""``elfs export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elfs.catalog import EXPORT_FORMATS
from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._shared_options import COMMON
from elfs.cli._stage import SMOKE_WARNING
from elfs.cli._text import plural
from elfs.cli._words import FILE, SELECTION, words
from elfs.errors import UsageError

if TYPE_CHECKING:
    from elfs.cli._output import Output
    from elfs.delivery.chosen import Selection

__all__ = ["EXAMPLES", "ForceOption", "SelectionOption", "body"]

EXAMPLES = (
    "elfs export --format images --output to-label",
    "elfs export --format label-studio --classes cat,dog --output to-label",
)

SelectionOption = Annotated[
    str | None,
    typer.Option("--selection", metavar=SELECTION, help="Which selection. \\[default: auto = the one made last]"),
]
ForceOption = Annotated[bool, typer.Option("--force", metavar="", help="Replace what is there.")]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        autocompletion=words(EXPORT_FORMATS),
        show_default=False,
        help=f"What to write: {', '.join(EXPORT_FORMATS)}. \\[default: auto = by the suffix of --output, else csv]",
    ),
]
OutputOption = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar=FILE,
        show_default=False,
        help="File, or folder for images and tools, or - for stdout. \\[default: -]",
    ),
]
PrefixOption = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        metavar="TEXT",
        help="Put before each id. \\[default: auto = the folder of the images; Label Studio's address of it]",
    ),
]
PreAnnotateOption = Annotated[
    bool,
    typer.Option("--pre-annotate", metavar="", help="Offer the pseudo-label to annotators (label-studio, cvat, coco)."),
]
ClassesOption = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="CLASSES",
        help="What annotators choose from: a,b,c or a file with one a line; with --pre-annotate one for each cluster, "
        "in order. \\[default: auto = the clusters]",
    ),
]
NullOption = Annotated[
    bool, typer.Option("--null", "-0", metavar="", help="End each path with a NUL instead of a line break (txt).")
]


@command(shared=COMMON)
def body(
    invocation: Invocation,
    export_format: FormatOption = None,
    selection: SelectionOption = None,
    target: OutputOption = "-",
    prefix: PrefixOption = None,
    pre_annotate: PreAnnotateOption = False,
    classes: ClassesOption = None,
    null: NullOption = False,
    force: ForceOption = False,
) -> None:
    """Hand a selection to annotators and other programs."""
    from elfs.delivery.choices import parse_classes
    from elfs.delivery.export import prepare_export
    from elfs.delivery.export_options import ExportOptions, format_of

    output = invocation.output
    if target == "-" and output.as_json:
        raise UsageError("--json needs --output FILE: without it, stdout carries the selection itself.")
    options = ExportOptions(
        format=format_of(target) if export_format in (None, "auto") else export_format,
        prefix=None if prefix == "auto" else prefix,
        pre_annotate=pre_annotate,
        null=null,
        classes=None if classes in (None, "auto") else parse_classes(classes),
    )
    export = prepare_export(invocation.workspace, None if selection == "auto" else selection, options)
    if target == "-":
        output.raw(export.document())
    else:
        export.write(Path(target), force=force)
        _say_written(output, export.selection, options.format, target)
    if (note := export.note(Path(target))) is not None:
        output.note(note)
    if export.selection.remark is not None:
        output.note(export.selection.remark)
    if export.selection.record.smoke:
        output.warn(SMOKE_WARNING)


def _say_written(output: "Output", chosen: "Selection", written_as: str, target: str) -> None:
    num_images = len(chosen.images)
    output.note(f"{plural(num_images, 'image')} of selection {chosen.name}, as {written_as}")
    output.data(target)
    document = {"selection": chosen.name, "format": written_as, "images": num_images, "path": target}
    output.document("export", document)
