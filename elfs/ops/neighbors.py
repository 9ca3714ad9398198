"""Exact nearest neighbours by cosine, in bounded memory, by one process or several.

Products in float32 propose a few more candidates than asked for. Their cosines are then computed again in float64 and
rounded to float32, and those decide: so the result depends on neither the device, the size of the blocks nor the number
of processes. Where the last candidates are too close to call, all rows that may be as near are found and compared. A
GPU multiplies in half precision, whose errors are taken to be at most twice the largest that is seen among the
candidates of 1,024 rows: that held wherever it was measured, and is not proven.

Shape suffixes: N rows of the database, Q queries, B rows of a block, P pairs of rows, M candidates, K neighbours,
D dimensions.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.ops.database import SOLO, Database, Embeddings, Ring
from elfs.ops.neighbor_candidates import candidates_among_all, candidates_of_all, rows_reaching
from elfs.ops.wide_products import wide_products

__all__ = ["NUM_SPARE", "Advance", "cosine_neighbors", "exact_neighbors", "ignore", "queries_at_once", "reranked"]

Advance = Callable[[float], None]
"""Takes the share of the work that was done since the last call; the shares add up to 1."""

NUM_SPARE = 17
"""Candidates beyond the neighbours asked for: the row itself, and some so that the last ones are rarely a draw."""

_QUERY_BYTES = 1 << 29
_MOST_QUERIES = 65_536
_RANKED_ROWS = 1024
_UNSURE_ROWS = {"cpu": 1024, "cuda": 16_384}
_MOST_REACHING = 1024
_EXHAUSTIVE_ROWS = 1024
_EXHAUSTIVE_COLUMNS = 8192
_LOW_BITS = 2**32 - 1
_LAST = torch.iinfo(torch.int64).min


def ignore(progress: float) -> None:
    """Take what nobody watches."""


def queries_at_once(num_dims: int, k: int) -> int:
    """Return how many queries to ask in one pass over the database.

    Parameters
    ----------
    num_dims : int
        Dimensions of the embeddings.
    k : int
        Neighbours of each query.

    Returns
    -------
    int
        At most 65,536: enough that the work of reading the database is a small part; what is held of them is at most
        about 512 MiB.
    """
    num_bytes = 4 * num_dims + 48 * (k + NUM_SPARE)  # the unit row; candidates, twice while they are merged
    return max(1, min(_MOST_QUERIES, _QUERY_BYTES // num_bytes))


def _rank_key(cosine: Tensor, positions: Tensor) -> Tensor:
    """Return int64 numbers in whose falling order cosines (float32) fall, and positions rise where they are equal."""
    bits = (cosine + 0.0).view(torch.int32)  # + 0.0: no negative zero
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    return (ordered << 32) | (_LOW_BITS - positions)


def _from_rank_key(key: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positions (int64) and cosines (float32) that ``_rank_key`` packed."""
    ordered = (key >> 32).to(torch.int32)
    bits = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered)
    return _LOW_BITS - (key & _LOW_BITS), bits.view(torch.float32)


def _exact_cosines(database: Database, queries_B: Tensor, positions_BM: Tensor) -> Tensor:
    """Return the cosines of queries and their candidates, computed in float64, rounded to float32.

    Each is a product of two rows as they are, times both scales. A product whose rounding hangs on the order of its
    summands, which depends on the shapes, is computed again, one order for all. At the end of a row of candidates may
    stand -1, where nothing is computed.
    """
    scale_BM = database.scale[queries_B].unsqueeze(1) * database.scale[positions_BM.clamp_min(0)]
    scale_BM.masked_fill_(positions_BM < 0, 0.0)
    cosine_BM = wide_products(database, queries_B, positions_BM)
    cosine_BM *= scale_BM
    bound = (database.num_dims + 8) * 2.0**-52  # of the sums' error, for the rows have length 1
    in_doubt = ((cosine_BM - bound).float() != (cosine_BM + bound).float()) & (scale_BM > 0)
    for rows, columns in zip(*(part.split(_RANKED_ROWS) for part in in_doubt.nonzero(as_tuple=True)), strict=True):
        raw_PD = database.take(queries_B[rows]).double() * database.take(positions_BM[rows, columns]).double()
        cosine_BM[rows, columns] = raw_PD.sum(dim=1) * scale_BM[rows, columns]
    return cosine_BM.float()


