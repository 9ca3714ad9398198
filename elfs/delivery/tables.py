"""Tables of the page about a selection: its clusters, what other budgets would buy, how methods compare."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from elfs.delivery.chosen import Selection
from elfs.delivery.clusters import cluster_facts, cluster_means
from elfs.delivery.pool import Pool
from elfs.pipeline.comparison_facts import ComparisonFacts
from elfs.pipeline.plan_facts import PlanFacts

__all__ = ["PageTable", "page_tables"]

_MOST_CLUSTERS = 200


@dataclass(frozen=True)
class PageTable:
    """A table for people.

    Attributes
    ----------
    title, about : str
        What stands above it.
    head : tuple of str
        Names of the columns; the first one names the rows.
    rows : sequence of tuple of str
        As many cells each.
    is_live : bool
        Whether the page's script shows the same, and more.
    """

    title: str
    about: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    is_live: bool = False


def page_tables(selection: Selection, pool: Pool) -> list[PageTable]:
    """Return the tables for which there is something to show.

    Parameters
    ----------
    selection : Selection
        What was selected.
    pool : Pool
        What it was selected from.

    Returns
    -------
    list of PageTable
        In the order in which they are shown.
    """
    workspace, records = selection.workspace, selection.workspace.manifest.records
    found = [_clusters(selection, pool)]
    found += [_plan(workspace.summary("plan", PlanFacts))] if "plan" in records else []
    found += [_comparison(workspace.summary("compare", ComparisonFacts))] if "compare" in records else []
    return [table for table in found if table.rows]


def _clusters(selection: Selection, pool: Pool) -> PageTable:
    found = cluster_facts(selection, pool)
    means = cluster_means(selection.config.key)
    known = [field for field in means if any(math.isfinite(getattr(each, field)) for each in found)]
    rows = [
        (
            pool.name(each.cluster).removeprefix("cluster "),
            f"{each.images:,}",
            f"{each.selected:,}",
            *(_mean(getattr(each, name)) for name in known),
        )
        for each in found[:_MOST_CLUSTERS]
    ]
    about = "Largest first. Hard clusters have a low mean margin (aum); unsure ones have a low confidence."
    if len(found) > _MOST_CLUSTERS:
        about += f" The largest {_MOST_CLUSTERS} of {len(found):,}."
    head = ("class" if pool.names else "cluster", "images", "selected", *(means[field] for field in known))
    return PageTable("Each cluster", about, head, rows, is_live=True)


def _mean(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "-"


def _plan(facts: PlanFacts) -> PageTable:
    rows = []
    for line in facts.budgets:
        equal = line.as_many_random
        clusters = "-" if line.clusters is None else f"{line.clusters_with_1} of {line.clusters}"
        chance = f"{line.random_lowest:.3f} to {line.random_highest:.3f}"
        rows.append(
            (
                line.budget,
                f"{line.images:,}",
                f"{line.coverage:.3f}",
                chance,
                "more" if equal is None else f"{equal:,}",
                clusters,
            )
        )
    about = f"By {facts.method}, as elfs plan found it: how well each budget covers the pool, no label seen."
    if facts.bend is not None:
        about += f" Beyond {facts.bend} each image adds less."
    head = ("budget", "images", "coverage", "20 random draws", "as good as so many random", "clusters")
    return PageTable("What other budgets would buy", about, head, rows)


def _comparison(facts: ComparisonFacts) -> PageTable:
    texts = {(cell.method, cell.budget): cell.text for cell in facts.cells}
    rows = [(method, *(texts.get((method, budget), "-") for budget in facts.budgets)) for method in facts.methods]
    training = facts.training
    most = "at most " if training.network == "linear" else ""
    about = (
        f"Accuracy in percent of {training.network} on {training.test_images:,} test images, trained for "
        f"{most}{training.iterations:,} iterations on what each method selects, as elfs compare found it."
    )
    return PageTable("How methods compare", about, ("method", *facts.budgets), rows)
