"""``elfs label``."""

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._stage import run_stage

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs label", "elfs label --head 3")


@command("label")
def body(invocation: Invocation) -> None:
    """Give every image the pseudo-label that one head puts on it, or all together."""
    run_stage(invocation, "label", invocation.config("label"))
