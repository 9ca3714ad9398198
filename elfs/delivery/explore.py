"""What the page about a selection lets one look around in: images, points of a map, curves, neighbours.

Of a large pool it holds samples: as many pictures and points as a page of a few megabytes can.
"""

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.catalog import SCORES
from elfs.delivery.chosen import Selection
from elfs.delivery.pool import EASY, HARD, KEPT, REST, Pool, evenly, read_column, whole_tensor
from elfs.delivery.thumbnails import Thumbnails
from elfs.workspace.tensors import RowArray

__all__ = ["explorer", "script_json"]

_MOST_SELECTED, _MOST_OTHERS, _MOST_POINTS = 1_000, 300, 20_000
_SIDE = 112
_NUM_NEIGHBORS = 6
_MOST_EPOCHS = 60
_DIGITS = 4
_KINDS = (KEPT, HARD, EASY, REST)


def script_json(value: Any) -> str:
    """Return JSON that may stand in a ``script`` element, whatever the texts in it.

    Parameters
    ----------
    value : Any
        Plain JSON values, all numbers finite.

    Returns
    -------
    str
        ASCII; no ``<``, so that nothing ends the element.

    Raises
    ------
    ValueError
        If a number is not finite.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def explorer(selection: Selection, pool: Pool, thumbnails: Thumbnails) -> dict[str, Any]:
    """Return what the page's script shows.

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
    dict
        Plain JSON values, all numbers finite: ``items``, images with a picture, the selected ones first, by rank;
        ``points``, images that are points of the map alone; ``keys`` of the scores, the one that was selected by first;
        ``harder``, "higher" or "lower" values of it; ``total`` and ``selected``, of the whole pool.
    """
    shown, others = _samples(selection, pool)
    positions = np.concatenate([shown, others])
    places = _map_places(selection, pool.rows[positions])
    kinds = np.full(len(pool), _KINDS.index(REST), np.int64)
    for band in pool.bands:
        kinds[band.positions] = _KINDS.index(band.kind)
    facts = _Facts(selection, pool, shown)
    why = {row: (image.rank, image.why) for image, row in selection.in_pool()}
    item_of = {int(pool.rows[position]): number for number, position in enumerate(shown.tolist())}
    items = []
    for number, position in enumerate(shown.tolist()):
        row = int(pool.rows[position])
        picture = thumbnails.thumbnail(row, _SIDE)
        item = {"id": _shown(selection.table.id(row)), "kind": int(kinds[position])} | facts.of(
            number, position, item_of
        )
        item |= {"picture": picture.address, "tiny": picture.tiny, "problem": picture.problem}
        if row in why:
            item |= {"rank": why[row][0], "why": _shown(why[row][1])}
        if places is not None:
            item["at"] = places[number]
        items.append(item)
    found = {"items": items, "keys": facts.keys, "harder": SCORES[selection.config.key].harder}
    found |= {"total": len(pool), "selected": len(selection.rows), "points": {}}
    if places is not None:
        found["points"] = {"at": places[len(shown) :], "kind": kinds[others].tolist()} | facts.columns(others)
    return found


def _samples(selection: Selection, pool: Pool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of images with a picture, the selected ones first, and of those that are points alone."""
    place = {row: position for position, row in enumerate(pool.rows.tolist())}
    ranked = np.array([place[row] for row in selection.rows.tolist() if row in place], dtype=np.int64)
    hardest_first = np.concatenate([band.positions for band in pool.bands if band.kind != KEPT] or [ranked[:0]])
    shown = np.concatenate([evenly(ranked, _MOST_SELECTED), evenly(hardest_first, _MOST_OTHERS)])
    rest = np.setdiff1d(np.arange(len(pool), dtype=np.int64), shown)
    return shown, evenly(rest, _MOST_POINTS)


def _map_places(selection: Selection, rows: NDArray[np.int64]) -> list[list[float]] | None:
    """Return the first two principal coordinates of some rows, each in [0, 1]; None without embeddings."""
    values = read_column(selection, "embeddings", "embeddings", rows)
    if values is None or len(rows) < 3 or values.shape[1] < 2 or not np.isfinite(values).all():
        return None
    rows_ND = values.astype(np.float32)
    rows_ND /= np.maximum(np.linalg.norm(rows_ND, axis=1, keepdims=True), 1e-12)
    rows_ND -= rows_ND.mean(axis=0)
    _, axes_DD = np.linalg.eigh(rows_ND.T @ rows_ND)
    axes_D2 = axes_DD[:, :-3:-1]
    axes_D2 = axes_D2 * np.sign(axes_D2[np.abs(axes_D2).argmax(axis=0), np.arange(axes_D2.shape[1])])
    flat_N2 = rows_ND @ axes_D2
    low, high = flat_N2.min(axis=0), flat_N2.max(axis=0)
    return [[round(x, 3) for x in pair] for pair in ((flat_N2 - low) / np.maximum(high - low, 1e-9)).tolist()]


