"""``elfs select``."""

import dataclasses
from typing import Annotated

import typer

from elfs.catalog import SELECTORS
from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._stage import run_stage
from elfs.config import SelectConfig

__all__ = ["EXAMPLES", "body"]

EXAMPLES = (
    "elfs select --budget 0.1 --key aum",
    "elfs select --budget 200 --exclude selections/aum-0.1 --name round2",
    "elfs select --budget 200 --groups '^[^/]+' --per-group 3",
)

ListOption = Annotated[bool, typer.Option("--list", metavar="", help="Print every method.")]


@command("select")
def body(invocation: Invocation, show_list: ListOption = False) -> None:
    """Pick the images to annotate."""
    if not show_list:
        from elfs.stages.selection.before import refuse_budget_above_pool

        config = invocation.config("select")
        assert isinstance(config, SelectConfig)
        refuse_budget_above_pool(invocation.workspace, config)
        run_stage(invocation, "select", config)
        return
    rows = [(name, ", ".join(method.reads) or "nothing", method.summary) for name, method in SELECTORS.items()]
    invocation.output.table([("METHOD", "READS", "MEANING"), *rows])
    invocation.output.document(
        "methods", {"methods": {name: dataclasses.asdict(method) for name, method in SELECTORS.items()}}
    )
