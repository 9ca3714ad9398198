"""What the page about a selection lets one look around in: images, points of a map, curves, neighbours.

Of a large pool it holds samples: as many pictures and points as a page of a few megabytes can.
"""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.catalog import SCORES
from elfs.delivery.chosen import Selection
from elfs.delivery.clusters import ClusterFacts, cluster_facts, cluster_means, typical_first
from elfs.delivery.learning import margins_of
from elfs.delivery.near_copies import near_copies
from elfs.delivery.outside import pictured_outside
from elfs.delivery.pool import EASY, HARD, KEPT, REST, Pool, evenly, read_column
from elfs.delivery.thumbnails import Thumbnail, Thumbnails

__all__ = ["explorer", "script_json"]

_MOST_SELECTED, _MOST_OTHERS, _MOST_POINTS = 1_000, 300, 20_000
_MOST_CLUSTERS, _NUM_TYPICAL = 40, 3
_MOST_GROUPS, _MOST_IN_GROUP = 30, 8
_NUM_NEIGHBORS = 6
_DIGITS = 4
_KINDS = (KEPT, HARD, EASY, REST)

Broken = Sequence[tuple[str, str, str]]


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


def explorer(selection: Selection, pool: Pool, thumbnails: Thumbnails, broken: Broken = ()) -> dict[str, Any]:
    """Return what the page's script shows.

    Parameters
    ----------
    selection : Selection
        What was selected.
    pool : Pool
        What it was selected from.
    thumbnails : Thumbnails
        Makes the pictures.
    broken : sequence of (str, str, str)
        Images that could not be read: id, what is wrong, and why.

    Returns
    -------
    dict
        Plain JSON values, all numbers finite: ``items``, images with a picture, the selected ones first, by rank;
        ``points``, images that are points of the map alone; ``keys`` of the scores, the one that was selected by first;
        ``harder``, "higher" or "lower" values of it; ``total`` and ``selected``, of the whole pool; ``clusters``, the
        largest first, with the most and the least typical of the sampled images; ``groups`` of near copies, the largest
        first, and ``grouped``, how many there are; ``broken``, id and reason each; ``outside``, neighbours that are no
        items and have a small picture. Images are named by their place in ``items``, neighbours in ``outside`` by -1
        less their place there, others by their id; pseudo-labels by their place in ``names``, which is empty where they
        have none.
    """
    groups = near_copies(selection, pool)
    shown, others = _samples(selection, pool, groups)
    positions = np.concatenate([shown, others])
    unit_ND = _unit_embeddings(selection, pool.rows[positions])
    facts = cluster_facts(selection, pool)
    typical = _typical(facts, pool, positions, unit_ND)
    is_shown = np.arange(len(positions)) < len(shown)
    is_shown[[place for ends in typical.values() for end in ends for place in end]] = True
    order = np.argsort(~is_shown, kind="stable")  # the typical ones get a picture too
    places = None if unit_ND is None else _map_places(unit_ND[order])
    item_of = {place: number for number, place in enumerate(order[: is_shown.sum()].tolist())}
    shown, others = positions[order[: is_shown.sum()]], positions[order[is_shown.sum() :]]
    number_of = {position: number for number, position in enumerate(shown.tolist())}
    kinds = np.full(len(pool), _KINDS.index(REST), np.int64)
    for band in pool.bands:
        kinds[band.positions] = _KINDS.index(band.kind)
    known = _Facts(selection, pool, shown)
    pictured = pictured_outside(known.near, set(known.rows.tolist()), thumbnails)
    items = _items(selection, known, kinds, thumbnails)
    found: dict[str, Any] = {"items": items, "keys": known.keys, "outside": _outside(selection, pictured)}
    named = known.places | {row: -1 - place for place, row in enumerate(pictured)}
    for item, rows in zip(items, known.near, strict=False):
        item["near"] = [named.get(row, _shown(selection.table.id(row))) for row in rows]
    found |= {"harder": SCORES[selection.config.key].harder, "total": len(pool), "selected": len(selection.rows)}
    found["clusters"] = [_cluster(each, typical, item_of, selection.config.key) for each in facts]
    found["names"] = [_shown(name) for name in pool.names]
    found["broken"] = [[_shown(name), f"{kind}: {why}" if why else kind] for name, kind, why in broken]
    found |= {"groups": _groups(groups, kinds, number_of), "grouped": len(groups), "points": {}}
    if places is not None:
        for item, place in zip(items, places, strict=False):
            item["at"] = place
        found["points"] = {"at": places[len(shown) :], "kind": kinds[others].tolist()} | known.columns(others)
    return found


