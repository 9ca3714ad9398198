"""Sample values of any kind to 8 bits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["from_floats", "from_integers", "from_unsigned"]

_MAX_16_BIT = 65535


def from_unsigned(values: NDArray[Any], bits: int, *, is_color: bool = False) -> NDArray[np.uint8]:
    """Map the whole range of unsigned integers to 0..255.

    Parameters
    ----------
    values : ndarray of unsigned integers
        In ``[0, 2^bits - 1]``.
    bits : int
        1 to 16.
    is_color : bool, default False
        Whether more than 8 bits are cut to the highest 8, as it is usual in colour, instead of being rounded.

    Returns
    -------
    ndarray of uint8, of the same shape
        0 for 0, 255 for the highest value.
    """
    if bits == 8:
        return values.astype(np.uint8, copy=False)
    if is_color and bits > 8:
        high: NDArray[np.uint8] = (values >> (bits - 8)).astype(np.uint8)
        return high
    highest = 2**bits - 1
    scaled: NDArray[np.uint8] = ((values.astype(np.uint32) * 510 + highest) // (2 * highest)).astype(np.uint8)
    return scaled


def from_integers(values: NDArray[Any], *, is_color: bool = False) -> NDArray[np.uint8]:
    """Map integers whose range says nothing about black and white.

    Parameters
    ----------
    values : ndarray of integers
        Of any size.
    is_color : bool, default False
        As for `from_unsigned`.

    Returns
    -------
    ndarray of uint8, of the same shape
        More than 8 bits: 0..65535, where that holds all values, to 0..255. Otherwise by the rule of `from_floats`.
    """
    if values.dtype.itemsize > 1 and values.min() >= 0 and values.max() <= _MAX_16_BIT:
        return from_unsigned(values.astype(np.uint32), 16, is_color=is_color)
    return from_floats(values.astype(np.float64))


def from_floats(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Map 0..1 or 0..255, whichever first holds all values, else their own range; what is not finite becomes black.

    Parameters
    ----------
    values : ndarray of float64
        Anything.

    Returns
    -------
    ndarray of uint8, of the same shape
        In ``[0, 255]``, ascending with the value.
    """
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 1.0)
    if low >= 0 and high <= 255:
        low, high = 0.0, 1.0 if high <= 1 else 255.0
    share: NDArray[np.float64] = (np.where(finite, values, low) - low) / ((high - low) or 1.0)
    return np.rint(share * 255).astype(np.uint8)
