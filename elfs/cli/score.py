"""``elfs score``."""

import dataclasses
from typing import Annotated

import typer

from elfs.catalog import SCORES, required_epochs
from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._stage import run_stage
from elfs.config import ScoreConfig

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs score", "elfs score --list")

ListOption = Annotated[bool, typer.Option("--list", metavar="", help="Print every score and what it needs.")]


@command("score")
def body(invocation: Invocation, show_list: ListOption = False) -> None:
    """Turn training dynamics and embeddings into difficulty scores."""
    if not show_list:
        run_stage(invocation, "score", invocation.config("score"))
        return
    epochs = {key: required_epochs(key, ScoreConfig().window) for key in SCORES}
    rows = [(key, score.harder, score.source, str(epochs[key]), score.summary) for key, score in SCORES.items()]
    invocation.output.table([("KEY", "HARDER", "FROM", "EPOCHS", "MEANING"), *rows])
    invocation.output.document(
        "scores",
        {"scores": {key: dataclasses.asdict(score) | {"epochs": epochs[key]} for key, score in SCORES.items()}},
    )
