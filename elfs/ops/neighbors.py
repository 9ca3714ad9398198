"""Exact nearest neighbours by cosine, in bounded memory.

An engine (FAISS, or blocked matrix products in torch) proposes a few more candidates than asked for, in float32. Their
cosines are then computed again in float64 and rounded to float32, and those decide: so the result depends on neither
the engine, the device nor the size of the blocks. Where the last candidates are too close to call, the row is compared
with all others in float64. Shape suffixes: N rows, B rows of a block, M candidates, K neighbours, D dimensions.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elfs.ops._engine import Engine, resolved_engine

__all__ = ["Embeddings", "cosine_neighbors"]

Embeddings = Tensor | np.ndarray[Any, np.dtype[Any]]

_Search = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""From unit queries [B, D] float32 and a number M to cosines [B, M] float32, falling, and rows [B, M] int64."""

# Candidates beyond the neighbours asked for: the row itself, and some so that the last ones are rarely a draw.
_NUM_SPARE = 17
# Elements gathered at a time for the exact cosines: 4 MiB of float64, which stay in the cache.
_GATHERED_ELEMENTS = 2**19
_LOW_BITS = 2**32 - 1


class _Database:
    """Embeddings wherever they are, read in pieces as float64 rows of length 1 (or 0) on the device."""

    def __init__(self, embeddings: Embeddings, device: torch.device, block_rows: int) -> None:
        self.embeddings = embeddings
        self.device = device
        self.block_rows = block_rows
        self.num_rows: int = embeddings.shape[0]
        self.dim: int = embeddings.shape[1]
        norms = [torch.linalg.vector_norm(self.raw(slice(*block)), dim=1) for block in self.blocks()]
        norm_N = torch.cat(norms)
        if not bool(norm_N.isfinite().all()):
            row = int(norm_N.isfinite().logical_not().nonzero()[0])
            raise ValueError(f"embeddings are not finite: row {row:,} holds a NaN or an infinity.")
        self.scale_N1 = torch.where(norm_N > 0, 1 / norm_N, 0.0).unsqueeze(1)

    def blocks(self) -> Iterator[tuple[int, int]]:
        for start in range(0, self.num_rows, self.block_rows):
            yield start, min(start + self.block_rows, self.num_rows)

    def raw(self, rows: slice | Tensor) -> Tensor:
        if isinstance(self.embeddings, Tensor):
            picked = self.embeddings[rows if isinstance(rows, slice) else rows.to(self.embeddings.device)]
        else:
            picked = torch.from_numpy(
                np.array(self.embeddings[rows if isinstance(rows, slice) else rows.cpu().numpy()])
            )
        return picked.to(self.device).double()

    def block(self, start: int, stop: int) -> Tensor:
        return self.raw(slice(start, stop)) * self.scale_N1[start:stop]

    def take(self, rows: Tensor) -> Tensor:
        return self.raw(rows) * self.scale_N1[rows]


def _torch_search(database: _Database) -> _Search:
    def search(query_BD: Tensor, num: int) -> tuple[Tensor, Tensor]:
        best_BM = torch.empty(len(query_BD), 0, device=database.device)
        rows_BM = torch.empty(len(query_BD), 0, dtype=torch.int64, device=database.device)
        for start, stop in database.blocks():
            top = (query_BD @ database.block(start, stop).float().T).topk(min(num, stop - start), dim=1)
            best_BM, picked = torch.cat([best_BM, top.values], dim=1).sort(dim=1, descending=True)
            rows_BM = torch.cat([rows_BM, top.indices + start], dim=1).gather(1, picked)[:, :num]
            best_BM = best_BM[:, :num]
        return best_BM, rows_BM

    return search


def _faiss_search(database: _Database) -> _Search:
    import faiss

    index = faiss.IndexFlatIP(database.dim)
    for start, stop in database.blocks():
        index.add(database.block(start, stop).float().cpu().numpy())

    def search(query_BD: Tensor, num: int) -> tuple[Tensor, Tensor]:
        best, rows = index.search(query_BD.cpu().numpy(), num)
        return torch.from_numpy(best).to(database.device), torch.from_numpy(rows).to(database.device)

    return search


def _rank_key(cosine: Tensor, rows: Tensor) -> Tensor:
    """Return int64 numbers in whose falling order cosines (float32) fall, and rows rise where cosines are equal."""
    bits = (cosine + 0.0).view(torch.int32)  # + 0.0: no negative zero
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    return (ordered << 32) | (_LOW_BITS - rows)


