"""``elfs train``."""

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._shared_options import COMPUTING
from elfs.config import TrainConfig

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs train --selection aum-0.1", "elfs train --labels annotated.csv --seeds 3")


@command("train", shared=COMPUTING)
def body(invocation: Invocation) -> None:
    """Train a network on a selection that has been annotated, and test it."""
    from elfs.evaluation.train import train

    config = invocation.config("train")
    assert isinstance(config, TrainConfig)
    runtime = invocation.runtime(parallel=True)
    report = train(invocation.workspace, config, runtime, force=invocation.force, smoke=invocation.smoke)
    for line in report.lines():
        invocation.output.data(line)
    invocation.output.document("train", report.as_json())
