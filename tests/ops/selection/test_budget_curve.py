import pytest

from elfs.ops.selection.budget_curve import bend, equal_budget

BUDGETS = [10, 20, 50, 100]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # above the line from (10, .5) to (100, 1), by hand: 0, .3 - 10/180, .4 - 40/180, 0
        ([0.5, 0.8, 0.9, 1.0], 1),
        ([0.5, 0.6, 0.9, 1.0], 2),
        ([0.1, 0.2, 0.5, 1.0], None),  # straight, and steeper at the end
        ([0.5, 0.5, 0.5, 0.5], None),
        ([0.9, 0.8, 0.6, 0.5], None),  # it falls
    ],
)
def test_bend_is_farthest_above_the_chord(values: list[float], expected: int | None) -> None:
    assert bend(BUDGETS, values) == expected


def test_two_points_have_no_bend() -> None:
    assert bend([1, 2], [0.0, 1.0]) is None


def test_bend_does_not_hang_on_the_units() -> None:
    values = [0.5, 0.6, 0.9, 1.0]
    assert bend([1000 * budget + 7 for budget in BUDGETS], [30 * value - 4 for value in values]) == bend(
        BUDGETS, values
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.1, 10), (0.5, 10), (0.65, 15), (0.8, 20), (0.85, 35), (1.0, 100), (1.01, None)],
)
def test_budget_that_is_worth_as_much(value: float, expected: float | None) -> None:
    found = equal_budget(value, BUDGETS, [0.5, 0.8, 0.9, 1.0])
    assert found == (None if expected is None else pytest.approx(expected))


def test_a_curve_that_dips_is_reached_where_it_is_first() -> None:
    assert equal_budget(0.7, [1, 2, 3, 4], [0.5, 0.7, 0.6, 0.9]) == 2


@pytest.mark.parametrize("arguments", [([], []), ([1, 2], [0.5]), ([2, 1], [0.5, 0.6]), ([1, 1], [0.5, 0.6])])
def test_points_that_are_no_curve_are_refused(arguments: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match=r"^there are \d budgets and \d values, expected one value for each"):
        bend(*arguments)
    with pytest.raises(ValueError, match=r"^there are \d budgets and \d values, expected one value for each"):
        equal_budget(0.5, *arguments)
