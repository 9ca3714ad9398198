"""Accuracy over budget as a figure: one line a method, error bars over the seeds."""

import io
from typing import Any

from elfs.evaluation.comparison import BASELINE, Comparison

__all__ = ["accuracy_figure"]

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_GREY = "#555555"
_MARKERS = "osD^vPX"
_LINES = ("-", ":", "-.")
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "path",
    "svg.hashsalt": "elfs",
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_WIDTH_INCHES, _HEIGHT_INCHES = 7.2, 4.5


def accuracy_figure(comparison: Comparison) -> bytes:
    """Draw accuracy over the number of annotated images.

    Parameters
    ----------
    comparison : Comparison
        Cells of at least one method.

    Returns
    -------
    bytes
        An SVG document; equal comparisons give equal bytes under one version of matplotlib. Error bars are the sample
        standard deviation over the seeds, the dashed line is the whole pool. Random is grey; the other colours are
        those of Okabe and Ito, which people who see colours differently can tell apart [1]_, and the shapes of the
        points differ too.

    References
    ----------
    .. [1] Okabe and Ito, "Color universal design" (2008), https://jfly.uni-koeln.de/color/.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()  # whatever the person who runs this has set
        mpl.rcParams.update(_SETTINGS)
        figure = Figure(figsize=(_WIDTH_INCHES, _HEIGHT_INCHES), layout="constrained")
        _draw(figure.add_subplot(), comparison)
        buffer = io.BytesIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    return buffer.getvalue()


def _draw(axes: Any, comparison: Comparison) -> None:
    others = [method for method in comparison.methods if method != BASELINE]
    for method in comparison.methods:
        cells = sorted(
            (cell for cell in comparison.cells if cell.method == method and cell.accuracies),
            key=lambda cell: cell.images or 0,
        )
        place = others.index(method) if method in others else 0
        turn, look = divmod(place, len(_COLOURS))
        style: dict[str, Any] = {"color": _COLOURS[look], "marker": _MARKERS[look]}
        style["linestyle"] = _LINES[turn % len(_LINES)]
        if method == BASELINE:
            style = {"color": _GREY, "marker": "x", "linestyle": "--"}
        axes.errorbar(
            [cell.images for cell in cells],
            [100 * (cell.mean or 0.0) for cell in cells],
            yerr=[100 * (cell.deviation or 0.0) for cell in cells],
            label=method,
            capsize=3,
            **style,
        )
    if comparison.reference is not None and comparison.reference.mean is not None:
        axes.axhline(100 * comparison.reference.mean, color=_GREY, linewidth=1, linestyle=(0, (6, 3)))
        axes.annotate(
            f"all {comparison.reference.images:,} images",
            (0.01, 100 * comparison.reference.mean),
            xycoords=("axes fraction", "data"),
            xytext=(0, 3),
            textcoords="offset points",
            color=_GREY,
        )
    _label(axes, comparison)


def _label(axes: Any, comparison: Comparison) -> None:
    """Name the axes; the ticks are the budgets themselves."""
    from matplotlib.ticker import NullLocator

    images = sorted({cell.images for cell in comparison.cells if cell.images})
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(images, [f"{count:,}" for count in images])
    axes.margins(x=0.08)
    axes.set_xlabel("images annotated")
    bars = f", bars: standard deviation over {len(comparison.seeds)} seeds" if len(comparison.seeds) > 1 else ""
    axes.set_ylabel("test accuracy (%)")
    axes.set_title(f"{comparison.training.text}{bars}", fontsize=8, loc="left", color=_GREY)
    axes.legend(frameon=False)
