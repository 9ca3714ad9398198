"""Figures, warnings and unreadable images of the page about a selection."""

import shlex
from typing import Any

import numpy as np

from elfs.data.samples import Outcome, Split
from elfs.delivery.chosen import Selection
from elfs.delivery.pool import Pool
from elfs.delivery.thumbnails import Thumbnails
from elfs.pipeline.trust import doubt

__all__ = ["num_different", "page_facts", "page_warnings", "unreadable_images"]

_MAX_BROKEN = 200


def page_warnings(selection: Selection, stages: list[dict[str, Any]], thumbnails: Thumbnails) -> list[str]:
    """Return what a reader should know before anything else.

    Parameters
    ----------
    selection : Selection
        What was selected.
    stages : list of dict
        As `elfs.delivery.stage_table.stage_table` gives them.
    thumbnails : Thumbnails
        Once all pictures of the page are made.

    Returns
    -------
    list of str
        A sentence or two each.
    """
    found = []
    smoke = [stage["stage"] for stage in stages if stage["smoke"]]
    if smoke:
        found.append(f"Smoke settings ({', '.join(smoke)}): every step ran, the result means nothing.")
    if selection.remark is not None:
        found.append(selection.remark[0].upper() + selection.remark[1:])
    unreliable = doubt(selection.facts)
    if unreliable is not None:
        found.append(f"{unreliable[0].upper()}{unreliable[1:]}")
    if thumbnails.problems:
        first, count = thumbnails.problems[0], len(thumbnails.problems)
        subject = "An image" if count == 1 else f"{count:,} images"
        place = shlex.quote(str(selection.workspace.path))
        advice = f" If the folder has moved: elfs embed --root FOLDER --workspace {place}"
        advice = advice if thumbnails.pictures.are_files else ""
        found.append(f"{subject} of this page can no longer be read ({first.rstrip('.')}).{advice}")
    return found


def num_different(selection: Selection, pool: Pool) -> int:
    """Return how many images of the pool there were to choose from: those left out as copies do not count.

    Parameters
    ----------
    selection : Selection
        What was selected.
    pool : Pool
        What it was selected from.

    Returns
    -------
    int
        The number of which the command line says so many.
    """
    return len(pool) - (selection.facts.copies_left_out or 0)


def page_facts(selection: Selection, pool: Pool) -> list[tuple[str, str]]:
    """Return the figures at the top.

    Parameters
    ----------
    selection : Selection
        What was selected.
    pool : Pool
        What it was selected from.

    Returns
    -------
    list of (str, str)
        A figure, and what it counts.
    """
    table, facts = selection.table, selection.facts
    found = [
        (f"{len(selection.images):,}", "selected"),
        (f"{num_different(selection, pool):,}", "in the pool"),
    ]
    if facts.copies_left_out:
        found.append((f"{facts.copies_left_out:,}", "left out as copies"))
    if facts.clusters is not None:
        found.append((f"{facts.clusters_covered:,} of {facts.clusters:,}", "clusters covered"))
    if (groups := facts.groups) is not None:
        limit = f", at most {groups.per_group:,} of each" if groups.per_group is not None else ""
        limit = ", each as a whole" if groups.whole else limit
        found.append((f"{groups.picked:,} of {groups.groups + groups.alone:,}", f"groups{limit}"))
    if facts.hard_rate is not None:
        found.append((f"{facts.hard_rate:.0%}", "pruned as too hard"))
    if facts.trust is not None:
        found.append((f"{facts.trust:.2f} of 1", "trust in the pseudo-labels"))
    num_test = len(table.rows(Split.TEST))
    found += [(f"{num_test:,}", "in the test split")] if num_test else []
    num_broken = int((~table.usable()).sum())
    found += [(f"{num_broken:,}", "left out as unreadable")] if num_broken else []
    return found


def unreadable_images(selection: Selection) -> dict[str, Any]:
    """Return the images that were left out as unreadable.

    Parameters
    ----------
    selection : Selection
        Names the workspace.

    Returns
    -------
    dict
        ``count`` of all, and ``images``, the first 200: id, what is wrong in a word or two, and the reason.
    """
    table = selection.table
    reasons = table.reasons()
    rows = np.flatnonzero(~table.usable())
    named = [
        (table.id(row), Outcome(int(table.outcome[row])).name.lower().replace("_", " "), reasons.get(row, ""))
        for row in rows[:_MAX_BROKEN].tolist()
    ]
    return {"images": named, "count": len(rows)}