class _Facts:
    """What is known of the images of a pool, and more of those that are shown."""

    def __init__(self, selection: Selection, pool: Pool, shown: NDArray[np.int64]) -> None:
        self._selection, self._pool = selection, pool
        own = selection.config.key
        scores = {key: read_column(selection, "scores", key, pool.rows) for key in (own, *SCORES)}
        self._scores = {key: values for key, values in scores.items() if values is not None}
        self.keys = list(self._scores)
        self._ranks = {key: _ranks(values, SCORES[key].harder) for key, values in self._scores.items()}
        self._confidence = read_column(selection, "pseudo_labels", "confidence", pool.rows)
        rows = pool.rows[shown]
        self._curves = _curves(selection, rows)
        self._near = read_column(selection, "neighbors", "indices", rows)
        self._equal = _copies(read_column(selection, "embeddings", "content", pool.rows))

    def of(self, number: int, position: int, item_of: dict[int, int]) -> dict[str, Any]:
        """Return scores, ranks (1: hardest), cluster, confidence, learning curve and nearest neighbours of an image."""
        found: dict[str, Any] = {
            "scores": [_number(values[position]) for values in self._scores.values()],
            "ranks": [int(ranks[position]) for ranks in self._ranks.values()],
        }
        if self._pool.pseudo_labels is not None:
            found["cluster"] = int(self._pool.pseudo_labels[position])
        if self._confidence is not None:
            found["confidence"] = _number(self._confidence[position])
        if self._equal is not None and self._equal[position]:
            found["copy"] = True
        if self._curves is not None:
            found["curve"] = [_number(value) for value in self._curves[:, number]]
        if self._near is not None:
            rows = [other for other in self._near[number].tolist() if other >= 0][:_NUM_NEIGHBORS]
            found["near"] = [item_of.get(other, _shown(self._selection.table.id(other))) for other in rows]
        return found

    def columns(self, positions: NDArray[np.int64]) -> dict[str, Any]:
        """Return cluster and first score of many images."""
        found: dict[str, Any] = {}
        if self._pool.pseudo_labels is not None:
            found["cluster"] = self._pool.pseudo_labels[positions].tolist()
        if self.keys:
            found["score"] = [_number(value) for value in self._scores[self.keys[0]][positions]]
        return found


def _curves(selection: Selection, rows: NDArray[np.int64]) -> NDArray[Any] | None:
    """Return the margins [E, n] of some rows in at most sixty epochs, the first and the last among them."""
    margins = whole_tensor(selection, "dynamics", "margin")
    if margins is None:
        return None
    epochs = evenly(np.arange(len(margins)), _MOST_EPOCHS).tolist()
    read = (margins.read(epoch, epoch + 1)[0] if isinstance(margins, RowArray) else margins[epoch] for epoch in epochs)
    return np.stack([np.asarray(values[rows]) for values in read])


def _ranks(values: NDArray[Any], harder: str) -> NDArray[np.int64]:
    """Return each row's rank from 1, the hardest, on; rows without score come last."""
    sign = -1.0 if harder == "higher" else 1.0
    order = np.argsort(np.where(np.isfinite(values), sign * values, np.inf), kind="stable")
    ranks = np.empty(len(values), np.int64)
    ranks[order] = np.arange(1, len(values) + 1)
    return ranks


def _copies(content: NDArray[Any] | None) -> NDArray[np.bool_] | None:
    """Return which images have the same pixels as another one."""
    if content is None:
        return None
    _, inverse, counts = np.unique(content.reshape(len(content), -1), axis=0, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse.ravel()] > 1)


def _number(value: Any) -> float | None:
    """Return a finite number to a few digits, else None."""
    number = float(value)
    if not math.isfinite(number):
        return None
    return float(f"{number:.{_DIGITS}g}")


def _shown(text: str) -> str:
    """Return a text with what cannot be seen written out."""
    plain: Iterable[str] = (
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
    return "".join(plain)
