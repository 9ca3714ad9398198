"""How accuracy grows with annotations, from what a few numbers of them have brought."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares

__all__ = ["LEAST_POINTS", "Gain", "LearningCurve", "expected_gain", "fit_learning_curve"]

LEAST_POINTS = 4
"""As many as the curve has parameters: fewer cannot tell."""

_NUM_DRAWS = 200
_QUANTILES = (0.05, 0.95)
_START = (0.9, 0.5, 0.1, 0.5)
_LOWEST, _HIGHEST = (1e-3, 1e-4, 0.0, 0.05), (1.0, 1 - 1e-4, 5.0, 2.0)


class LearningCurve(NamedTuple):
    """``A(B) = ceiling (1 - (1 - slope)^((B / unit + offset)^power))``.

    Attributes
    ----------
    ceiling : float
        Accuracy that is approached, in (0, 1].
    slope : float
        Share of the way that the first unit goes, in (0, 1).
    offset : float
        What is known without annotations, in units, at least 0.
    power : float
        Above 0; below 1 the way grows slower and slower.
    unit : float
        Annotations of one unit.
    """

    ceiling: float
    slope: float
    offset: float
    power: float
    unit: float

    def accuracy(self, num_annotations: float) -> float:
        """Return the accuracy that is expected of some annotations.

        Parameters
        ----------
        num_annotations : float
            At least 0.

        Returns
        -------
        float
            In [0, 1], higher = better.
        """
        parameters = np.array(self[:4])
        return float(_curve(parameters, np.array([num_annotations / self.unit]))[0])


class Gain(NamedTuple):
    """What more annotations are expected to bring, in accuracy.

    Attributes
    ----------
    estimate : float
        Of the curve that fits best, at least 0.
    low, high : float
        Nine of ten curves that fit as well lie between, at least 0.
    """

    estimate: float
    low: float
    high: float


def fit_learning_curve(
    annotations: Sequence[int], accuracies: Sequence[float], errors: Sequence[float]
) -> LearningCurve | None:
    """Fit the curve to what some numbers of annotations have brought.

    Parameters
    ----------
    annotations : sequence of int
        Numbers of annotations, each at least 1.
    accuracies : sequence of float
        What each brought, in [0, 1].
    errors : sequence of float
        Standard error of each, above 0; what is known better counts more.

    Returns
    -------
    LearningCurve or None
        By weighted least squares; None where there are fewer than four different numbers of annotations.

    Raises
    ------
    ValueError
        If the three differ in length, or a number is outside its range.

    References
    ----------
    .. [1] PALM, ICCV 2025, https://arxiv.org/abs/2507.15381, the curve.
    """
    if not len(annotations) == len(accuracies) == len(errors):
        raise ValueError(
            f"{len(annotations)} numbers, {len(accuracies)} accuracies, {len(errors)} errors: expected equal."
        )
    counts, values, sigma = np.array(annotations, float), np.array(accuracies, float), np.array(errors, float)
    if len(set(annotations)) < LEAST_POINTS:
        return None
    if counts.min() < 1 or sigma.min() <= 0 or values.min() < 0 or values.max() > 1:
        raise ValueError("expected at least 1 annotation, accuracies in [0, 1] and errors above 0 at every point.")
    unit = float(counts.min())
    ceiling, slope, offset, power = _fitted(counts / unit, values, sigma, _START).tolist()
    return LearningCurve(ceiling, slope, offset, power, unit)


def expected_gain(
    annotations: Sequence[int],
    accuracies: Sequence[float],
    errors: Sequence[float],
    more: int,
    generator: torch.Generator,
    now: int | None = None,
) -> Gain | None:
    """Return what more annotations are expected to bring.

    Parameters
    ----------
    annotations, accuracies, errors : sequence of int, of float, of float
        As `fit_learning_curve` takes them.
    more : int
        Annotations that are thought of, at least 1.
    generator : torch.Generator
        Of the draws, on the CPU.
    now : int or None
        Annotations that there are already; None: as many as the largest number that was tried.

    Returns
    -------
    Gain or None
        None where `fit_learning_curve` cannot tell.

    Raises
    ------
    ValueError
        As `fit_learning_curve`.

    Notes
    -----
    The interval: 200 times every accuracy is drawn anew by its standard error and the curve is fitted to the drawn
    ones (parametric bootstrap). The curve never falls, so a gain is never below 0.
    """
    curve = fit_learning_curve(annotations, accuracies, errors)
    if curve is None:
        return None
    counts, values, sigma = np.array(annotations, float), np.array(accuracies, float), np.array(errors, float)
    held = float(counts.max()) if now is None else now
    ends = np.array([held, held + more]) / curve.unit
    noise = torch.randn(_NUM_DRAWS, len(counts), generator=generator, dtype=torch.float64).numpy()
    gains = []
    for draw in noise:
        drawn = np.clip(values + sigma * draw, 0.0, 1.0)
        before, after = _curve(_fitted(counts / curve.unit, drawn, sigma, curve[:4]), ends)
        gains.append(after - before)
    before, after = _curve(np.array(curve[:4]), ends)
    low, high = np.quantile(gains, _QUANTILES)
    return Gain(float(after - before), float(min(low, after - before)), float(max(high, after - before)))


def _curve(parameters: NDArray[np.float64], units: NDArray[np.float64]) -> NDArray[np.float64]:
    ceiling, slope, offset, power = parameters
    return np.asarray(ceiling * (1 - (1 - slope) ** ((units + offset) ** power)))


def _slopes(parameters: NDArray[np.float64], units: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the derivatives of `_curve` by each parameter, a column each."""
    ceiling, slope, offset, power = parameters
    known, left = units + offset, 1 - slope
    missing = left ** (known**power)
    by_exponent = -ceiling * missing * np.log(left)
    by_slope = ceiling * missing * known**power / left
    by_offset = by_exponent * power * known ** (power - 1)
    return np.stack([1 - missing, by_slope, by_offset, by_exponent * known**power * np.log(known)], axis=1)


def _fitted(
    units: NDArray[np.float64], values: NDArray[np.float64], sigma: NDArray[np.float64], start: Sequence[float]
) -> NDArray[np.float64]:
    def residuals(parameters: NDArray[np.float64]) -> Any:
        return (_curve(parameters, units) - values) / sigma

    def slopes(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        return _slopes(parameters, units) / sigma[:, None]

    inside = np.clip(start, np.array(_LOWEST) + 1e-6, np.array(_HIGHEST) - 1e-6)
    return np.asarray(least_squares(residuals, inside, slopes, bounds=(_LOWEST, _HIGHEST), max_nfev=200).x)
