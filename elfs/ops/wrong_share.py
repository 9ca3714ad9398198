"""How many of many are wrong, from a few that were checked."""

from math import sqrt
from typing import NamedTuple

__all__ = ["WrongShare", "wrong_share"]

_DEVIATIONS = 1.959964
"""Of a normal distribution: 95 % lie within."""


class WrongShare(NamedTuple):
    """An estimate and the interval that holds the true share in 95 of 100 such checks.

    Attributes
    ----------
    estimate : float
        Share of those checked that are wrong, in [0, 1], lower = better.
    low, high : float
        Ends of the interval, in [0, 1].
    """

    estimate: float
    low: float
    high: float


def wrong_share(num_wrong: int, num_checked: int) -> WrongShare:
    """Estimate the share of wrong ones in a population from a random sample of it.

    Parameters
    ----------
    num_wrong : int
        Wrong ones of the sample, from 0 to `num_checked`.
    num_checked : int
        Size of the sample, at least 1.

    Returns
    -------
    WrongShare
        Estimate and Wilson's 95 % interval, which stays inside [0, 1] and is no point where none is wrong.

    Raises
    ------
    ValueError
        If the numbers are outside their ranges.

    References
    ----------
    .. [1] Wilson, Journal of the American Statistical Association 22 (158), 1927.

    Examples
    --------
    >>> wrong_share(0, 20).high < 0.17
    True
    """
    if num_checked < 1 or not 0 <= num_wrong <= num_checked:
        raise ValueError(f"{num_wrong} of {num_checked} are wrong, expected 0 to all of at least 1.")
    share, squared = num_wrong / num_checked, _DEVIATIONS**2
    scale = 1 + squared / num_checked
    centre = (share + squared / (2 * num_checked)) / scale
    spread = share * (1 - share) / num_checked + squared / (4 * num_checked**2)
    reach = _DEVIATIONS * sqrt(spread) / scale
    return WrongShare(share, max(0.0, centre - reach), min(1.0, centre + reach))
