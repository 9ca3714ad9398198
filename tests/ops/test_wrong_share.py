"""A share and its interval."""

import pytest

from elfs.ops.wrong_share import wrong_share


@pytest.mark.parametrize(
    ("num_wrong", "num_checked", "low", "high"),
    [(0, 10, 0.0, 0.27753), (5, 10, 0.23659, 0.76341), (1, 29, 0.00611, 0.17176), (10, 10, 0.72247, 1.0)],
)
def test_intervals_are_those_of_newcombes_table(num_wrong: int, num_checked: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17, 1998, method 3; 1 of 29 is in his table I (0.0061 to 0.1718)."""
    found = wrong_share(num_wrong, num_checked)
    assert found.estimate == num_wrong / num_checked
    assert found.low == pytest.approx(low, abs=2e-5)
    assert found.high == pytest.approx(high, abs=2e-5)


def test_the_ends_solve_the_quadratic() -> None:
    found = wrong_share(7, 40)
    for end in (found.low, found.high):
        assert abs(0.175 - end) == pytest.approx(1.959964 * (end * (1 - end) / 40) ** 0.5)


@pytest.mark.parametrize(("num_wrong", "num_checked"), [(0, 0), (3, 2), (-1, 2)])
def test_impossible_numbers_are_refused(num_wrong: int, num_checked: int) -> None:
    with pytest.raises(ValueError, match="expected 0 to all of at least 1"):
        wrong_share(num_wrong, num_checked)
