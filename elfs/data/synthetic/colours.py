"""Colours of ground and ink, where they are not the plain ones: random ones, or those of the class.

A pair is an array of shape (2, 3): ground and ink, each RGB in ``[0, 1]``.
"""

import numpy as np
from numpy.typing import NDArray

from elfs.data.synthetic.draws import Draws

__all__ = ["class_pairs", "random_pair", "varied"]

_COLOUR = 9
"""Purpose of the streams of random numbers that make the classes' colours."""
_TRIALS = 3
"""Pairs of which a random one is the best."""
_CANDIDATES = 6
_VARIATION = 0.2
"""Range in which each channel of an image's colours differs from those of its class."""

Array = NDArray[np.float64]


def random_pair(draws: Draws) -> Array:
    """Draw two colours: of three random pairs the one whose brightness differs most.

    Parameters
    ----------
    draws : Draws
        Where they come from.

    Returns
    -------
    ndarray of shape (2, 3), float64
        Ground and ink; either may be the brighter one.
    """
    pairs = draws.uniform(_TRIALS, 2, 3)
    brightness = pairs[..., 0] + pairs[..., 1] + pairs[..., 2]
    chosen: Array = pairs[np.argmax(np.abs(brightness[:, 0] - brightness[:, 1]))]
    return chosen


def class_pairs(seed: int, num_classes: int) -> Array:
    """Draw the colours of every class: of six random pairs the one that is least like those of the classes before.

    Parameters
    ----------
    seed : int
        The pool's.
    num_classes : int
        How many.

    Returns
    -------
    ndarray of shape (num_classes, 2, 3), float64
        Ground and ink of each.
    """
    found = np.empty((num_classes, 2, 3))
    for number in range(num_classes):
        draws = Draws(seed, _COLOUR, number)
        candidates = np.stack([random_pair(draws) for _ in range(_CANDIDATES)])
        differences = (candidates[:, None] - found[:number]).reshape(_CANDIDATES, number, 6)
        distances = np.min(sum(differences[..., i] ** 2 for i in range(6)), axis=1, initial=6.0)
        found[number] = candidates[np.argmax(distances)]
    return found


def varied(pair: Array, draws: Draws) -> Array:
    """Return colours of one image of a class.

    Parameters
    ----------
    pair : ndarray of shape (2, 3), float64
        Those of the class.
    draws : Draws
        Where the difference comes from.

    Returns
    -------
    ndarray of shape (2, 3), float64
        Each channel up to 0.1 away, within ``[0, 1]``.
    """
    return np.clip(pair + (draws.uniform(2, 3) - 0.5) * _VARIATION, 0.0, 1.0)
