"""Areas and labels needed, by hand."""

import pytest

from elfs.evaluation.comparison import Comparison
from elfs.evaluation.learning_curves import (
    MORE,
    areas,
    curve_facts,
    curve_table,
    gain_facts,
    gain_line,
    gains,
    labels_needed,
)
from elfs.ops.learning_curve import LearningCurve
from elfs.pipeline.comparison_facts import Cell

PROTOCOL = {"name": "small", "network": "linear", "iterations": 600, "test_images": 100}
ROUNDS = [("1 x 10", 10), ("2 x 10", 20), ("3 x 10", 40)]
ACCURACIES = {
    "random": [(0.5, 0.7), (0.6, 0.8), (0.7, 0.9)],
    "margin": [(0.5, 0.7), (0.7, 0.7), (0.9, 0.9)],
    "easiest": [(0.5, 0.7), (0.5, 0.7), (0.5, 0.7)],
    "hardest": [(0.8, 0.9), (0.8, 0.9), (0.8, 0.9)],
}


def comparison(*methods: str) -> Comparison:
    cells = [
        Cell(method, name, images, values)
        for method in methods or ACCURACIES
        for (name, images), values in zip(ROUNDS, ACCURACIES[method], strict=True)
    ]
    return Comparison(PROTOCOL, (0, 1), tuple(cells), None)


def test_area_is_that_of_trapezia_for_each_seed() -> None:
    """Seed 0 of margin: (0.6 x 10 + 0.8 x 20) / 30; seed 1: (0.7 x 10 + 0.8 x 20) / 30."""
    assert areas(comparison(), "margin") == pytest.approx([22 / 30, 23 / 30])
    assert areas(comparison(), "easiest") == pytest.approx([0.5, 0.7])


def test_labels_for_what_random_reaches_in_the_end() -> None:
    """Random ends at 0.8; margin has 0.7 at 20 and 0.9 at 40."""
    assert labels_needed(comparison(), "margin") == pytest.approx(30)
    assert labels_needed(comparison(), "random") == 40
    assert labels_needed(comparison(), "hardest") == 10
    assert labels_needed(comparison(), "easiest") is None


def test_table_and_facts() -> None:
    table = curve_table(comparison())
    assert table[1] == ("random", "71.7 +- 14.1", "-", "40")
    assert table[2][0] == "margin"
    assert table[2][2].startswith("+3.3")
    assert table[3][3] == "-"
    facts = {line["method"]: line for line in curve_facts(comparison())}
    assert facts["random"]["against_random"] is None
    assert facts["margin"]["area"] == pytest.approx(0.75)


def test_without_random_nothing_is_held_against_it() -> None:
    (line,) = curve_facts(comparison("margin"))
    assert (line["labels_needed"], line["against_random"]) == (None, None)
    assert curve_table(comparison("margin"))[1][2:] == ("-", "-")


TRUTH = LearningCurve(0.9, 0.4, 0.5, 0.6, 50.0)
COUNTS = (50, 100, 200, 400, 800)


def on_a_curve(counts: tuple[int, ...], deviation: float, num_test: int) -> Comparison:
    cells = tuple(
        Cell("auto", str(count), count, (TRUTH.accuracy(count) - deviation, TRUTH.accuracy(count) + deviation))
        for count in counts
    )
    return Comparison(PROTOCOL | {"test_images": num_test}, (0, 1), cells, None)


@pytest.mark.slow
def test_what_more_labels_bring_is_read_off_the_curve_of_the_means() -> None:
    found = gains(on_a_curve(COUNTS, 0.01, 10_000))["auto"]
    assert found.estimate == pytest.approx(TRUTH.accuracy(800 + MORE) - TRUTH.accuracy(800), abs=2e-3)
    assert found.low <= found.estimate <= found.high


@pytest.mark.slow
@pytest.mark.parametrize(("deviation", "num_test"), [(0.05, 10_000), (0.01, 50)], ids=["seeds", "test images"])
def test_the_interval_grows_with_the_spread_and_with_fewer_test_images(deviation: float, num_test: int) -> None:
    sure, unsure = (gains(on_a_curve(COUNTS, *known))["auto"] for known in ((0.01, 10_000), (deviation, num_test)))
    assert sure.high - sure.low < unsure.high - unsure.low


@pytest.mark.slow
def test_four_budgets_or_nothing_is_said() -> None:
    few = on_a_curve(COUNTS[:3], 0.01, 1000)
    assert (gains(few), gain_line(few), gain_facts(few)) == ({}, None, {"more": MORE, "gains": {}})
    line = gain_line(on_a_curve(COUNTS, 0.01, 10_000))
    assert line is not None
    assert line.startswith("more        100 more labels are expected to bring auto +1.0 (")


@pytest.mark.slow
def test_a_cell_without_training_and_one_that_is_all_right_do_no_harm() -> None:
    cells = (
        Cell("auto", "10", None, (), "too small"),
        *on_a_curve(COUNTS, 0.0, 100).cells,
        Cell("auto", "900", 900, (1.0, 1.0)),
    )
    assert set(gains(Comparison(PROTOCOL, (0, 1), cells, None))) == {"auto"}
