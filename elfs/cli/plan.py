"""``elfs plan``."""

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._stage import SMOKE_WARNING
from elfs.cli._text import plural
from elfs.config import PlanConfig
from elfs.pipeline.plan_facts import MoreFacts, PlanFacts

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs plan", "elfs plan --budgets 100,200,500 --exclude selections/aum-0.1")


@command("plan")
def body(invocation: Invocation) -> None:
    """Say what budgets would buy and, once images are annotated, what 100 more labels are expected to bring."""
    config = invocation.config("plan")
    assert isinstance(config, PlanConfig)
    if invocation.dry_run:
        from elfs.cli._dry_run import show_plan

        show_plan(invocation, [("select", selection) for selection in config.selections()[:1]])
        return
    from elfs.stages.selection.plan import plan_budgets

    path = invocation.workspace
    outcome = plan_budgets(path, config, invocation.runtime(), force=invocation.force, smoke=invocation.smoke)
    _show(invocation, PlanFacts.of(outcome.summary))
    if outcome.smoke:
        invocation.output.warn(SMOKE_WARNING)
    document = {name: value for name, value in outcome.summary.items() if name != "headline"}
    invocation.output.document(
        "budgets", document | {"workspace": str(path), "files": [str(path / "plan" / "table.csv")]}
    )


def _show(invocation: Invocation, facts: PlanFacts) -> None:
    """Print the table and what it says in words."""
    output, lines = invocation.output, facts.budgets
    with_clusters = lines[0].clusters is not None
    head = ["BUDGET", "IMAGES", "COVERAGE", "RANDOM", "AS GOOD AS"]
    rows = [tuple(head + ["CLUSTERS", "WITH 5"] * with_clusters)]
    for line in lines:
        equal = line.as_many_random
        as_good = f"{'more than ' * (equal is None)}{equal or lines[-1].images:,} random"
        row = [line.budget, f"{line.images:,}", f"{line.coverage:.3f}"]
        row += [f"{line.random_lowest:.3f} to {line.random_highest:.3f}", as_good]
        if with_clusters:
            row += [f"{line.clusters_with_1} of {line.clusters}", str(line.clusters_with_5)]
        rows.append(tuple(row))
    output.table(rows)
    output.data("")
    output.data(
        "coverage    mean cosine of an image to the nearest one that is picked, no label seen; random: of 20 draws"
    )
    if facts.bend is not None:
        images = next(line.images for line in lines if line.budget == facts.bend)
        output.data(f"bend        at {facts.bend} ({plural(images, 'image')}): beyond it each one adds less")
    if facts.copies_left_out:
        output.data(f"copies      {plural(facts.copies_left_out, 'image')} that are copies in no budget")
    for item in facts.left_out:
        output.data(f"not there   {item.budget}: {item.reason}")
    if facts.annotations is not None:
        output.data(f"more        {_of_more(facts.annotations)}")
    output.note(f"file        {invocation.workspace / 'plan' / 'table.csv'}", style="cyan")


def _of_more(found: MoreFacts) -> str:
    """Return what more annotations are expected to bring."""
    there = f"{plural(found.annotated, 'annotation')} of {found.classes} class{'es' * (found.classes != 1)}"
    gain = found.gain
    if gain is None:
        return f"cannot tell yet what more labels bring: {there}, and it takes about ten for each class"
    last = found.points[-1]
    return (
        f"{found.more} more labels are expected to bring {100 * gain.estimate:+.1f} points of accuracy "
        f"({100 * gain.low:.1f} to {100 * gain.high:.1f}): {there}; a linear classifier of "
        f"{last.annotations:,} of them is right in {100 * last.accuracy:.1f} %, by {found.judged_by}"
    )