def _float32_rounding(num_dims: int) -> float:
    """Return twice what float32 rounds a product of two unit vectors by, their own rounding included."""
    return (num_dims + 4) * 2.0**-23


def _near_enough(fast_BM: Tensor, positions_BM: Tensor, k: int, num_dims: int) -> Tensor:
    """Return the candidates of products in float32, -1 in place of those that cannot be among the k nearest.

    Of the first k + 1, one may be the query itself; what is below the last of them by more than both are rounded is
    below k others.
    """
    needed_BM = fast_BM >= fast_BM[:, k : k + 1] - _float32_rounding(num_dims)
    return positions_BM.masked_fill(~needed_BM, -1)


def _exhaustive_keys(database: Database, queries_B: Tensor, k: int, advance: Advance) -> Tensor:
    """Return the rank keys of the k nearest of all rows, without proposals."""
    raw_BD, scale_B1 = database.take(queries_B).double(), database.scale[queries_B].unsqueeze(1)
    best_BK = torch.empty(len(queries_B), 0, dtype=torch.int64, device=database.device)
    for start in range(0, len(database), _EXHAUSTIVE_COLUMNS):
        stop = min(start + _EXHAUSTIVE_COLUMNS, len(database))
        positions = torch.arange(start, stop, device=database.device)
        cosine_BB = (raw_BD @ database.read(start, stop).double().T) * (scale_B1 * database.scale[start:stop])
        key_BB = _rank_key(cosine_BB.float(), positions)
        key_BB[queries_B.unsqueeze(1) == positions] = _LAST
        best_BK = torch.cat([best_BK, key_BB], dim=1)
        best_BK = best_BK.topk(min(k, best_BK.shape[1]), dim=1).values
        advance(0.0)
    return best_BK


