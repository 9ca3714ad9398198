"""Rows of the embeddings as network inputs: in memory where they fit, else read as needed.

Shapes: M rows of the pool, D dimensions, B rows of a batch.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.data.batch_part import WHOLE, BatchPart
from elfs.data.loaders import nearly_equal

__all__ = ["EmbeddingRows", "Features", "centring", "standardization"]

_IN_MEMORY_BYTES = 4 << 30
_BLOCK_ROWS = 65_536


class EmbeddingRows(Protocol):
    """An array on disk: ``numpy.memmap``, or several of them end to end."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and dimensions."""

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """Return copies of the rows, in the order asked for."""


def standardization(embeddings: EmbeddingRows, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return what brings every feature to mean 0 and standard deviation 1.

    Parameters
    ----------
    embeddings : EmbeddingRows
        Of shape (n_rows, n_dims).
    rows : ndarray of shape (n_pool,), int64
        Rows that count.

    Returns
    -------
    tuple of Tensor, each of shape (n_dims,), float32
        Mean and inverse standard deviation (1 where a feature is constant), accumulated in float64 over blocks.
    """
    mean, variance = _moments(embeddings, rows)
    deviation = np.sqrt(variance)
    inverse = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 1.0)
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(inverse.astype(np.float32))


def centring(embeddings: EmbeddingRows, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return what brings the features to mean 0 and a mean variance of 1, each as large beside the others as it was.

    A classifier that few images teach needs that: an encoder's features fall in importance, and to bring the last to
    the size of the first gives it noise (measured in docs/rounds.md).

    Parameters
    ----------
    embeddings : EmbeddingRows
        Of shape (n_rows, n_dims).
    rows : ndarray of shape (n_pool,), int64
        Rows that count.

    Returns
    -------
    tuple of Tensor, each of shape (n_dims,), float32
        Mean, and the inverse of one deviation (1 where all rows are equal).
    """
    mean, variance = _moments(embeddings, rows)
    deviation = float(np.sqrt(variance.mean()))
    inverse = np.full(len(mean), 1 / deviation if deviation > 1e-6 else 1.0, np.float32)
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(inverse)


def _moments(embeddings: EmbeddingRows, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance of each feature, accumulated in float64 over blocks."""
    num_dims = embeddings.shape[1]
    total, squares = np.zeros(num_dims), np.zeros(num_dims)
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = _take(embeddings, rows[start : start + _BLOCK_ROWS]).astype(np.float64)
        total += block.sum(axis=0)
        squares += np.square(block).sum(axis=0)
    mean: NDArray[np.float64] = total / len(rows)
    return mean, np.maximum(squares / len(rows) - np.square(mean), 0)


def _take(embeddings: EmbeddingRows, rows: NDArray[np.int64]) -> NDArray[np.floating]:
    if isinstance(embeddings, np.ndarray):
        return np.asarray(embeddings[rows])
    return embeddings.take(rows)


def _most_bytes(device: torch.device) -> int:
    """Return how much memory the rows of a pool may take."""
    return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _IN_MEMORY_BYTES


class Features:
    """The pool's embeddings by position, shifted and scaled, on a device.

    Parameters
    ----------
    embeddings : EmbeddingRows
        Of shape (n_rows, n_dims), float16 or float32.
    rows : ndarray of shape (n_pool,), int64
        Row of each position.
    device : torch.device
        Where batches are delivered.
    in_memory : bool, default True
        Whether to keep the rows on the device, as float32, if they take at most 4 GiB of the CPU's memory or half of
        what is free of a GPU's; else they are read as needed.
    mean, inverse_deviation : Tensor of shape (n_dims,), float32, optional
        Subtracted and multiplied; None leaves the embeddings as they are.
    """

    def __init__(
        self,
        embeddings: EmbeddingRows,
        rows: NDArray[np.int64],
        device: torch.device,
        *,
        in_memory: bool = True,
        mean: Tensor | None = None,
        inverse_deviation: Tensor | None = None,
    ) -> None:
        self.dim = embeddings.shape[1]
        self.device = device
        self._embeddings, self._rows = embeddings, rows
        self._mean = None if mean is None else mean.to(device)
        self._scale = None if inverse_deviation is None else inverse_deviation.to(device)
        self._cache: Tensor | None = None
        if in_memory and len(rows) * self.dim * 4 <= _most_bytes(device):
            self._cache = torch.empty(len(rows), self.dim, device=device)
            for start in range(0, len(rows), _BLOCK_ROWS):  # else all of them are on the host at once
                self._cache[start : start + _BLOCK_ROWS] = self._read(rows[start : start + _BLOCK_ROWS])

    @property
    def index_device(self) -> torch.device:
        """Where `take` uses positions; from elsewhere they are copied, and a copy from a GPU waits for it."""
        return torch.device("cpu") if self._cache is None else self.device

    def __len__(self) -> int:
        return len(self._rows)

    def _read(self, rows: NDArray[np.int64]) -> Tensor:
        block = torch.from_numpy(_take(self._embeddings, rows)).to(self.device).to(torch.float32)
        if self._mean is not None and self._scale is not None:
            block.sub_(self._mean).mul_(self._scale)  # the block is a copy already
        return block

    def take(self, positions: Tensor) -> Tensor:
        """Return rows of the pool.

        Parameters
        ----------
        positions : Tensor of shape (n_batch,), int64
            On any device.

        Returns
        -------
        Tensor of shape (n_batch, n_dims), float32
            On the device of this object.
        """
        if self._cache is not None:
            return self._cache[positions.to(self.device)]
        return self._read(self._rows[positions.cpu().numpy()])

    def batches(
        self,
        order: Tensor,
        *,
        batch_size: int,
        augment: bool,
        generator: torch.Generator,
        device: torch.device,
        part: BatchPart = WHOLE,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield embeddings [b, D] as `TrainingImages` says; they know no augmentation."""
        placed = nearly_equal(order.to(self.index_device), batch_size)  # at once: a copy of each would wait for the GPU
        for batch, own in zip(nearly_equal(order, batch_size), placed, strict=True):
            yield part.cut(batch), self.take(part.padded(own)).to(device)
