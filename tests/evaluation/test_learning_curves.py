"""Areas and labels needed, by hand."""

import pytest

from elfs.evaluation.comparison import Cell, Comparison
from elfs.evaluation.learning_curves import areas, curve_facts, curve_table, labels_needed

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
