"""Tables of the page about a selection: its clusters, what other budgets would buy, how methods compare."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.delivery.chosen import Selection
from elfs.delivery.pool import Pool, read_column

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
    """

    title: str
    about: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


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
    records = selection.workspace.manifest.records
    found = [_clusters(selection, pool)]
    found += [_plan(records["plan"].summary)] if "plan" in records else []
    found += [_comparison(records["compare"].summary)] if "compare" in records else []
    return [table for table in found if table is not None and table.rows]


def _clusters(selection: Selection, pool: Pool) -> PageTable | None:
    labels = pool.pseudo_labels
    if labels is None:
        return None
    confidence = read_column(selection, "pseudo_labels", "confidence", pool.rows)
    chosen = np.isin(pool.rows, selection.rows)
    names, sizes = np.unique(labels, return_counts=True)
    rows = []
    for cluster in names[np.argsort(-sizes, kind="stable")][:_MOST_CLUSTERS].tolist():
        members = labels == cluster
        row = (str(cluster), f"{int(members.sum()):,}", f"{int((members & chosen).sum()):,}")
        rows.append((*row, _mean(pool.scores, members), _mean(confidence, members)))
    about = "Largest first. Hard clusters have a low mean margin (aum); unsure ones have a low confidence."
    if len(names) > _MOST_CLUSTERS:
        about += f" The largest {_MOST_CLUSTERS} of {len(names):,}."
    head = ("cluster", "images", "selected", f"mean {selection.config.key}", "mean confidence")
    return PageTable("Each cluster", about, head, rows)


def _mean(values: NDArray[Any] | None, members: NDArray[np.bool_]) -> str:
    if values is None:
        return "-"
    known = values[members]
    known = known[np.isfinite(known)]
    return f"{known.mean(dtype=np.float64):.3g}" if len(known) else "-"


def _plan(summary: dict[str, Any]) -> PageTable:
    rows = []
    for line in summary["budgets"]:
        equal = line["as_many_random"]
        clusters = "-" if line["clusters"] is None else f"{line['clusters_with_1']} of {line['clusters']}"
        chance = f"{line['random_lowest']:.3f} to {line['random_highest']:.3f}"
        rows.append(
            (
                line["budget"],
                f"{line['images']:,}",
                f"{line['coverage']:.3f}",
                chance,
                "more" if equal is None else f"{equal:,}",
                clusters,
            )
        )
    about = f"By {summary['method']}, as elfs plan found it: how well each budget covers the pool, no label seen."
    if summary["bend"] is not None:
        about += f" Beyond {summary['bend']} each image adds less."
    head = ("budget", "images", "coverage", "20 random draws", "as good as so many random", "clusters")
    return PageTable("What other budgets would buy", about, head, rows)


def _comparison(summary: dict[str, Any]) -> PageTable:
    cells = summary["cells"]
    budgets = list(dict.fromkeys(cell["budget"] for cell in cells))
    texts = {(cell["method"], cell["budget"]): _accuracy(cell) for cell in cells}
    methods = dict.fromkeys(cell["method"] for cell in cells)
    rows = [(method, *(texts.get((method, budget), "-") for budget in budgets)) for method in methods]
    protocol = summary["protocol"]
    about = (
        f"Accuracy in percent of {protocol['network']} on {protocol['test_images']:,} test images, trained for "
        f"{protocol['iterations']:,} iterations on what each method selects, as elfs compare found it."
    )
    return PageTable("How methods compare", about, ("method", *budgets), rows)


def _accuracy(cell: dict[str, Any]) -> str:
    if cell["mean"] is None:
        return "-"
    spread = "" if cell["deviation"] is None else f" +- {100 * cell['deviation']:.1f}"
    return f"{100 * cell['mean']:.1f}{spread}"
