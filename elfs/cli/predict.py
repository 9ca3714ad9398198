"""``elfs predict``."""

from pathlib import Path
from typing import Annotated

import typer

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._text import plural
from elfs.cli._words import FILE, SELECTION, words
from elfs.cli.export import ForceOption
from elfs.errors import UsageError
from elfs.suggestions import choose

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs predict --output predictions.csv", "elfs predict --format label-studio --output to-correct")

_FORMATS = {"csv": "id, label, confidence", "label-studio": "a folder of pre-annotations, the least sure first"}

SelectionOption = Annotated[
    str | None,
    typer.Option(
        "--selection",
        metavar=SELECTION,
        help="Which network: the one trained on this selection. \\[default: auto = the one trained last]",
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        autocompletion=words(_FORMATS),
        help=f"What to write: {', '.join(_FORMATS)}. \\[default: auto = label-studio for a .json, else csv]",
    ),
]
OutputOption = Annotated[
    str,
    typer.Option(
        "--output", "-o", metavar=FILE, show_default=False, help="File, or folder, or - for stdout. \\[default: -]"
    ),
]
AllOption = Annotated[bool, typer.Option("--all", metavar="", help="Name the images that it has learned from too.")]


@command(shared=("workspace", "devices", "workers", "json", "quiet", "verbose"))
def body(
    invocation: Invocation,
    selection: SelectionOption = None,
    predict_format: FormatOption = None,
    target: OutputOption = "-",
    everything: AllOption = False,
    force: ForceOption = False,
) -> None:
    """Name the class of every image of the pool that the trained network has not learned from."""
    output = invocation.output
    wanted = None if predict_format == "auto" else predict_format
    written = choose("format", wanted or ("label-studio" if target.lower().endswith(".json") else "csv"), _FORMATS)
    if target == "-" and (output.as_json or written != "csv"):
        raise UsageError(f"{'--json' if output.as_json else '--format ' + written} needs --output.")
    from elfs.delivery.places import publish_file
    from elfs.delivery.predictions import named_images, predictions_csv, write_pre_annotations
    from elfs.evaluation.predict import predict_pool

    model = None if selection == "auto" else selection
    runtime, unasked = invocation.runtime(), written == "label-studio"
    found = predict_pool(invocation.workspace, model, runtime, everything=everything, unasked=unasked)
    images = named_images(found.workspace, found.model, found.table, found.rows, found.predicted, found.confidence)
    if written == "label-studio":
        write_pre_annotations(images, found.classes, Path(target), force=force)
    elif target == "-":
        output.raw(predictions_csv(images, found.classes))
    else:
        publish_file(Path(target), lambda: predictions_csv(images, found.classes), force=force)
    facts = found.facts()
    sure = f"{facts.confident / max(1, facts.images):.0%} with a confidence of 0.9 or more (not calibrated)"
    output.note(f"{plural(facts.images, 'image')} named by the network of selection {found.model}, {sure}")
    if found.left_out:
        output.note(f"{plural(found.left_out, 'image')} left out: annotated already, or in a test set")
    if target != "-":
        output.data(target)
        output.document("predict", facts.as_json() | {"format": written, "path": target})
