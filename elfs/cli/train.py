"""``elfs train``."""

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._text import about, plural
from elfs.config import TrainConfig

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs train --selection aum-0.1", "elfs train --labels annotated.csv --seeds 3")


@command("train")
def body(invocation: Invocation) -> None:
    """Train a network on a selection that has been annotated, and test it."""
    from elfs.evaluation.train import train

    config = invocation.config("train")
    assert isinstance(config, TrainConfig)
    if invocation.dry_run:
        _show_plan(invocation, config)
        return
    runtime = invocation.runtime(parallel=True)
    report = train(invocation.workspace, config, runtime, force=invocation.force, smoke=invocation.smoke)
    for line in report.lines():
        invocation.output.data(line)
    invocation.output.document("train", report.as_json())


def _show_plan(invocation: Invocation, config: TrainConfig) -> None:
    """Print what would be trained, on what, and how long that takes; do nothing."""
    from elfs.cli._dry_run import LONG_SECONDS
    from elfs.config.cheaper import TRAINING
    from elfs.evaluation.train_plan import forecast

    output = invocation.output
    found = forecast(invocation.workspace, config, invocation.runtime(), force=invocation.force)
    tested = f"tested on {plural(found['test_images'], 'image')}"
    if found["folds"]:
        tested = f"cross-validated over {found['folds']} parts"
    output.data(f"train/{found['selection']}  {found['action']}")
    output.data(f"  {found['network']}, learns from {plural(found['images'], 'image')}, {tested}")
    if found["action"] == "run":
        work = f"{plural(found['trainings'], 'training')} of {plural(found['steps'], 'step')}"
        output.data(f"  {work}, {about(found['seconds'])}")
    if (found["seconds"] or 0) > LONG_SECONDS:
        output.note(TRAINING)
    output.document("train-dry-run", {"workspace": str(invocation.workspace)} | found)