def _from_rank_key(key: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosines (float32) and rows (int64) that ``_rank_key`` packed."""
    ordered = (key >> 32).to(torch.int32)
    bits = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered)
    return bits.view(torch.float32), _LOW_BITS - (key & _LOW_BITS)


def _exact_cosines(database: _Database, queries_B: Tensor, rows_BM: Tensor) -> Tensor:
    """Return the cosines of queries and their candidates, computed in float64, rounded to float32."""
    num_at_once = max(1, _GATHERED_ELEMENTS // (rows_BM.shape[1] * database.dim))
    parts = [
        torch.bmm(database.raw(rows.flatten()).view(*rows.shape, -1), database.take(queries).unsqueeze(2)).squeeze(2)
        * database.scale_N1[rows].squeeze(2)
        for queries, rows in zip(torch.split(queries_B, num_at_once), torch.split(rows_BM, num_at_once), strict=True)
    ]
    return torch.cat(parts).float()


def _exhaustive_keys(database: _Database, queries_B: Tensor, k: int) -> Tensor:
    """Return the rank keys of the k nearest of all rows, without the proposals of an engine."""
    unit_BD = database.take(queries_B)
    best_BK = torch.empty(len(queries_B), 0, dtype=torch.int64, device=database.device)
    for start, stop in database.blocks():
        rows = torch.arange(start, stop, device=database.device)
        key_BB = _rank_key((unit_BD @ database.block(start, stop).T).float(), rows)
        key_BB[queries_B.unsqueeze(1) == rows] = torch.iinfo(torch.int64).min
        best_BK = torch.cat([best_BK, key_BB], dim=1)
        best_BK = best_BK.topk(min(k, best_BK.shape[1]), dim=1).values
    return best_BK


def _block_neighbors(database: _Database, search: _Search, block: tuple[int, int], k: int) -> tuple[Tensor, Tensor]:
    """Return cosines and rows of the k nearest neighbours of the rows of one block."""
    num_candidates = min(database.num_rows, k + _NUM_SPARE)
    fast_BM, rows_BM = search(database.block(*block).float(), num_candidates)
    queries_B = torch.arange(*block, device=database.device)
    exact_BM = _exact_cosines(database, queries_B, rows_BM)
    key_BM = _rank_key(exact_BM, rows_BM)
    key_BM[rows_BM == queries_B.unsqueeze(1)] = torch.iinfo(torch.int64).min
    best_BK = key_BM.topk(k, dim=1).values
    if num_candidates < database.num_rows:
        # A row that is no candidate is at most as near as the last candidate, give or take the engine's rounding: the
        # float32 bound for unit vectors, or what is seen here (reduced-precision products may exceed the bound).
        rounding = (2 * (fast_BM - exact_BM).abs().amax()).clamp_min(database.dim * 2.0**-23)
        kth_B = _from_rank_key(best_BK[:, -1])[0]
        unsure_B = (kth_B <= fast_BM[:, -1] + rounding).nonzero().squeeze(1)
        for unsure in torch.split(unsure_B, max(1, database.block_rows // 8)):
            best_BK[unsure] = _exhaustive_keys(database, queries_B[unsure], k)
    return _from_rank_key(best_BK)


def cosine_neighbors(
    embeddings: Embeddings, k: int, *, device: torch.device | str, engine: Engine = "auto", block_rows: int = 4096
) -> tuple[Tensor, Tensor]:
    """Return the exact k nearest neighbours of every row by cosine, the row itself left out.

    Parameters
    ----------
    embeddings : Tensor or ndarray of shape (n_rows, n_dims), floating
        Not normalised, on any device or memory-mapped; read block by block. A row of zeros has cosine 0 with every row.
    k : int
        Number of neighbours, in ``[1, n_rows - 1]``.
    device : torch.device or str
        Where to compute.
    engine : {"auto", "faiss", "torch"}, default "auto"
        What proposes candidates: a FAISS flat index on the CPU, which holds a float32 copy of all embeddings, or
        blocked matrix products on `device`. ``auto``: FAISS where `device` is a CPU and FAISS is installed. The result
        is the same.
    block_rows : int, default 4096
        Rows compared with as many others at a time; temporary memory on `device` is about ``8 * block_rows ** 2``
        bytes.

    Returns
    -------
    indices : Tensor of shape (n_rows, k), int32, or int64 from 2**31 rows on
        Row numbers on the CPU, most similar first, lower row first where cosines are equal; exact copies of a row are
        neighbours like any other.
    similarity : Tensor of shape (n_rows, k), float32
        Their cosines in [-1, 1] on the CPU, higher = more similar: float64 results rounded to float32.

    Raises
    ------
    ValueError
        If `embeddings` is not 2-D or holds a NaN or an infinity, `k` is out of range, or the engine is unknown.

    Notes
    -----
    Unlike the reference [1]_, whose mask above 80,000 rows hides columns 0 to 63 instead of the row itself.

    References
    ----------
    .. [1] github.com/eltsai/elfs@089444b, ``gen_embeds.py`` (MIT).
    """
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings have the shape {tuple(embeddings.shape)}, expected (n_rows, n_dims).")
    if not 1 <= k < len(embeddings):
        raise ValueError(f"k is {k}, expected 1 to {len(embeddings) - 1} for {len(embeddings)} rows.")
    device = torch.device(device)
    make_search = _faiss_search if resolved_engine(engine, device) == "faiss" else _torch_search
    database = _Database(embeddings, device, block_rows)
    search = make_search(database)
    indices_NK = torch.empty(database.num_rows, k, dtype=torch.int32 if database.num_rows < 2**31 else torch.int64)
    similarity_NK = torch.empty(database.num_rows, k, dtype=torch.float32)
    for block in database.blocks():
        cosine, rows = _block_neighbors(database, search, block, k)
        similarity_NK[slice(*block)] = cosine.cpu()
        indices_NK[slice(*block)] = rows.cpu().to(indices_NK.dtype)
    return indices_NK, similarity_NK
