"""``elfs train``."""

import shlex

from elfs.cli._invocation import Invocation
from elfs.cli._options import COMPUTING, command
from elfs.config import DEFAULT_WORKSPACE, TrainConfig

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
    name, place = str(report.summary["selection"]), invocation.workspace
    invocation.output.data(f"model       {place / 'models' / name}.safetensors")
    where = "" if place == DEFAULT_WORKSPACE else f" --workspace {shlex.quote(str(place))}"
    following = f"elfs predict --selection {shlex.quote(name)}{where} -o predictions.csv"
    invocation.output.note(f"next        {following}", style="cyan")
    invocation.output.document(report.as_json())
