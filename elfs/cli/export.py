"""``elfs export``."""

from pathlib import Path
from typing import Annotated

import typer

from elfs.catalog import EXPORT_FORMATS
from elfs.cli._invocation import Invocation
from elfs.cli._options import COMMON, FILE, SELECTION, command, words
from elfs.cli._stage import SMOKE_WARNING
from elfs.cli._text import plural
from elfs.errors import UsageError

__all__ = ["EXAMPLES", "ForceOption", "SelectionOption", "body"]

EXAMPLES = ("elfs export --format images --output to-label", "elfs export --format label-studio --output tasks.json")

SelectionOption = Annotated[
    str | None,
    typer.Option("--selection", metavar=SELECTION, help="Which selection. \\[default: auto = the one made last]"),
]
ForceOption = Annotated[bool, typer.Option("--force", metavar="", help="Replace what is there.")]
FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT",
        autocompletion=words(tuple(EXPORT_FORMATS)),
        show_default=False,
        help=f"What to write: {', '.join(EXPORT_FORMATS)}. \\[default: csv]",
    ),
]
OutputOption = Annotated[
    str,
    typer.Option(
        "--output",
        "-o",
        metavar=FILE,
        show_default=False,
        help="File, or folder for images, or - for stdout. \\[default: -]",
    ),
]
PrefixOption = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        metavar="TEXT",
        help="Put before each id. \\[default: auto = the folder of the images; /data/local-files/?d= for label-studio]",
    ),
]
PreAnnotateOption = Annotated[
    bool,
    typer.Option("--pre-annotate", metavar="", help="Offer the pseudo-label to annotators (label-studio)."),
]
NullOption = Annotated[
    bool, typer.Option("--null", "-0", metavar="", help="End each path with a NUL instead of a line break (txt).")
]


@command(shared=COMMON)
def body(
    invocation: Invocation,
    export_format: FormatOption = "csv",
    selection: SelectionOption = None,
    target: OutputOption = "-",
    prefix: PrefixOption = None,
    pre_annotate: PreAnnotateOption = False,
    null: NullOption = False,
    force: ForceOption = False,
) -> None:
    """Hand a selection to annotators and other programs."""
    from elfs.delivery.export import ExportOptions, prepare_export

    output = invocation.output
    if target == "-" and output.as_json:
        raise UsageError("--json needs --output FILE: without it, stdout carries the selection itself.")
    given = None if prefix == "auto" else prefix
    options = ExportOptions(format=export_format, prefix=given, pre_annotate=pre_annotate, null=null)
    export = prepare_export(invocation.workspace, None if selection == "auto" else selection, options)
    chosen = export.selection
    if target == "-":
        output.raw(export.document())
    else:
        export.write(Path(target), force=force)
        output.note(f"{plural(len(chosen.images), 'image')} of selection {chosen.name}, as {export_format}")
        output.data(target)
        output.document(
            {"selection": chosen.name, "format": export_format, "images": len(chosen.images), "path": target}
        )
    if chosen.remark is not None:
        output.warn(chosen.remark)
    if chosen.record.smoke:
        output.warn(SMOKE_WARNING)
