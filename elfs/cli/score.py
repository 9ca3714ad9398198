"""``elfs score``."""

import dataclasses
from typing import Annotated

import typer

from elfs.catalog import SCORES
from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._stage import run_stage

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs score", "elfs score --list")

ListOption = Annotated[bool, typer.Option("--list", metavar="", help="Print every score and which end of it is hard.")]


@command("score")
def body(invocation: Invocation, show_list: ListOption = False) -> None:
    """Turn the training dynamics into difficulty scores."""
    if not show_list:
        run_stage(invocation, "score", invocation.config("score"))
        return
    rows = [(key, f"{score.harder} = harder", score.summary) for key, score in SCORES.items()]
    invocation.output.table([("KEY", "DIRECTION", "MEANING"), *rows])
    invocation.output.document({"scores": {key: dataclasses.asdict(score) for key, score in SCORES.items()}})