def _samples(
    selection: Selection, pool: Pool, groups: list[NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positions of images with a picture, the selected ones first, and of those that are points alone."""
    place = {row: position for position, row in enumerate(pool.rows.tolist())}
    ranked = np.array([place[row] for row in selection.rows.tolist() if row in place], dtype=np.int64)
    hardest_first = np.concatenate([band.positions for band in pool.bands if band.kind != KEPT] or [ranked[:0]])
    copies = [group[:_MOST_IN_GROUP] for group in groups[:_MOST_GROUPS]]
    wanted = np.concatenate([evenly(ranked, _MOST_SELECTED), evenly(hardest_first, _MOST_OTHERS), *copies])
    shown = np.array(list(dict.fromkeys(wanted.tolist())), dtype=np.int64)
    rest = np.setdiff1d(np.arange(len(pool), dtype=np.int64), shown)
    return shown, evenly(rest, _MOST_POINTS)


def _typical(
    facts: list[ClusterFacts], pool: Pool, positions: NDArray[np.int64], unit_ND: NDArray[np.float32] | None
) -> dict[int, tuple[list[int], list[int]]]:
    """Return which of the positions are the most and the least typical of the largest clusters."""
    if unit_ND is None or pool.pseudo_labels is None:
        return {}
    orders = typical_first(unit_ND, pool.pseudo_labels[positions])
    found = {}
    for cluster in (each.cluster for each in facts[:_MOST_CLUSTERS] if each.cluster in orders):
        order = orders[cluster].tolist()
        found[cluster] = (order[:_NUM_TYPICAL], order[_NUM_TYPICAL:][: -_NUM_TYPICAL - 1 : -1])
    return found


def _items(
    selection: Selection, known: "_Facts", kinds: NDArray[np.int64], thumbnails: Thumbnails
) -> list[dict[str, Any]]:
    why = {row: (image.rank, image.why) for image, row in selection.in_pool()}
    items = []
    for number, (position, row) in enumerate(zip(known.positions.tolist(), known.rows.tolist(), strict=True)):
        picture = thumbnails.large(row, len(known.rows))
        item = {"id": _shown(selection.table.id(row)), "kind": int(kinds[position])} | known.of(number)
        item |= {"picture": picture.address, "tiny": picture.tiny, "problem": picture.problem}
        if row in why:
            item |= {"rank": why[row][0], "why": _shown(why[row][1])}
        items.append(item)
    return items


def _outside(selection: Selection, pictured: dict[int, Thumbnail]) -> list[dict[str, Any]]:
    return [
        {"id": _shown(selection.table.id(row)), "picture": each.address, "tiny": each.tiny, "problem": each.problem}
        for row, each in pictured.items()
    ]


def _cluster(
    facts: ClusterFacts, typical: dict[int, tuple[list[int], list[int]]], item_of: dict[int, int], key: str
) -> dict[str, Any]:
    most, least = typical.get(facts.cluster, ([], []))
    means = {name: getattr(facts, field) for field, name in cluster_means(key).items()}
    return {
        "cluster": facts.cluster,
        "images": facts.images,
        "selected": facts.selected,
        "means": [[name, _number(value)] for name, value in means.items() if math.isfinite(value)],
        "typical": [item_of[place] for place in most],
        "odd": [item_of[place] for place in least],
    }


def _groups(
    groups: list[NDArray[np.int64]], kinds: NDArray[np.int64], number_of: dict[int, int]
) -> list[dict[str, Any]]:
    return [
        {
            "images": len(group),
            "selected": int((kinds[group] == _KINDS.index(KEPT)).sum()),
            "items": [number_of[position] for position in group[:_MOST_IN_GROUP].tolist()],
        }
        for group in groups[:_MOST_GROUPS]
    ]


def _unit_embeddings(selection: Selection, rows: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """Return the embeddings of some rows at unit length; None without."""
    values = read_column(selection, "embeddings", "embeddings", rows)
    if values is None or not np.isfinite(values).all():
        return None
    rows_ND: NDArray[np.float32] = values.astype(np.float32)
    rows_ND /= np.maximum(np.linalg.norm(rows_ND, axis=1, keepdims=True), 1e-12)
    return rows_ND


def _map_places(unit_ND: NDArray[np.float32]) -> list[list[float]] | None:
    """Return the first two principal coordinates of some rows, each in [0, 1]; None for fewer than three."""
    if len(unit_ND) < 3 or unit_ND.shape[1] < 2:
        return None
    rows_ND = unit_ND - unit_ND.mean(axis=0)
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
        self.positions, self.rows = shown, pool.rows[shown]
        self.places = {row: number for number, row in enumerate(self.rows.tolist())}
        curves = margins_of(selection, self.rows)
        self._curves = None if curves is None else curves[1]
        near = read_column(selection, "neighbors", "indices", self.rows)
        rows = [] if near is None else near.tolist()
        self.near = [[other for other in row if other >= 0][:_NUM_NEIGHBORS] for row in rows]
        """Rows of the nearest neighbours of each image that is shown; empty where none are known."""
        self._equal = _copies(read_column(selection, "embeddings", "content", pool.rows))

    def of(self, number: int) -> dict[str, Any]:
        """Return scores, ranks (1: hardest), cluster, confidence and learning curve of an image."""
        position = int(self.positions[number])
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
        return found

    def columns(self, positions: NDArray[np.int64]) -> dict[str, Any]:
        """Return cluster and first score of many images."""
        found: dict[str, Any] = {}
        if self._pool.pseudo_labels is not None:
            found["cluster"] = self._pool.pseudo_labels[positions].tolist()
        if self.keys:
            found["score"] = [_number(value) for value in self._scores[self.keys[0]][positions]]
        return found


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
    """Return a finite number to a few digits, no zero below zero; else None."""
    number = float(value)
    if not math.isfinite(number):
        return None
    return float(f"{number:.{_DIGITS}g}") + 0.0


def _shown(text: str) -> str:
    """Return a text with what cannot be seen written out."""
    plain: Iterable[str] = (
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
    return "".join(plain)
