"""The learning curve: its formula, what it is fitted to, and what it cannot tell."""

import numpy as np
import pytest
import torch

from elfs.ops.learning_curve import LearningCurve, _curve, _slopes, expected_gain, fit_learning_curve

TRUTH = LearningCurve(0.9, 0.4, 0.5, 0.6, 50.0)
COUNTS = [50, 100, 200, 400, 800]
ERRORS = [0.01] * 5


def test_the_formula_by_hand() -> None:
    assert LearningCurve(0.8, 0.5, 1.0, 2.0, 100.0).accuracy(100) == pytest.approx(0.8 * (1 - 0.5**4))
    assert LearningCurve(0.8, 0.5, 0.0, 1.0, 100.0).accuracy(0) == 0


def test_points_on_a_curve_are_found_again_and_foretold() -> None:
    found = fit_learning_curve(COUNTS, [TRUTH.accuracy(count) for count in COUNTS], ERRORS)
    assert found is not None
    for count in [*COUNTS, 900, 1600]:
        assert found.accuracy(count) == pytest.approx(TRUTH.accuracy(count), abs=2e-3)


def test_what_is_known_better_counts_more() -> None:
    values = [TRUTH.accuracy(count) for count in COUNTS]
    values[2] += 0.1
    near, far = (fit_learning_curve(COUNTS, values, [0.01, 0.01, error, 0.01, 0.01]) for error in (1e-4, 1.0))
    assert near is not None
    assert far is not None
    assert abs(near.accuracy(200) - values[2]) < 0.01 < abs(far.accuracy(200) - values[2])


@pytest.mark.slow
def test_the_gain_lies_in_its_interval_which_grows_with_the_errors() -> None:
    values = [TRUTH.accuracy(count) for count in COUNTS]
    widths = []
    for error in (1e-4, 0.02):
        gain = expected_gain(COUNTS, values, [error] * 5, 100, torch.Generator().manual_seed(0))
        assert gain is not None
        assert 0 <= gain.low <= gain.estimate <= gain.high
        assert gain.estimate == pytest.approx(TRUTH.accuracy(900) - TRUTH.accuracy(800), abs=2e-3)
        widths.append(gain.high - gain.low)
    assert widths[0] < 0.001 < widths[1] < 0.03


def test_fewer_than_four_numbers_of_annotations_cannot_tell() -> None:
    counts, values, errors = [50, 100, 200, 200], [0.5, 0.6, 0.7, 0.71], [0.01] * 4
    assert fit_learning_curve(counts, values, errors) is None
    assert expected_gain(counts, values, errors, 100, torch.Generator().manual_seed(0)) is None


@pytest.mark.parametrize(
    ("counts", "values", "errors", "said"),
    [
        ([0, 1, 2, 3], [0.1] * 4, [0.1] * 4, "at least 1 annotation"),
        ([1, 2, 3, 4], [1.1] * 4, [0.1] * 4, "accuracies in"),
        ([1, 2, 3, 4], [0.1] * 4, [0.0] * 4, "errors above 0"),
        ([1, 2, 3, 4], [0.1] * 3, [0.1] * 4, "expected equal"),
    ],
)
def test_impossible_points_are_refused(counts: list[int], values: list[float], errors: list[float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fit_learning_curve(counts, values, errors)


def test_the_gain_may_be_told_from_more_than_what_was_tried() -> None:
    values = [TRUTH.accuracy(count) for count in COUNTS]
    gain = expected_gain(COUNTS, values, [0.002] * 5, 100, torch.Generator().manual_seed(0), now=1000)
    assert gain is not None
    assert gain.estimate == pytest.approx(TRUTH.accuracy(1100) - TRUTH.accuracy(1000), abs=2e-3)
    assert gain.low <= gain.estimate <= gain.high


@pytest.mark.parametrize("parameters", [(0.9, 0.3, 0.2, 0.6), (0.5, 0.01, 0.0, 1.5), (1.0, 0.99, 5.0, 0.05)])
def test_slopes_are_those_of_the_curve(parameters: tuple[float, ...]) -> None:
    units, middle = np.array([1.0, 2.0, 4.0, 9.0]), np.array(parameters)
    steps = 1e-6 * np.eye(4)
    expected = [(_curve(middle + step, units) - _curve(middle - step, units)) / 2e-6 for step in steps]
    np.testing.assert_allclose(_slopes(middle, units), np.stack(expected, axis=1), rtol=1e-6, atol=1e-8)
