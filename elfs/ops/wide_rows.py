"""Rows of a database as float64, a few at a time.

Shape suffixes: P rows, D dimensions.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.ops.database import Database, widened

__all__ = ["WideRows"]


class WideRows:
    """Takes rows as they are, as float64.

    On a CPU by way of buffers that are kept, so that they stay in its cache; their views are, too, since making one
    takes as long as copying a row.

    Parameters
    ----------
    database : Database
        Where the rows are.
    most : int
        Rows at a time.
    """

    def __init__(self, database: Database, most: int) -> None:
        self._database = database
        self._wide_PD = torch.empty(most, database.num_dims, dtype=torch.float64, device=database.device)
        self._views: dict[int, tuple[NDArray[Any], list[tuple[Tensor, Tensor]]]] = {}
        self._is_outside = database.is_outside
        if self._is_outside:
            self._raw_PD = np.empty((most, database.num_dims), dtype=database.dtype)
            self._single_PD = torch.empty(most, database.num_dims)

    def take(self, positions: Tensor) -> Tensor:
        """Return rows.

        Parameters
        ----------
        positions : Tensor of shape (n_taken,), int64
            Any order, repeats allowed; on the device of the database.

        Returns
        -------
        Tensor of shape (n_taken, n_dims), float64
            On the device; the next call writes over it.
        """
        num = positions.shape[0]
        if not self._is_outside:
            return widened(self._database.take(positions), out=self._wide_PD[:num])
        if num not in self._views:
            self._views[num] = self._made(num)
        raw, steps = self._views[num]
        self._database.take_into(raw, positions)
        for narrow, wider in steps:
            wider.copy_(narrow)
        return wider

    def _made(self, num: int) -> tuple[NDArray[Any], list[tuple[Tensor, Tensor]]]:
        """Return where so many rows are read to, and the copies that widen them; see `widened`."""
        raw = self._raw_PD[:num]
        buffers = [torch.from_numpy(raw), self._wide_PD[:num]]
        if raw.itemsize == 2:
            buffers.insert(1, self._single_PD[:num])
        return raw, list(pairwise(buffers))
