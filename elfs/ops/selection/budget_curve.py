"""What a curve of coverage over budgets says."""

import itertools
from collections.abc import Sequence

__all__ = ["bend", "equal_budget"]


def _check(budgets: Sequence[float], values: Sequence[float]) -> None:
    rising = all(first < second for first, second in itertools.pairwise(budgets))
    if not budgets or len(budgets) != len(values) or not rising:
        raise ValueError(
            f"there are {len(budgets)} budgets and {len(values)} values, expected one value for each of some budgets "
            "in rising order."
        )


def bend(budgets: Sequence[float], values: Sequence[float]) -> int | None:
    """Return where a curve that rises less and less bends: beyond it, an image brings less than one does on average.

    Parameters
    ----------
    budgets : sequence of float
        Numbers of images, in rising order.
    values : sequence of float
        What each is worth, such as the coverage of the pool; higher = better.

    Returns
    -------
    int or None
        Position of the budget that is farthest above the straight line from the first point to the last, the first of
        equal ones. None where no point is above it, as with fewer than three.

    Raises
    ------
    ValueError
        If there is not one value for each budget, or the budgets do not rise.

    Notes
    -----
    The point that Kneedle [1]_ looks for, in a curve without noise.

    References
    ----------
    .. [1] Satopaa, Albrecht, Irwin and Raghavan, "Finding a 'Kneedle' in a Haystack", ICDCS Workshops 2011.

    Examples
    --------
    >>> bend([10, 20, 50, 100], [0.5, 0.8, 0.9, 1.0])
    1
    """
    _check(budgets, values)
    width, height = budgets[-1] - budgets[0], values[-1] - values[0]
    above = [
        (value - values[0]) * width - (budget - budgets[0]) * height
        for budget, value in zip(budgets, values, strict=True)
    ]
    highest = max(above)
    return above.index(highest) if highest > 0 and height > 0 else None


def equal_budget(value: float, budgets: Sequence[float], values: Sequence[float]) -> float | None:
    """Return the budget at which another curve reaches a value.

    Parameters
    ----------
    value : float
        What is to be reached.
    budgets : sequence of float
        Numbers of images, in rising order.
    values : sequence of float
        What each is worth on that curve.

    Returns
    -------
    float or None
        The first budget that is worth `value`, by straight lines between the points; the smallest one where that is
        worth it already, None where the largest is not.

    Raises
    ------
    ValueError
        As in `bend`.

    Examples
    --------
    >>> equal_budget(0.7, [10, 20], [0.6, 0.8])
    15.0
    """
    _check(budgets, values)
    if values[0] >= value:
        return budgets[0]
    for position in range(1, len(budgets)):
        if values[position] >= value:
            low, high = values[position - 1], values[position]
            share = (value - low) / (high - low)
            return budgets[position - 1] + share * (budgets[position] - budgets[position - 1])
    return None
