"""Figures as SVG elements whose colours are the page's CSS variables, so that they follow light and dark."""

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.delivery.learning import MeanCurve
from elfs.delivery.pool import EASY, HARD, KEPT, NAMES, REST, Pool
from elfs.pipeline.cluster_facts import CountFacts

__all__ = ["cluster_bars", "cluster_numbers", "learning_curves", "score_histogram"]

_INK, _MUTED, _LINE = "#010101", "#020202", "#030303"
_FILL = {KEPT: "#040404", HARD: "#050505", EASY: "#060606", REST: "#060606"}
_VARIABLES = {
    _INK: "--ink",
    _MUTED: "--muted",
    _LINE: "--line",
    _FILL[KEPT]: "--kept",
    _FILL[HARD]: "--hard",
    _FILL[EASY]: "--easy",
}
"""Colours that matplotlib is given, and the variables that take their place."""

_LARGE_INCHES, _SMALL_INCHES = (8.6, 3.1), (5.4, 2.6)
_FONT_POINTS = 10
_LEGEND: dict[str, Any] = {"frameon": False, "loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0}
_MAX_BINS = 60
_MAX_NAMED_CLUSTERS = 40
_LONG_NAME, _LONGEST_NAME = 3, 16


def _svg(name: str, draw: Callable[[Any], None], size: tuple[float, float] = _LARGE_INCHES) -> str:
    """Return what `draw` puts on a pair of axes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": _FONT_POINTS,
        "text.color": _INK,
        "axes.labelcolor": _MUTED,
        "axes.edgecolor": _LINE,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": _LINE,
        "ytick.color": _LINE,
        "xtick.labelcolor": _MUTED,
        "ytick.labelcolor": _MUTED,
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' (width|height)="[^"]*pt"', "", text, count=2)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text


def score_histogram(pool: Pool, key: str, *, higher_is_harder: bool) -> str:
    """Draw how the scores are spread, hard on the left, each band in its colour.

    Parameters
    ----------
    pool : Pool
        With scores.
    key : str
        Name of the score.
    higher_is_harder : bool
        Which way the axis runs.

    Returns
    -------
    str
        An ``svg`` element.
    """
    assert pool.scores is not None
    scores = pool.scores
    edges = _edges(scores[np.isfinite(scores)])

    def draw(axes: Any) -> None:
        below = np.zeros(len(edges) - 1)
        bars = {}
        for band in sorted(pool.bands, key=lambda band: band.kind != KEPT):
            values = scores[band.positions]
            counts, _ = np.histogram(values[np.isfinite(values)], edges)
            bars[band.kind] = axes.bar(
                edges[:-1], counts, np.diff(edges), below, align="edge", color=_FILL[band.kind], antialiased=False
            )
            below += counts
            if band.kind == KEPT and REST not in {other.kind for other in pool.bands}:
                for value in (values.min(), values.max()):
                    axes.axvline(value, color=_INK, linewidth=1, linestyle=(0, (4, 3)))
        if higher_is_harder:
            axes.invert_xaxis()
        axes.set_xlabel(f"hard  \N{LEFTWARDS ARROW}  {key}  \N{RIGHTWARDS ARROW}  easy")
        axes.set_ylabel("images")
        axes.margins(x=0.01)
        names = [f"{band.name} ({len(band.positions):,})" for band in pool.bands]
        axes.legend([bars[band.kind] for band in pool.bands], names, ncols=3, **_LEGEND)

    return _svg("scores", draw)


def _edges(values: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return the edges of the bins: one bin for each whole number where there are few of them."""
    low, high = float(values.min()), float(values.max())
    if high - low < _MAX_BINS and np.array_equal(values, np.round(values)):
        return np.arange(low - 0.5, high + 1)
    if low == high:
        return np.array([low - 0.5, low + 0.5])
    return np.linspace(low, high, _MAX_BINS + 1)


def cluster_bars(pool: Pool, chosen: NDArray[np.int64]) -> str:
    """Draw the share of each cluster in the pool and in the selection, largest first.

    Parameters
    ----------
    pool : Pool
        With pseudo-labels.
    chosen : ndarray of shape (n,), int64
        Positions in the pool that were selected.

    Returns
    -------
    str
        An ``svg`` element.
    """
    assert pool.pseudo_labels is not None
    sizes = np.bincount(pool.pseudo_labels)
    picked = np.bincount(pool.pseudo_labels[chosen], minlength=len(sizes))
    order = np.argsort(-sizes, kind="stable")
    places = np.arange(len(order))

    def draw(axes: Any) -> None:
        axes.bar(places - 0.2, 100 * sizes[order] / sizes.sum(), 0.4, color=_FILL[EASY], label="share of the pool")
        axes.bar(places + 0.2, 100 * picked[order] / picked.sum(), 0.4, color=_FILL[KEPT], label="of the selection")
        if len(order) <= _MAX_NAMED_CLUSTERS:
            names = [_short(pool.name(cluster)) for cluster in order.tolist()]
            axes.set_xticks(places, names, rotation=30 if max(map(len, names)) > _LONG_NAME else 0)
            axes.set_xlabel("class" if pool.names else "cluster")
        else:
            axes.set_xticks([])
            axes.set_xlabel(f"{len(order):,} clusters, largest first")
        axes.set_ylabel("%")
        axes.margins(x=0.01)
        axes.legend(ncols=2, **_LEGEND)

    return _svg("clusters", draw)


def cluster_numbers(estimate: CountFacts) -> str:
    """Draw how many groups are left of each number of clusters that is supposed, and which numbers find themselves.

    Parameters
    ----------
    estimate : CountFacts
        As cluster reports it.

    Returns
    -------
    str
        An ``svg`` element.
    """
    candidates, groups = estimate.candidates, estimate.groups
    fewest, most = estimate.as_good

    def draw(axes: Any) -> None:
        if fewest < most:
            axes.axvspan(fewest, most, color=_FILL[KEPT], alpha=0.25, linewidth=0, label="as good")
        axes.plot(candidates, candidates, color=_MUTED, linewidth=1, linestyle=(0, (4, 3)), label="as many as supposed")
        axes.plot(candidates, groups, color=_FILL[EASY], linewidth=2, marker="o", markersize=4)
        axes.axvline(estimate.best, color=_INK, linewidth=1, linestyle=(0, (4, 3)), label=f"{estimate.best}, taken")
        if candidates[-1] > _MAX_NAMED_CLUSTERS:
            axes.set_xscale("log")
            axes.set_yscale("log")
            rounded = [step * 10**power for power in range(len(str(candidates[-1]))) for step in (1, 2, 5)]
            shown = [number for number in rounded if candidates[0] <= number <= candidates[-1]]
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_ticks(shown, [str(number) for number in shown])
                axis.set_ticks([], minor=True)
        axes.set_xlabel("clusters supposed")
        axes.set_ylabel("groups left")
        axes.legend(ncols=3, **_LEGEND)

    return _svg("numbers", draw, _SMALL_INCHES)


def _short(name: str) -> str:
    """Return a name that fits under a bar; dollar signs would be read as formulas."""
    name = name.removeprefix("cluster ").replace("$", r"\$")
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def learning_curves(epochs: NDArray[np.int64], curves: list[MeanCurve]) -> str:
    """Draw the mean margin of each band over the epochs.

    Parameters
    ----------
    epochs : ndarray of shape (e,), int64
        From 0.
    curves : list of MeanCurve
        At least one.

    Returns
    -------
    str
        An ``svg`` element.
    """

    def draw(axes: Any) -> None:
        axes.axhline(0, color=_MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for kind, values in curves:
            axes.plot(epochs + 1, values, color=_FILL[kind], linewidth=2, label=NAMES[kind])
        axes.set_xlabel("epoch")
        axes.set_ylabel("mean margin")
        axes.margins(x=0.01)
        axes.legend(ncols=3, **_LEGEND)

    return _svg("learning", draw, _SMALL_INCHES)
