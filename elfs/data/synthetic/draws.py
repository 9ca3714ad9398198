"""Random numbers that are the same on every machine, with every numpy: made from the raw bits of PCG64 alone.

Numpy keeps the bits of a bit generator for good; how its ``Generator`` turns them into numbers may change.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Draws"]


class Draws:
    """A stream of random numbers.

    Parameters
    ----------
    *key : int
        What the stream belongs to, each at least 0: the pool's seed first, then its purpose.
    """

    __slots__ = ("_bits",)

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(list(key))

    def uniform(self, *shape: int) -> NDArray[np.float64]:
        """Draw numbers in ``[0, 1)``.

        Parameters
        ----------
        *shape : int
            Shape of the result.

        Returns
        -------
        ndarray of float64
            Multiples of ``2**-53``.
        """
        raw = self._bits.random_raw(int(np.prod(shape)))
        return (raw >> np.uint64(11)).reshape(shape).astype(np.float64) * 2.0**-53

    def order(self, count: int) -> NDArray[np.int64]:
        """Draw a permutation.

        Parameters
        ----------
        count : int
            Of how many.

        Returns
        -------
        ndarray of shape (count,), int64
            0 to ``count - 1`` in random order.
        """
        return np.argsort(self._bits.random_raw(count), kind="stable")

    def bytes(self, count: int) -> NDArray[np.uint8]:
        """Draw bytes.

        Parameters
        ----------
        count : int
            How many.

        Returns
        -------
        ndarray of shape (count,), uint8
            Uniform.
        """
        raw = self._bits.random_raw(-(-count // 8)).astype("<u8", copy=False)
        return raw.view(np.uint8)[:count]
