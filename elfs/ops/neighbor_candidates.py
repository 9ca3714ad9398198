"""Candidates for nearest neighbours, by blocked matrix products in float32, on a CPU or a GPU.

A product of queries and rows is looked over for what exceeds a bound of each query: the last of its candidates so far,
or, where there are none, what enough groups of columns hold. Few do, and only these are put in order. Where every row
asks for its neighbours among all, a product serves the rows on both of its sides. Shape suffixes: N rows of the
database, Q queries, R queries of a product, B rows of a block, K of these that may be candidates, G groups of columns,
M candidates, D dimensions.
"""

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from elfs.ops.database import Database, Ring

__all__ = ["Candidates", "candidates_among_all", "candidates_of_all", "rows_reaching"]

# Cosines of one product: as many as glibc takes out of what it holds, which maps larger ones anew each time (see
# `elfs.parallel.allocator`); on a GPU, where each takes a dozen launches, 1 GiB.
_PRODUCT_ELEMENTS = {"cpu": (1 << 23) - 1024, "cuda": 1 << 28}
_TILE_ROWS = {"cpu": 2048, "cuda": 16_384}
# Rows of which a product with themselves is not divided.
_WHOLE_ROWS = 256
_MOST_IN_A_GROUP = 32
# With more columns above the bounds than so many times the number of candidates, a closer bound is looked for, ...
_MANY = 2
# ... and where a query has so many, all are put in order.
_TOO_MANY = 8


class Candidates:
    """The nearest rows that queries were offered so far.

    Parameters
    ----------
    num_queries : int
        Queries.
    num : int
        Candidates of each, at least 1.
    device : torch.device
        Where they are kept.

    """

    def __init__(self, num_queries: int, num: int, device: torch.device) -> None:
        self._cosine = torch.full((num_queries, num), -torch.inf, device=device)
        self._positions = torch.full((num_queries, num), -1, dtype=torch.int64, device=device)
        self._bound = torch.full((num_queries,), -torch.inf, device=device)  # the least of each row

    def offer(self, queries: slice, cosine_RB: Tensor, first: int) -> None:
        """Keep the nearest of the candidates and of further rows.

        Parameters
        ----------
        queries : slice
            Which queries.
        cosine_RB : Tensor of shape (n_queries, n_rows), float32
            Their cosines with rows that were not offered before.
        first : int
            Position of the first of these rows in the database; the others follow.
        """
        best_RM, positions_RM = self._cosine[queries], self._positions[queries]
        num = best_RM.shape[1]
        flat = _places_above(cosine_RB, self._bound[queries], num)
        rows = flat.div(cosine_RB.shape[1], rounding_mode="floor")
        columns = flat - rows * cosine_RB.shape[1]
        num_R = rows.bincount(minlength=len(best_RM))
        most = int(num_R.max())
        if most == 0:
            return
        if most > _TOO_MANY * num:
            values_RK, columns_RK = cosine_RB.topk(min(num, cosine_RB.shape[1]), dim=1, sorted=False)
        else:
            places = rows * most + torch.arange(len(flat), device=flat.device) - (num_R.cumsum(0) - num_R)[rows]
            values_RK = best_RM.new_full((len(best_RM), most), -torch.inf)
            columns_RK = positions_RM.new_full(values_RK.shape, -1 - first)
            values_RK.view(-1)[places], columns_RK.view(-1)[places] = cosine_RB[rows, columns], columns
        top = torch.cat([best_RM, values_RK], dim=1).topk(num, dim=1, sorted=False)
        self._cosine[queries] = top.values
        self._positions[queries] = torch.cat([positions_RM, columns_RK + first], dim=1).gather(1, top.indices)
        self._bound[queries] = top.values.amin(dim=1)

    def sorted(self) -> tuple[Tensor, Tensor]:
        """Return what is kept.

        Returns
        -------
        cosine : Tensor of shape (num_queries, num), float32
            Falling; -inf where there is no further candidate.
        positions : Tensor of shape (num_queries, num), int64
            Rows of the database; -1 where there is no further candidate.
        """
        cosine_QM, order_QM = self._cosine.sort(dim=1, descending=True)
        return cosine_QM, self._positions.gather(1, order_QM)


