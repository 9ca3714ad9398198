"""Products of rows in float64, whatever they are stored as.

Shape suffixes: B queries, M candidates of each, D dimensions.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.ops.database import Database, widened

__all__ = ["wide_products"]

# Elements gathered at a time: 512 KiB of float64, which a core's cache holds; more for a GPU.
_GATHERED_ELEMENTS = {"cpu": 1 << 16, "cuda": 1 << 27}

_Wide = NDArray[np.float64]


def wide_products(database: Database, queries_B: Tensor, positions_BM: Tensor) -> Tensor:
    """Return the products of rows and candidates as they are, not scaled, computed in float64.

    Parameters
    ----------
    database : Database
        Whose rows.
    queries_B : Tensor of shape (n_queries,), int64
        Positions in the database, on its device.
    positions_BM : Tensor of shape (n_queries, n_candidates), int64
        Positions in the database, on its device. At the end of each row may stand -1, where nothing is computed.

    Returns
    -------
    Tensor of shape (n_queries, n_candidates), float64
        On the device; a number without meaning where there is no candidate. The last digits hang on the order in which
        a device adds.

    Notes
    -----
    On a CPU by numpy, since a call costs a fifth of what it costs in torch.
    """
    device = database.device
    product_BM = torch.zeros(positions_BM.shape, dtype=torch.float64, device=device)
    if product_BM.numel() == 0:
        return product_BM
    step = max(1, _GATHERED_ELEMENTS[device.type] // max(1, positions_BM.shape[1] * database.num_dims))
    num_B = (positions_BM >= 0).sum(dim=1)
    widths = [int(part.max()) for part in num_B.split(step)] if step > 1 else num_B.tolist()
    raw_BD = database.take(queries_B)
    query_BD = widened(raw_BD, out=torch.empty_like(raw_BD, dtype=torch.float64))
    multiply = _by_numpy if device.type == "cpu" else _by_torch
    multiply(database, positions_BM.clamp_min(0), query_BD, product_BM, step, widths)
    return product_BM


def _by_torch(
    database: Database, positions_BM: Tensor, query_BD: Tensor, product_BM: Tensor, step: int, widths: list[int]
) -> None:
    """Write products, of `step` queries at once, the first so many candidates of each."""
    for width, asked_BM, asking_BD, found_BM in zip(
        widths, *(values.split(step) for values in (positions_BM, query_BD, product_BM)), strict=True
    ):
        raw_BMD = database.take(asked_BM[:, :width].flatten()).view(len(asked_BM), width, database.num_dims)
        wide_BMD = widened(raw_BMD, out=torch.empty_like(raw_BMD, dtype=torch.float64))
        found_BM[:, :width] = torch.bmm(wide_BMD, asking_BD.unsqueeze(2)).squeeze(2)


def _by_numpy(
    database: Database, positions_BM: Tensor, query_BD: Tensor, product_BM: Tensor, step: int, widths: list[int]
) -> None:
    """Write what `_by_torch` does."""
    rows, position_BM = _WideRows(database, step * positions_BM.shape[1]), positions_BM.numpy()
    query_BD1, product_BM1 = query_BD.numpy()[:, :, None], product_BM.numpy()[:, :, None]
    for start, width in zip(range(0, len(position_BM), step), widths, strict=True):
        block = slice(start, start + step)
        np.matmul(rows.take(position_BM[block, :width]), query_BD1[block], out=product_BM1[block, :width])


class _WideRows:
    """Takes rows as float64 by way of buffers that are kept, so that they stay in a core's cache.

    Their views are kept too, since making one takes as long as copying a row.

    Parameters
    ----------
    database : Database
        Where the rows are, on a CPU.
    most : int
        Rows at a time.
    """

    def __init__(self, database: Database, most: int) -> None:
        self._database = database
        self._wide = torch.empty(most, database.num_dims, dtype=torch.float64, device=database.device)
        self._views: dict[tuple[int, ...], tuple[NDArray[Any], list[tuple[Tensor, Tensor]], _Wide]] = {}
        if database.is_outside:
            self._raw = np.empty((most, database.num_dims), dtype=database.dtype)
            self._single = torch.empty(most, database.num_dims, device=database.device)

    def take(self, positions_BM: NDArray[np.int64]) -> _Wide:
        """Return rows [B, M, D]; the next call writes over them."""
        if not self._database.is_outside:
            raw = self._database.take(torch.from_numpy(positions_BM.ravel()))
            return (
                widened(raw, out=self._wide[: len(raw)]).numpy().reshape(*positions_BM.shape, self._database.num_dims)
            )
        if positions_BM.shape not in self._views:
            self._views[positions_BM.shape] = self._made(positions_BM.shape)
        raw_BMD, steps, wide_BMD = self._views[positions_BM.shape]
        self._database.take_into(raw_BMD, positions_BM)
        for narrow, wider in steps:
            wider.copy_(narrow)
        return wide_BMD

    def _made(self, shape: tuple[int, ...]) -> tuple[NDArray[Any], list[tuple[Tensor, Tensor]], _Wide]:
        """Return where rows are read to, the copies that widen them, see `widened`, and where these go."""
        num = shape[0] * shape[1]
        buffers = [torch.from_numpy(self._raw[:num]), self._wide[:num]]
        if self._raw.itemsize == 2:
            buffers.insert(1, self._single[:num])
        raw, wide = (buffer.numpy().reshape(*shape, self._database.num_dims) for buffer in (buffers[0], buffers[-1]))
        return raw, list(pairwise(buffers)), wide
