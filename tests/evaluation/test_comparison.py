"""Means, spreads and differences of given accuracies, derived by hand."""

import csv
import io
import json
from typing import Any

import pytest

from elfs.evaluation.comparison import Comparison, paired_difference
from elfs.pipeline.comparison_facts import Cell

PROTOCOL = {"name": "small", "network": "resnet8", "iterations": 1600, "test_images": 360}

ELFS_5, ELFS_10 = (0.90, 0.91, 0.92), (0.95, 0.96, 0.97)
RANDOM_5, RANDOM_10 = (0.80, 0.815, 0.80), (0.93, 0.95, 0.94)
HARDEST_5, HARDEST_10 = (0.50, 0.505, 0.50), (0.93, 0.95, 0.94)

TOO_LARGE = "a hard rate of 0.9 leaves 16."


def comparison(**changes: Any) -> Comparison:
    cells = (
        Cell("elfs@aum", "0.05", 72, ELFS_5),
        Cell("elfs@aum", "0.1", 144, ELFS_10),
        Cell("random", "0.05", 72, RANDOM_5),
        Cell("random", "0.1", 144, RANDOM_10),
        Cell("hardest@aum", "0.05", 72, HARDEST_5),
        Cell("hardest@aum", "0.1", 144, HARDEST_10),
        Cell("elfs@aum:0.9", "0.05", 72, (0.9, 0.91, 0.92)),
        Cell("elfs@aum:0.9", "0.1", None, (), TOO_LARGE),
    )
    reference = Cell("all images", "1.0", 1437, (0.97, 0.98, 0.99))
    given: dict[str, Any] = {"protocol": PROTOCOL, "seeds": (0, 1, 2), "cells": cells, "reference": reference}
    return Comparison(**(given | changes))


def test_mean_and_sample_deviation_over_seeds() -> None:
    cell = Cell("x", "0.1", 10, (0.95, 0.96, 0.97))
    assert cell.mean == pytest.approx(0.96)
    assert cell.deviation == pytest.approx(0.01)
    assert cell.text == "96.0 +- 1.0"
    one = Cell("x", "0.1", 10, (0.95,))
    assert (one.mean, one.deviation, one.text) == (0.95, None, "95.0")
    empty = Cell("x", "0.1", None, (), "because")
    assert (empty.mean, empty.deviation, empty.text) == (None, None, "-")


def test_difference_is_paired_by_seed() -> None:
    """Differences 0.02, 0.01, 0.03: mean 0.02, deviation 0.01, error 0.01 / sqrt(3), times 4.303 = 0.0248 > 0.02."""
    within = paired_difference(ELFS_10, RANDOM_10, 360)
    assert within.mean == pytest.approx(0.02)
    assert within.standard_error == pytest.approx(0.005773503)
    assert (within.verdict, within.text) == ("within", "+2.0 (0.6) within")
    # 0.10, 0.095, 0.12: mean 0.105, squares about it 0.00035, error sqrt(0.000175 / 3), times 4.303 = 0.0329
    above = paired_difference(ELFS_5, RANDOM_5, 360)
    assert above.mean == pytest.approx(0.105)
    assert above.standard_error == pytest.approx(0.007637626)
    assert (above.verdict, above.text) == ("above", "+10.5 (0.8) above")
    below = paired_difference(RANDOM_5, ELFS_5, 360)
    assert (below.verdict, below.text) == ("below", "-10.5 (0.8) below")


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        # Student's t, 97.5 %: 12.706 with 1 degree of freedom, 3.182 with 3 (any table, such as NIST's handbook).
        ((0.136, 0.116), "within"),  # mean 0.126 < 12.706 x 0.01
        ((0.138, 0.118), "above"),  # mean 0.128 > 12.706 x 0.01
        ((-0.138, -0.118), "below"),
        # +-0.1 about the mean: deviation 0.2 / sqrt(3), error 0.1 / sqrt(3), times 3.182 = 0.1837
        ((0.1 + 0.183, 0.1 + 0.183, -0.1 + 0.183, -0.1 + 0.183), "within"),
        ((0.1 + 0.185, 0.1 + 0.185, -0.1 + 0.185, -0.1 + 0.185), "above"),
        ((0.0, 0.0, 0.0), "within"),
    ],
)
def test_verdict_turns_where_students_t_does(differences: tuple[float, ...], verdict: str) -> None:
    assert paired_difference(differences, [0.0] * len(differences), 10**6).verdict == verdict


def test_seeds_that_agree_to_the_image_are_no_certainty() -> None:
    """One of 80 images with each seed; the interval reaches 12.706 / sqrt(12) = 3.7 images, with eight seeds 0.34."""
    one = paired_difference((0.4375, 0.5375), (0.425, 0.525), 80)
    assert one.standard_error == pytest.approx(1 / 80 / 12**0.5)
    assert one.verdict == "within"
    assert paired_difference([0.4375] * 8, [0.425] * 8, 80).verdict == "above"


def test_one_seed_has_no_verdict() -> None:
    difference = paired_difference((0.9,), (0.8,), 360)
    assert (difference.standard_error, difference.verdict, difference.text) == (None, None, "+10.0")


def test_seeds_must_be_the_same() -> None:
    with pytest.raises(ValueError, match=r"^zip\(\) argument 2 is shorter than argument 1$"):
        paired_difference((0.9, 0.8), (0.8,), 360)


