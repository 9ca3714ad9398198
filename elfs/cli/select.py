"""``elfs select``."""

from typing import Annotated

import typer

from elfs.catalog import SELECTORS
from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._stage import run_stage

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs select --budget 0.1 --key aum", "elfs select --budget 500 --method random --name baseline")

ListOption = Annotated[bool, typer.Option("--list", metavar="", help="Print every method.")]


@command("select")
def body(invocation: Invocation, show_list: ListOption = False) -> None:
    """Pick the images to annotate."""
    if not show_list:
        run_stage(invocation, "select", invocation.config("select"))
        return
    invocation.output.table([("METHOD", "MEANING"), *SELECTORS.items()])
    invocation.output.document({"methods": SELECTORS})
