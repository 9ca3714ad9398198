"""Contact sheets of the page about a selection: what was kept, what was left out at either end, what is doubtful."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.annotations.kept import ARTIFACT
from elfs.delivery.chosen import Selection, label_name
from elfs.delivery.pool import EASY, HARD, KEPT, REST, Band, Pool, evenly
from elfs.delivery.thumbnails import Thumbnails
from elfs.errors import InputDataError, MissingUpstreamError
from elfs.pipeline.selections import SelectedImage

__all__ = ["contact_sheets", "doubtful_sheets"]

_NUM_KEPT, _NUM_LEFT = 36, 24
"""Thumbnails of the selection, and of each band that was left out."""

_SHEETS = {
    KEPT: ("Selected", "Evenly spread over the ranks, the first rank first."),
    HARD: ("Left out: too hard", "The hardest of all. Many carry a wrong pseudo-label, or show nothing clear."),
    EASY: ("Left out: too easy", "The easiest of all. The network learns them without seeing their labels."),
    REST: ("Not selected", "Evenly spread from hard to easy where there are scores."),
}

_DOUBTFUL = (
    "What people called each of these, and what a classifier takes it for that has learned from the other annotations "
    "alone: worth a second look. elfs annotate --doubtful -o FILE.csv lists all of them."
)


def contact_sheets(selection: Selection, pool: Pool, thumbnails: Thumbnails) -> list[dict[str, Any]]:
    """Return a sheet of each band, the selection first.

    Parameters
    ----------
    selection : Selection
        What was selected.
    pool : Pool
        What it was selected from.
    thumbnails : Thumbnails
        Makes the pictures.

    Returns
    -------
    list of dict
        What the page's template shows: ``kind``, ``title``, ``explanation``, ``count`` and ``tiles``.
    """
    return [_sheet(selection, pool, band, thumbnails) for band in sorted(pool.bands, key=_sheet_order)]


def doubtful_sheets(selection: Selection, thumbnails: Thumbnails) -> list[dict[str, Any]]:
    """Return a sheet of the annotations that are likely wrong, the most doubtful first.

    Parameters
    ----------
    selection : Selection
        Its workspace may have annotations.
    thumbnails : Thumbnails
        Makes the pictures.

    Returns
    -------
    list of dict
        As of `contact_sheets`; empty without annotations, and where nothing speaks against any of them.
    """
    workspace = selection.workspace
    if ARTIFACT not in workspace.manifest.artifacts:
        return []
    from elfs.stages.doubtful_annotations import doubtful_annotations  # loads torch

    try:
        doubts = doubtful_annotations(workspace.path)
    except (InputDataError, MissingUpstreamError):  # too few classes, or no embeddings
        return []
    rows = selection.table.rows_of([doubt.image for doubt in doubts[:_NUM_LEFT]])
    tiles = []
    for doubt, row in zip(doubts, rows.tolist(), strict=False):
        why = f"called {doubt.name}, taken for {doubt.taken_for}; {doubt.support:.0%} speaks for what it is called"
        tiles.append(_tile(thumbnails, row, doubt.image, f"{doubt.name} or {doubt.taken_for}?", None, why))
    sheet = {"kind": "doubtful", "title": "Doubtful annotations", "explanation": _DOUBTFUL, "count": len(doubts)}
    return [sheet | {"tiles": tiles}] if doubts else []


def _sheet_order(band: Band) -> int:
    return list(_SHEETS).index(band.kind)


def _sheet(selection: Selection, pool: Pool, band: Band, thumbnails: Thumbnails) -> dict[str, Any]:
    """Return a contact sheet of a band."""
    title, explanation = _SHEETS[band.kind]
    if band.kind == KEPT:
        in_pool = list(selection.in_pool())
        tiles = [
            _tile(
                thumbnails, row, image.id, _own_name(selection, image), image.score, f"rank {image.rank}: {image.why}"
            )
            for image, row in (in_pool[i] for i in evenly(np.arange(len(in_pool)), _NUM_KEPT))
        ]
    else:
        tiles = [_left_tile(selection, pool, thumbnails, position) for position in _examples(band)]
    return {
        "kind": band.kind,
        "title": title,
        "explanation": explanation,
        "count": len(band.positions),
        "tiles": tiles,
    }


def _examples(band: Band) -> NDArray[np.int64]:
    if band.kind == HARD:
        return band.positions[:_NUM_LEFT]
    if band.kind == EASY:
        return band.positions[: -_NUM_LEFT - 1 : -1]
    return evenly(band.positions, _NUM_LEFT)


def _own_name(selection: Selection, image: SelectedImage) -> str | None:
    """Return what the pseudo-label is called that an image had when it was selected."""
    return None if image.pseudo_label is None else label_name(selection.class_names, image.pseudo_label)


def _left_tile(selection: Selection, pool: Pool, thumbnails: Thumbnails, position: np.int64) -> dict[str, Any]:
    row = int(pool.rows[position])
    label = None if pool.pseudo_labels is None else pool.name(int(pool.pseudo_labels[position]))
    score = None if pool.scores is None else float(pool.scores[position])
    return _tile(thumbnails, row, selection.table.id(row), label, score, "not selected")


def _tile(
    thumbnails: Thumbnails, row: int, name: str, label: str | None, score: float | None, why: str
) -> dict[str, Any]:
    parts = [] if label is None else [label]
    parts += [] if score is None or not np.isfinite(score) else [f"{score:.3g}"]
    return {"picture": thumbnails.thumbnail(row), "id": name, "caption": parts, "why": why}