def test_table() -> None:
    assert comparison().rows() == [
        ("accuracy (%)", "0.05 (72)", "0.1 (144)"),
        ("elfs@aum", "91.0 +- 1.0 *", "96.0 +- 1.0 *"),
        ("random", "80.5 +- 0.9", "94.0 +- 1.0"),
        ("hardest@aum", "50.2 +- 0.3", "94.0 +- 1.0"),
        ("elfs@aum:0.9", "91.0 +- 1.0 *", "-"),
        ("", "", ""),
        ("minus random", "", ""),
        ("elfs@aum", "+10.5 (0.8) above", "+2.0 (0.6) within"),
        ("hardest@aum", "-30.3 (0.3) below", "+0.0 (0.1) within"),
        ("elfs@aum:0.9", "+10.5 (0.8) above", "-"),
    ]


def test_words() -> None:
    assert comparison().lines() == [
        "protocol    resnet8, 1,600 iterations whatever the budget, last iterate (recipe small), 360 test images",
        "seeds       0, 1, 2, for the selection and the training; +- is the sample standard deviation over them",
        "*           the best mean at its budget",
        "whole pool  98.0 +- 1.0 on 1,437 images",
        "random      is beaten beyond the spread by: elfs@aum at 0.05; elfs@aum:0.9 at 0.05",
        "random      beats beyond the spread: hardest@aum at 0.05",
        "spread      the 95 % interval of the mean difference, paired over 3 seeds (Student's t), each cell by itself; "
        "its standard error in brackets",
        f"not there   elfs@aum:0.9 at 0.1: {TOO_LARGE}",
    ]


def test_one_seed_is_no_ground_for_a_claim() -> None:
    cells = (Cell("elfs@aum", "10", 10, (0.99,)), Cell("random", "10", 10, (0.1,)))
    one = comparison(seeds=(4,), cells=cells, reference=None)
    assert one.rows() == [
        ("accuracy (%)", "10 (10)"),
        ("elfs@aum", "99.0 *"),
        ("random", "10.0"),
        ("", ""),
        ("minus random", ""),
        ("elfs@aum", "+89.0"),
    ]
    assert one.lines()[1:] == [
        "seeds       4, for the selection and the training",
        "*           the best mean at its budget",
        "random      one seed has no spread, so no difference can be judged; use --seeds 3 or more",
    ]


def test_nothing_is_held_against_random_without_it() -> None:
    cells = (Cell("elfs@aum", "10", 10, (0.9, 0.8)),)
    alone = comparison(seeds=(0, 1), cells=cells)
    assert alone.rows() == [("accuracy (%)", "10 (10)"), ("elfs@aum", "85.0 +- 7.1")]
    assert [line.split()[0] for line in alone.lines()] == ["protocol", "seeds", "whole"]
    assert alone.difference(cells[0]) is None


def test_random_alone_and_the_missing_whole_pool() -> None:
    missing = Cell("all images", "1.0", 1437, (), "3 of 1,437 images have no label.")
    one = comparison(seeds=(0, 1), cells=(Cell("random", "10", 10, (0.9, 0.8)),), reference=missing)
    assert len(one.rows()) == 2
    assert one.lines()[2:] == ["not there   all images at 1.0: 3 of 1,437 images have no label."]


def test_random_that_could_not_be_selected_is_no_baseline() -> None:
    cells = (Cell("elfs@aum", "500", 500, (0.9, 0.8)), Cell("random", "500", None, (), "too many"))
    assert comparison(cells=cells).rows()[-1] == ("elfs@aum", "-")


def test_csv() -> None:
    data = comparison().table_csv()
    assert b"\r" not in data
    lines = list(csv.DictReader(io.StringIO(data.decode())))
    assert len(lines) == 9
    protocol = "resnet8, 1,600 iterations whatever the budget, last iterate"
    assert lines[0] == {
        "method": "elfs@aum",
        "budget": "0.05",
        "images": "72",
        "seeds": "3",
        "mean": "0.910000",
        "deviation": "0.010000",
        "best": "yes",
        "difference": "0.105000",
        "standard_error": "0.007638",
        "against_random": "above",
        "test_images": "360",
        "protocol": protocol,
        "reason": "",
    }
    empty = dict.fromkeys(("images", "mean", "deviation", "difference", "standard_error", "against_random"), "")
    wanted = {"method": "elfs@aum:0.9", "budget": "0.1", "seeds": "0", "best": "no", "test_images": "360"}
    assert lines[7] == wanted | empty | {"protocol": protocol, "reason": TOO_LARGE}
    assert (lines[2]["method"], lines[2]["best"], lines[2]["difference"]) == ("random", "no", "")
    last = {name: lines[8][name] for name in ("method", "budget", "images", "mean", "deviation", "best")}
    assert list(last.values()) == ["all images", "1.0", "1437", "0.980000", "0.010000", "no"]


def test_json_gives_the_comparison_back() -> None:
    for made in (comparison(), comparison(reference=None)):
        document = made.as_json()
        assert Comparison.of(json.loads(json.dumps(document))) == made
    cell = comparison().as_json()["cells"][0]
    assert cell["against_random"] == {
        "mean": pytest.approx(0.105),
        "standard_error": pytest.approx(0.007637626),
        "verdict": "above",
    }
    assert (cell["mean"], cell["best"], cell["accuracies"]) == (pytest.approx(0.91), True, [0.9, 0.91, 0.92])
    assert comparison().as_json()["cells"][7]["against_random"] is None
