"""Embeddings wherever they are, read a block at a time as rows of length 1, the blocks handed round several processes.

Shape suffixes: N rows of the database, B rows of a block, D dimensions.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["SOLO", "Database", "Embeddings", "Ring", "RowReader", "Solo", "widened"]

# Of a block as float32: 64 MiB; more for a GPU, which is slow with few rows, or a number of them that is odd.
_BLOCK_BYTES = {"cpu": 1 << 26, "cuda": 1 << 28}
_LEAST_BLOCK_ROWS = 4096
_BLOCK_MULTIPLE = 64
_MOST_READ_BY_ALL = 4 << 30
# Elements that are float64 at a time: 1 MiB, which a core's cache holds; more for a GPU.
_WIDE_ELEMENTS = {"cpu": 1 << 17, "cuda": 1 << 27}


class RowReader(Protocol):
    """An array on disk in several files."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and dimensions."""

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return a copy of a run of rows."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of each number."""

    def take(self, rows: NDArray[np.int64], out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return copies of rows, in the order asked for, in an array that is given or a new one."""


Embeddings = Tensor | NDArray[Any] | RowReader
"""Of shape (n_rows, n_dims), floating, not normalised: on any device, memory-mapped, or in files."""


class Ring(Protocol):
    """Processes that pass tensors on in a circle, seen from one of them."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    def size(self) -> int:
        """How many there are."""

    def rotate(self, tensor: Tensor) -> Tensor:
        """Hand a tensor to the next process and return that of the one before."""


class Solo:
    """A ring of one process."""

    rank = 0
    size = 1

    def rotate(self, tensor: Tensor) -> Tensor:
        """Return the tensor."""
        return tensor


SOLO = Solo()
"""The only process."""


def widened(raw: Tensor, out: Tensor) -> Tensor:
    """Write numbers as float64.

    Parameters
    ----------
    raw : Tensor
        Of any floating dtype.
    out : Tensor, float64
        Of the same shape.

    Returns
    -------
    Tensor
        `out`.
    """
    # Half precision by way of float32: torch converts it to float64 one number at a time.
    return out.copy_(raw.float() if raw.dtype.itemsize == 2 else raw)


def _resident(embeddings: Embeddings, device: torch.device, num_used: int, ring: Ring) -> Embeddings:
    """Return embeddings on a GPU where they take at most a quarter of what is free there: many rows are read often.

    Each of several processes would read all of them, so there they are few: 4 GiB at most.
    """
    if device.type != "cuda" or isinstance(embeddings, Tensor) or 2 * num_used < embeddings.shape[0]:
        return embeddings
    shape, dtype = tuple(embeddings.shape), torch.from_numpy(np.empty(0, embeddings.dtype)).dtype
    most = torch.cuda.mem_get_info(device)[0] // 4
    if shape[0] * shape[1] * dtype.itemsize > (most if ring.size == 1 else min(most, _MOST_READ_BY_ALL)):
        return embeddings
    resident = torch.empty(shape, dtype=dtype, device=device)
    step = max(1, _BLOCK_BYTES["cuda"] // max(1, shape[1] * dtype.itemsize))
    for start in range(0, shape[0], step):
        stop = min(start + step, shape[0])
        block = np.array(embeddings[start:stop]) if isinstance(embeddings, np.ndarray) else embeddings.read(start, stop)
        resident[start:stop] = torch.from_numpy(block)
    return resident


class Database:
    """Embeddings that stay where they are, read in pieces; only their lengths are held.

    A GPU holds them all where most rows are used and they take at most a quarter of its free memory; of several
    processes each then reads all of them.

    Parameters
    ----------
    embeddings : Embeddings
        Of shape (n_rows, n_dims), of any length. A row of zeros stays one.
    device : torch.device or str
        Where what is read goes.
    rows : ndarray of shape (n_database,), int64, optional
        Rows of `embeddings` that form the database, ascending; None: all. A *position* is a place in this list.
    ring : Ring, optional
        Processes of which each reads a part of the lengths; all construct the same database at the same time.
    block_rows : int, optional
        Rows of a block; None: 64 MiB of float32, 256 MiB on a GPU, at least 4096 rows.

    Attributes
    ----------
    num_dims : int
        Dimensions.
    device : torch.device
        Where what is read goes.
    scale : Tensor of shape (n_database,), float64
        1 / length of each row, 0 for a row of zeros; on the device.

    Raises
    ------
    ValueError
        If `embeddings` is not 2-D, a row holds a NaN or an infinity, or `rows` do not rise.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        *,
        device: torch.device | str,
        rows: NDArray[np.int64] | None = None,
        ring: Ring = SOLO,
        block_rows: int | None = None,
    ) -> None:
        if len(embeddings.shape) != 2:
            raise ValueError(f"embeddings have the shape {tuple(embeddings.shape)}, expected (n_rows, n_dims).")
        if rows is not None and bool((np.diff(rows) <= 0).any()):
            raise ValueError("rows do not rise: expected each row once, in ascending order.")
        self.device = torch.device(device)
        self.num_dims = int(embeddings.shape[1])
        wanted = _BLOCK_BYTES[self.device.type] // (4 * max(1, self.num_dims)) // _BLOCK_MULTIPLE * _BLOCK_MULTIPLE
        self.block_rows = block_rows or max(_LEAST_BLOCK_ROWS, wanted)
        # The plain view of a memory map: each look at that itself costs more.
        plain = np.asarray(embeddings) if isinstance(embeddings, np.ndarray) else embeddings
        self._num_rows = int(embeddings.shape[0]) if rows is None else len(rows)
        self._embeddings = _resident(plain, self.device, self._num_rows, ring)
        self._rows = rows
        self._rows_placed: Tensor | None = None
        norm_N = torch.empty(self._num_rows, dtype=torch.float64, device=self.device)
        for start, stop, norms in self._handed_round(ring, self._norms):
            norm_N[start:stop] = norms
        if not bool(norm_N.isfinite().all()):
            position = int(norm_N.isfinite().logical_not().nonzero()[0])
            row = position if rows is None else int(rows[position])
            raise ValueError(f"embeddings are not finite: row {row:,} holds a NaN or an infinity.")
        self.scale = torch.where(norm_N > 0, 1 / norm_N, 0.0)

    def __len__(self) -> int:
        return self._num_rows

    def read(self, start: int, stop: int) -> Tensor:
        """Return a run of rows as they are.

        Parameters
        ----------
        start, stop : int
            First position and last position + 1.

        Returns
        -------
        Tensor of shape (stop - start, n_dims)
            A copy or a view, in the embeddings' own dtype, on the device.
        """
        first, last = start, stop
        if self._rows is not None and stop > start:
            first, last = int(self._rows[start]), int(self._rows[stop - 1]) + 1
            if last - first != stop - start:  # not one run of the array
                return self._take(self._rows[start:stop])
        if isinstance(self._embeddings, Tensor):
            return self._embeddings[first:last].to(self.device)
        if isinstance(self._embeddings, np.ndarray):
            return torch.from_numpy(np.array(self._embeddings[first:last])).to(self.device)
        return torch.from_numpy(self._embeddings.read(first, last)).to(self.device)

    def take(self, positions: Tensor) -> Tensor:
        """Return rows as they are.

        Parameters
        ----------
        positions : Tensor of shape (n_taken,), int64
            Any order, repeats allowed; on any device.

        Returns
        -------
        Tensor of shape (n_taken, n_dims)
            A copy, in the embeddings' own dtype, on the device.
        """
        if isinstance(self._embeddings, Tensor) and self._embeddings.device == self.device:
            return self._embeddings[self._row_numbers(positions)]
        return self._take(self._rows_at(positions))

    @property
    def is_outside(self) -> bool:
        """Whether rows are numpy's, in memory or on a disk, and used on the CPU."""
        return not isinstance(self._embeddings, Tensor) and self.device.type == "cpu"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of each number; of rows that are `is_outside`."""
        assert not isinstance(self._embeddings, Tensor)
        return self._embeddings.dtype

    def take_into(self, out: NDArray[Any], positions: NDArray[np.int64]) -> None:
        """Write rows as they are into an array; of rows that are `is_outside`.

        Parameters
        ----------
        out : ndarray of the shape of `positions`, and n_dims
            In the embeddings' own dtype, contiguous.
        positions : ndarray of any shape, int64
            Any order, repeats allowed.
        """
        rows = positions if self._rows is None else self._rows[positions]
        if isinstance(self._embeddings, np.ndarray):
            self._embeddings.take(rows, 0, out, "clip")  # any other mode makes a copy
        elif not isinstance(self._embeddings, Tensor):
            self._embeddings.take(rows.ravel(), out.reshape(-1, self.num_dims))

    def _row_numbers(self, positions: Tensor) -> Tensor:
        """Return rows of the embeddings where these are."""
        if self._rows is None:
            return positions.to(self.device)
        if self._rows_placed is None:
            self._rows_placed = torch.from_numpy(self._rows).to(self.device)
        return self._rows_placed[positions.to(self.device)]

    def _rows_at(self, positions: Tensor) -> NDArray[np.int64]:
        wanted = positions.cpu().numpy()
        return wanted if self._rows is None else self._rows[wanted]

    def _take(self, rows: NDArray[np.int64]) -> Tensor:
        if isinstance(self._embeddings, Tensor):
            return self._embeddings[torch.from_numpy(rows).to(self._embeddings.device)].to(self.device)
        if isinstance(self._embeddings, np.ndarray):
            return torch.from_numpy(np.take(self._embeddings, rows, axis=0)).to(self.device)
        return torch.from_numpy(self._embeddings.take(rows)).to(self.device)

    def unit_run(self, start: int, stop: int) -> Tensor:
        """Return a run of rows scaled to length 1.

        Parameters
        ----------
        start, stop : int
            First position and last position + 1.

        Returns
        -------
        Tensor of shape (stop - start, n_dims), float32
            Scaled in float64; on the device.
        """
        return self._unit(self.read(start, stop), self.scale[start:stop])

    def unit_rows(self, positions: Tensor) -> Tensor:
        """Return rows scaled to length 1.

        Parameters
        ----------
        positions : Tensor of shape (n_taken,), int64
            Any order, repeats allowed; on any device.

        Returns
        -------
        Tensor of shape (n_taken, n_dims), float32
            Scaled in float64; on the device.
        """
        return self._unit(self.take(positions), self.scale[positions.to(self.device)])

    def _unit(self, raw_BD: Tensor, scale_B: Tensor) -> Tensor:
        unit_BD = torch.empty(raw_BD.shape, dtype=torch.float32, device=self.device)
        for rows, wide_BD in self._widened_pieces(raw_BD):
            unit_BD[rows] = wide_BD.mul_(scale_B[rows].unsqueeze(1))
        return unit_BD

    def _norms(self, start: int, stop: int) -> Tensor:
        raw_BD = self.read(start, stop)
        norms = [torch.linalg.vector_norm(wide_BD, dim=1) for _, wide_BD in self._widened_pieces(raw_BD)]
        return torch.cat([*norms, torch.empty(0, dtype=torch.float64, device=self.device)])

    def _widened_pieces(self, raw_BD: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield a few rows at a time, and a copy of them in float64 that is written over by the next."""
        step = max(1, _WIDE_ELEMENTS[self.device.type] // max(1, self.num_dims))
        buffer = torch.empty(min(step, len(raw_BD)), self.num_dims, dtype=torch.float64, device=self.device)
        for start in range(0, len(raw_BD), step):
            rows = slice(start, min(start + step, len(raw_BD)))
            yield rows, widened(raw_BD[rows], out=buffer[: rows.stop - start])

    def unit_blocks(self, ring: Ring = SOLO) -> Iterator[tuple[int, int, Tensor]]:
        """Yield the whole database in blocks of unit rows, each read by one process and handed round.

        Parameters
        ----------
        ring : Ring, optional
            Processes that go through the same database at the same time, block by block.

        Yields
        ------
        tuple of (int, int, Tensor of shape (n_block, n_dims), float32)
            First position and last position + 1, and those rows, on the device. Each block once in every process, in
            an order of its own; some may be empty.
        """
        return self._handed_round(ring, self.unit_run)

    def _handed_round(self, ring: Ring, read: Callable[[int, int], Tensor]) -> Iterator[tuple[int, int, Tensor]]:
        num_rows = max(1, min(self.block_rows, -(-len(self) // ring.size)))
        ends = [min(end, len(self)) for end in range(0, len(self) + ring.size * num_rows, num_rows)]
        for first in range(0, -(-len(self) // num_rows), ring.size):
            block = read(*ends[first + ring.rank : first + ring.rank + 2])
            if ring.size > 1:  # all processes hand on equal shapes
                padding = block.new_zeros(num_rows - len(block), *block.shape[1:])
                block = torch.cat([block, padding])
            for step in range(ring.size):
                owner = first + (ring.rank - step) % ring.size
                start, stop = ends[owner : owner + 2]
                yield start, stop, block[: stop - start]
                if step + 1 < ring.size:
                    block = ring.rotate(block)