def _places_above(cosine_RB: Tensor, bound_R: Tensor, num: int) -> Tensor:
    """Return where cosines reach the bounds of their rows, as places in the flattened product, ascending: int64.

    Not all where these are many: of each row at least `num` of the largest.
    """
    if bool(bound_R.isfinite().all()):
        flat = _true_places(cosine_RB >= bound_R.unsqueeze(1))
        if len(flat) <= _MANY * num * len(cosine_RB):
            return flat
    return _true_places(cosine_RB >= torch.maximum(bound_R, _lower_bound(cosine_RB, num)).unsqueeze(1))


def _lower_bound(cosine_RB: Tensor, num: int) -> Tensor:
    """Return what at least `num` of each row reach, -inf where there are too few columns: float32 [R].

    That many groups of columns hold one that reaches it. Columns that follow each other lie in different groups, since
    rows that follow each other are often alike.
    """
    size = min(_MOST_IN_A_GROUP, cosine_RB.shape[1] // (2 * num))
    if size == 0:
        return cosine_RB.new_full((len(cosine_RB),), -torch.inf)
    num_groups = cosine_RB.shape[1] // size
    peak_RG = cosine_RB[:, : num_groups * size].unflatten(1, (size, num_groups)).amax(dim=1)
    highest: Tensor = peak_RG.topk(num, dim=1, sorted=False).values
    return highest.amin(dim=1)


def _true_places(mask: Tensor) -> Tensor:
    """Return the places of what is true in a mask, flattened: int64, ascending."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.contiguous().numpy()))  # a third of the time of nonzero()
    return mask.flatten().nonzero().squeeze(1)


def _factor(unit_BD: Tensor) -> Tensor:
    """Return rows as they are multiplied: on a GPU in half precision, ten times as fast; `reranked` sees its errors."""
    return unit_BD.half() if unit_BD.device.type == "cuda" else unit_BD


def _cosines(first_RD: Tensor, second_BD: Tensor) -> Tensor:
    """Return the products [R, B] of factors, added up and given in float32."""
    if first_RD.device.type == "cuda":
        return torch.mm(first_RD, second_BD.T, out_dtype=torch.float32)
    return first_RD @ second_BD.T


def _own_cosines(unit_RD: Tensor) -> Tensor:
    """Return the products of rows with themselves; on a CPU two rows are multiplied once, but for small blocks."""
    if unit_RD.device.type == "cuda" or len(unit_RD) <= _WHOLE_ROWS:
        return _cosines(unit_RD, unit_RD)
    cosine_RR = unit_RD.new_empty(len(unit_RD), len(unit_RD))
    for block in _slices(len(unit_RD), _WHOLE_ROWS):
        torch.mm(unit_RD[block], unit_RD[block.start :].T, out=cosine_RR[block, block.start :])
        cosine_RR[block.stop :, block] = cosine_RR[block, block.stop :].T
    return cosine_RR


def _slices(num_rows: int, step: int) -> Iterator[slice]:
    for start in range(0, num_rows, step):
        yield slice(start, min(start + step, num_rows))


def candidates_among_all(
    database: Database, query_QD: Tensor, num: int, ring: Ring, advance: Callable[[float], None]
) -> tuple[Tensor, Tensor]:
    """Return the nearest of all rows for some queries.

    Parameters
    ----------
    database : Database
        All rows, read once, block by block.
    query_QD : Tensor of shape (n_queries, n_dims), float32
        Rows of length 1, on the device of the database; may be empty: every process of the ring reads its blocks.
    num : int
        Candidates of each query, at most as many as there are rows.
    ring : Ring
        See `elfs.ops.neighbors.exact_neighbors`.
    advance : Callable
        Called often, with the share of the database that was searched since the last call.

    Returns
    -------
    tuple of (Tensor, Tensor)
        See `Candidates.sorted`. The queries themselves are among them, if they are rows of the database.
    """
    best = Candidates(len(query_QD), num, database.device)
    query_QD, most = _factor(query_QD), _PRODUCT_ELEMENTS[database.device.type]
    for start, stop, unit_BD in database.unit_blocks(ring):
        if stop > start:
            block_BD = _factor(unit_BD)
            for queries in _slices(len(query_QD), max(1, most // (stop - start))):
                best.offer(queries, _cosines(query_QD[queries], block_BD), start)
        advance((stop - start) / len(database))
    return best.sorted()


def candidates_of_all(unit_ND: Tensor, num: int, advance: Callable[[float], None]) -> tuple[Tensor, Tensor]:
    """Return the nearest of all rows for each of them; two rows are multiplied once.

    Parameters
    ----------
    unit_ND : Tensor of shape (n_rows, n_dims), float32
        All rows, of length 1.
    num : int
        Candidates of each, at most as many as there are rows.
    advance : Callable
        Called often, with the share of the products that were made since the last call.

    Returns
    -------
    tuple of (Tensor, Tensor)
        See `Candidates.sorted`. Each row is among its own.
    """
    num_rows, device = len(unit_ND), unit_ND.device
    best, unit_ND = Candidates(num_rows, num, device), _factor(unit_ND)
    tiles = list(_slices(num_rows, min(_TILE_ROWS[device.type], -(-num_rows // 2))))
    num_products = len(tiles) * (len(tiles) + 1) / 2
    # Rows that follow each other are often alike: a row's own tile first gives it a close bound for the others.
    for rows, others in [*zip(tiles, tiles, strict=True), *itertools.combinations(tiles, 2)]:
        is_own = rows == others
        cosine_RB = _own_cosines(unit_ND[rows]) if is_own else _cosines(unit_ND[rows], unit_ND[others])
        best.offer(rows, cosine_RB, others.start)
        if not is_own:
            best.offer(others, cosine_RB.T, rows.start)
        advance(1 / num_products)
    return best.sorted()


def rows_reaching(
    database: Database, query_QD: Tensor, bound_Q: Tensor, most: int, advance: Callable[[float], None]
) -> Tensor:
    """Return all rows whose cosine with a query reaches a bound of its own.

    Parameters
    ----------
    database : Database
        All rows, read once, block by block.
    query_QD : Tensor of shape (n_queries, n_dims), float32
        Rows of length 1, on the device of the database.
    bound_Q : Tensor of shape (n_queries,), float32
        Cosines; where it is -inf, none are returned.
    most : int
        Rows of a query at most; of one that more reach, none are returned.
    advance : Callable
        Called often, with 0.

    Returns
    -------
    Tensor of shape (n_queries, n_rows), int64
        Rows of the database, ascending; -1 where there is no further one.
    """
    query_QD, device = _factor(query_QD), database.device
    num_Q = torch.zeros(len(query_QD), dtype=torch.int64, device=device)
    bound_Q = bound_Q.masked_fill(bound_Q == -torch.inf, torch.inf)
    found: list[Tensor] = []  # numbers of query and row, in one
    for start, stop, unit_BD in database.unit_blocks():
        block_BD = _factor(unit_BD)
        for queries in _slices(len(query_QD), max(1, _PRODUCT_ELEMENTS[device.type] // (stop - start))):
            bound_R = bound_Q[queries].masked_fill(num_Q[queries] > most, torch.inf)
            flat = _true_places(_cosines(query_QD[queries], block_BD) >= bound_R.unsqueeze(1))
            rows = flat.div(stop - start, rounding_mode="floor")
            num_Q[queries] += rows.bincount(minlength=len(bound_R))
            is_kept = num_Q[queries][rows] <= most  # of copies a block may hold very many
            flat, rows = flat[is_kept], rows[is_kept]
            found.append((rows + queries.start) * len(database) + flat - rows * (stop - start) + start)
        advance(0.0)
    both_P = torch.cat(found).sort().values
    both_P = both_P[num_Q[both_P // len(database)] <= most]
    rows_P = both_P // len(database)
    num_Q = rows_P.bincount(minlength=len(query_QD))
    places_P = torch.arange(len(rows_P), device=device) - (num_Q.cumsum(0) - num_Q)[rows_P]
    positions_QM = torch.full((len(query_QD), int(num_Q.max())), -1, dtype=torch.int64, device=device)
    positions_QM[rows_P, places_P] = both_P - rows_P * len(database)
    return positions_QM
