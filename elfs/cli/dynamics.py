"""``elfs dynamics``."""

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._stage import run_stage

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs dynamics", "elfs dynamics --recipe cifar --devices 0")


@command("dynamics")
def body(invocation: Invocation) -> None:
    """Train a proxy network on the pseudo-labels and record how every image is learned."""
    from elfs.stages.selection.before import refuse_network_without_images

    config = invocation.config("dynamics")
    refuse_network_without_images(invocation.workspace, {"dynamics": config})
    run_stage(invocation, "dynamics", config)