def _ranked(database: Database, queries_B: Tensor, positions_BM: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rank keys of candidates, the lowest for the query itself and for -1, and their cosines."""
    exact_BM = _exact_cosines(database, queries_B, positions_BM)
    key_BM = _rank_key(exact_BM, positions_BM)
    key_BM[(positions_BM < 0) | (positions_BM == queries_B.unsqueeze(1))] = _LAST
    return key_BM, exact_BM


def _rounding(fast_BM: Tensor, exact_BM: Tensor, positions_BM: Tensor) -> Tensor:
    """Return twice the largest error of the candidates' cosines."""
    return 2 * (fast_BM - exact_BM).masked_fill(positions_BM < 0, 0.0).abs().amax()


def _keys_among_all(database: Database, queries_B: Tensor, bound_B: Tensor, k: int, advance: Advance) -> Tensor:
    """Return the rank keys of the k nearest of all rows, whose rounded cosines reach a bound.

    Where very many reach it, as copies of a row do, all rows are compared in float64.
    """
    near_BM = rows_reaching(database, database.unit_rows(queries_B), bound_B, _MOST_REACHING + k, advance)
    best_BK = torch.full((len(queries_B), k), _LAST, device=database.device)
    num_B, order_B = (near_BM >= 0).sum(dim=1).sort()
    for places in torch.arange(len(queries_B)).split(_RANKED_ROWS):
        rows, most = order_B[places[0] : places[-1] + 1], int(num_B[places[-1]])
        if most >= k:
            best_BK[rows] = _ranked(database, queries_B[rows], near_BM[rows, :most])[0].topk(k, dim=1).values
        advance(0.0)
    left = (best_BK[:, -1] == _LAST).nonzero().squeeze(1)
    for rows in left.split(_EXHAUSTIVE_ROWS) if len(left) else ():
        best_BK[rows] = _exhaustive_keys(database, queries_B[rows], k, advance)
    return best_BK


def reranked(
    database: Database,
    queries: Tensor,
    proposed: tuple[Tensor, Tensor],
    k: int,
    *,
    complete: bool = False,
    advance: Advance = ignore,
) -> tuple[Tensor, Tensor]:
    """Return the k nearest of proposed neighbours, in the order of their exact cosines.

    Parameters
    ----------
    database : Database
        Among which rows.
    queries : Tensor of shape (n_queries,), int64
        Their positions in the database, on its device.
    proposed : tuple of (Tensor, Tensor), each of shape (n_queries, n_candidates)
        Rounded cosines, falling, and positions, which are -1 where there is no further candidate. The query itself may
        be among them.
    k : int
        Number of neighbours, at most ``n_candidates``.
    complete : bool, default False
        Whether no other row is nearer than the last candidate, but for the rounding of the cosines. A query of which
        that leaves the neighbours in doubt is then compared with all rows. Where too few candidates are there, it is in
        any case.
    advance : Callable, optional
        Called often, with 0.

    Returns
    -------
    positions : Tensor of shape (n_queries, k), int64
        On the CPU, most similar first, lower position first where cosines are equal.
    similarity : Tensor of shape (n_queries, k), float32
        Their cosines in [-1, 1] on the CPU, higher = more similar: float64 results rounded to float32.
    """
    best_QK = torch.empty(len(queries), k, dtype=torch.int64, device=database.device)
    doubt_Q = torch.full((len(queries),), torch.inf, device=database.device)
    is_float32 = complete and database.device.type == "cpu" and proposed[0].shape[1] > k
    theory = _float32_rounding(database.num_dims)  # what float32 rounds a product of unit vectors by, twice
    for start in range(0, len(queries), _RANKED_ROWS):
        block = slice(start, min(start + _RANKED_ROWS, len(queries)))
        fast_BM, positions_BM = proposed[0][block], proposed[1][block]
        near_BM = _near_enough(fast_BM, positions_BM, k, database.num_dims) if is_float32 else positions_BM
        key_BM, exact_BM = _ranked(database, queries[block], near_BM)
        rounding = _rounding(fast_BM, exact_BM, near_BM)
        if is_float32 and rounding > theory:  # the device multiplies in reduced precision
            key_BM, exact_BM = _ranked(database, queries[block], positions_BM)
            rounding = _rounding(fast_BM, exact_BM, positions_BM)
        best_QK[block] = key_BM.topk(k, dim=1).values
        last_B = _from_rank_key(best_QK[block, -1])[1].masked_fill(best_QK[block, -1] == _LAST, -torch.inf)
        # A row that is no candidate is at most as near as the last candidate, give or take the rounding of the
        # proposals: float32's for unit vectors, or what is seen here.
        rounding = rounding.clamp_min(theory)
        in_doubt = last_B <= (fast_BM[:, -1] + rounding if complete else -torch.inf)
        doubt_Q[block] = torch.where(in_doubt, last_B - rounding, torch.inf)
        advance(0.0)
    unsure_P = (doubt_Q < torch.inf).nonzero().squeeze(1)
    for unsure in unsure_P.split(_UNSURE_ROWS[database.device.type]) if len(unsure_P) else ():
        best_QK[unsure] = _keys_among_all(database, queries[unsure], doubt_Q[unsure], k, advance)
    positions, similarity = _from_rank_key(best_QK)
    return positions.cpu(), similarity.cpu()


def exact_neighbors(
    database: Database,
    queries: Tensor,
    k: int,
    *,
    ring: Ring = SOLO,
    advance: Advance = ignore,
) -> tuple[Tensor, Tensor]:
    """Return the exact k nearest neighbours of some rows of a database by cosine, the rows themselves left out.

    The whole database is read once, more often only for rows with many equal neighbours.

    Parameters
    ----------
    database : Database
        Among which rows.
    queries : Tensor of shape (n_queries,), int64
        Positions in the database; may be empty. What is held of them grows with their number, see `queries_at_once`.
    k : int
        Number of neighbours, in ``[1, n_database - 1]``.
    ring : Ring, optional
        Processes that each read a part of the database and hand the blocks round. All call this at the same time with
        the same database and `k`, and queries of their own.
    advance : Callable, optional
        Called often, with the share of the database that was searched since the last call.

    Returns
    -------
    positions : Tensor of shape (n_queries, k), int64
        On the CPU, most similar first, lower position first where cosines are equal; exact copies of a row are
        neighbours like any other.
    similarity : Tensor of shape (n_queries, k), float32
        Their cosines in [-1, 1] on the CPU, higher = more similar: float64 results rounded to float32. A row of zeros
        has cosine 0 with every row.

    Raises
    ------
    ValueError
        If `k` is out of range.

    Notes
    -----
    Unlike the reference [1]_, whose mask above 80,000 rows hides columns 0 to 63 instead of the row itself.

    References
    ----------
    .. [1] github.com/eltsai/elfs@089444b, ``gen_embeds.py`` (MIT).
    """
    if not 1 <= k < len(database):
        raise ValueError(f"k is {k}, expected 1 to {len(database) - 1} for {len(database)} rows.")
    queries = queries.to(database.device)
    num_candidates = min(len(database), k + NUM_SPARE)
    unit_QD = database.unit_rows(queries)
    if ring.size == 1 and torch.equal(queries, torch.arange(len(database), device=database.device)):
        proposed = candidates_of_all(unit_QD, num_candidates, advance)
    else:
        proposed = candidates_among_all(database, unit_QD, num_candidates, ring, advance)
    if len(queries) == 0:
        return torch.empty(0, k, dtype=torch.int64), torch.empty(0, k)
    return reranked(database, queries, proposed, k, complete=num_candidates < len(database), advance=advance)


def cosine_neighbors(
    embeddings: Embeddings,
    k: int,
    *,
    device: torch.device | str,
    rows: NDArray[np.int64] | None = None,
    block_rows: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the exact k nearest neighbours of every row by cosine, the row itself left out.

    Parameters
    ----------
    embeddings : Embeddings
        Of shape (n_rows, n_dims), floating, not normalised; read block by block.
    k : int
        Number of neighbours, in ``[1, n_database - 1]``.
    device : torch.device or str
        Where to compute.
    rows : ndarray of shape (n_database,), int64, optional
        Rows that are compared, ascending; None: all.
    block_rows : int, optional
        Rows of a block of the database, and queries at a time. None: see `Database` and `queries_at_once`.

    Returns
    -------
    positions : Tensor of shape (n_database, k), int32, or int64 from 2**31 rows on
        Places in `rows`, on the CPU; see `exact_neighbors`.
    similarity : Tensor of shape (n_database, k), float32
        Their cosines in [-1, 1] on the CPU, higher = more similar.

    Raises
    ------
    ValueError
        If `embeddings` is not 2-D or holds a NaN or an infinity, `rows` do not rise, or `k` is out of range.
    """
    database = Database(embeddings, device=device, rows=rows, block_rows=block_rows)
    step = block_rows or queries_at_once(database.num_dims, k)
    positions_NK = torch.empty(len(database), max(0, k), dtype=torch.int32 if len(database) < 2**31 else torch.int64)
    similarity_NK = torch.empty(positions_NK.shape)
    for start in range(0, len(database), step):
        run = slice(start, min(start + step, len(database)))
        positions, similarity_NK[run] = exact_neighbors(database, torch.arange(run.start, run.stop), k)
        positions_NK[run] = positions.to(positions_NK.dtype)
    return positions_NK, similarity_NK
