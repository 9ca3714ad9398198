"""The figure of a comparison."""

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure

from elfs.catalog import SELECTORS
from elfs.evaluation.comparison import Comparison
from elfs.evaluation.figure import _draw, accuracy_figure
from elfs.pipeline.comparison_facts import Cell

PROTOCOL = {"name": "small", "network": "resnet8", "iterations": 600, "test_images": 360}


def comparison(methods: list[str], reference: bool = True) -> Comparison:
    cells = tuple(
        Cell(method, budget, images, (0.5 + images / 1000, 0.6 + images / 1000))
        for method in methods
        for budget, images in (("0.1", 100), ("0.01", 10))
    )
    whole = Cell("all images", "1.0", 1000, (0.97, 0.99)) if reference else None
    return Comparison(PROTOCOL, (0, 1), cells, whole)


@pytest.mark.slow
def test_equal_comparisons_give_equal_bytes_whatever_is_set_outside() -> None:
    first = accuracy_figure(comparison(["elfs@aum", "random"]))
    with mpl.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.fonttype": "none"}):
        assert accuracy_figure(comparison(["elfs@aum", "random"])) == first
        assert mpl.rcParams["font.size"] == 30
    assert accuracy_figure(comparison(["elfs@aum", "random"], reference=False)) != first


def test_no_time_and_no_program_is_in_the_file() -> None:
    text = accuracy_figure(comparison(["random"])).decode()
    ElementTree.fromstring(text)
    assert not re.search(r"\b20\d\d-", text)
    assert "Matplotlib" not in text


def test_points_and_bars_are_mean_and_deviation_by_number_of_images() -> None:
    axes: Any = Figure().add_subplot()
    _draw(axes, comparison(["elfs@aum", "random"]))
    line = axes.containers[0].lines[0]
    assert line.get_xdata().tolist() == [10, 100]
    assert [round(value, 6) for value in line.get_ydata().tolist()] == [56.0, 65.0]
    (bars,) = axes.containers[0].lines[2]
    (low, high), _ = bars.get_segments()
    # two seeds 10 points apart: deviation 10 / sqrt(2)
    assert (round(low[1], 3), round(high[1], 3)) == (48.929, 63.071)
    assert (axes.get_xscale(), axes.get_xlabel()) == ("log", "images annotated")
    assert [label.get_text() for label in axes.get_legend().get_texts()] == ["elfs@aum", "random"]


def test_every_method_looks_different() -> None:
    axes: Any = Figure().add_subplot()
    _draw(axes, comparison(list(SELECTORS)))
    lines = [container.lines[0] for container in axes.containers]
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}
    assert len(looks) == len(SELECTORS)


def test_cells_that_are_not_there_leave_no_point() -> None:
    cells = (Cell("elfs@aum", "10", None, (), "no"), Cell("random", "10", 10, (0.5,)))
    assert accuracy_figure(Comparison(PROTOCOL, (0,), cells, None))
