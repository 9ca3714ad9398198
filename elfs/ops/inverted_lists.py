"""Nearest neighbours among many rows, nearly all of them found: FAISS inverted lists (IVF) on the CPU.

The rows are divided among lists by k-means, and a query looks into the few lists whose centres are nearest. How many it
takes is found out by comparing with exact neighbours of a sample. What the lists propose is put in order by the exact
cosines, as in exact search. No GPU is touched. Shape suffixes: Q queries, M candidates, K neighbours.
"""

import importlib
import math
from typing import Any

import torch
from torch import Tensor

from elfs.ops.database import Database
from elfs.ops.neighbors import NUM_SPARE, Advance, exact_neighbors, ignore, reranked

__all__ = ["build_index", "choose_probes", "probed_neighbors", "recall", "usual_num_lists"]

_TRAINING_ROWS_PER_LIST = 64
_FEWEST_PROBES = 8
_QUERIES_AT_ONCE = 4096


def usual_num_lists(num_rows: int) -> int:
    """Return how many lists to divide rows among.

    Parameters
    ----------
    num_rows : int
        Rows of the database.

    Returns
    -------
    int
        4 times the square root of their number, as FAISS's guidelines [1]_ have it, but no more than leave 64 rows to
        each; at least 1.

    References
    ----------
    .. [1] github.com/facebookresearch/faiss/wiki/Guidelines-to-choose-an-index.

    Examples
    --------
    >>> usual_num_lists(4_000_000), usual_num_lists(640), usual_num_lists(10)
    (8000, 10, 1)
    """
    return max(1, min(round(4 * math.sqrt(num_rows)), num_rows // _TRAINING_ROWS_PER_LIST))


def _sample(num_rows: int, num_drawn: int, generator: torch.Generator) -> Tensor:
    """Return different positions, ascending: all, or about so many at random."""
    if num_drawn >= num_rows:
        return torch.arange(num_rows)
    drawn: Tensor = torch.randint(num_rows, (num_drawn,), generator=generator).unique()
    return drawn


def build_index(
    database: Database, generator: torch.Generator, *, num_lists: int | None = None, advance: Advance = ignore
) -> Any:
    """Return inverted lists of a whole database.

    Parameters
    ----------
    database : Database
        Read twice, in blocks; the index holds a float16 copy in memory, ``2 * n_dims + 8`` bytes a row.
    generator : torch.Generator
        On the CPU; draws the rows that k-means sees, about 64 a list, and its start.
    num_lists : int, optional
        Number of lists, at most the number of rows; None: see `usual_num_lists`.
    advance : Callable, optional
        Called after each block, with the share of the database that was added.

    Returns
    -------
    faiss.IndexIVFScalarQuantizer
        Compares by inner product; ids are positions. Equal states of the generator give equal indexes, whatever the
        number of threads.
    """
    faiss = importlib.import_module("faiss")  # its types lack what is used here
    count = num_lists or usual_num_lists(len(database))
    kind = faiss.ScalarQuantizer.QT_fp16
    index = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(database.num_dims), database.num_dims, count, kind, faiss.METRIC_INNER_PRODUCT, False
    )
    index.cp.min_points_per_centroid = 1
    index.cp.seed = int(torch.randint(2**31, (1,), generator=generator))
    rows = _sample(len(database), max(count, _TRAINING_ROWS_PER_LIST * count), generator)
    index.train(database.unit_rows(rows).cpu().numpy())
    for start, stop, block in database.unit_blocks():
        index.add(block.cpu().numpy())
        advance((stop - start) / len(database))
    return index


def probed_neighbors(
    index: Any, database: Database, queries: Tensor, k: int, num_probes: int, *, advance: Advance = ignore
) -> tuple[Tensor, Tensor]:
    """Return the nearest neighbours by cosine that are found in the nearest lists.

    Parameters
    ----------
    index : faiss.IndexIVF
        Of the same database.
    database : Database
        Gives the queries, and the candidates for their exact cosines.
    queries : Tensor of shape (n_queries,), int64
        Positions in the database; may be empty.
    k : int
        Number of neighbours, less than there are rows.
    num_probes : int
        Lists that each query looks into.
    advance : Callable, optional
        Called often, with the share of the queries that was done since the last call.

    Returns
    -------
    positions : Tensor of shape (n_queries, k), int64
        On the CPU, the query itself left out, most similar first, lower position first where cosines are equal. A query
        whose lists hold too few rows is compared with all rows.
    similarity : Tensor of shape (n_queries, k), float32
        Their cosines in [-1, 1] on the CPU, higher = more similar: float64 results rounded to float32.
    """
    faiss = importlib.import_module("faiss")
    parameters = faiss.SearchParametersIVF(nprobe=num_probes)
    positions_QK, similarity_QK = torch.empty(len(queries), k, dtype=torch.int64), torch.empty(len(queries), k)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        block = slice(start, min(start + _QUERIES_AT_ONCE, len(queries)))
        own = queries[block].to(database.device)
        unit = database.unit_rows(own).cpu().numpy()
        found = index.search(unit, min(len(database), k + NUM_SPARE), params=parameters)
        cosine_QM, positions_QM = (torch.from_numpy(part).to(database.device) for part in found)
        positions_QK[block], similarity_QK[block] = reranked(
            database, own, (cosine_QM, positions_QM), k, advance=advance
        )
        advance(len(own) / len(queries))
    return positions_QK, similarity_QK


def recall(found: Tensor, exact: Tensor) -> float:
    """Return the share of exact neighbours that were found.

    Parameters
    ----------
    found, exact : Tensor of shape (n_queries, k), int64
        Neighbours of the same queries, each once a row, in any order.

    Returns
    -------
    float
        In [0, 1]; higher = better.

    Examples
    --------
    >>> recall(torch.tensor([[1, 2], [3, 4]]), torch.tensor([[2, 1], [4, 5]]))
    0.75
    """
    both = torch.cat([found, exact], dim=1).sort(dim=1).values
    return int((both[:, 1:] == both[:, :-1]).sum()) / exact.numel()


def choose_probes(
    index: Any,
    database: Database,
    k: int,
    generator: torch.Generator,
    *,
    least_recall: float = 0.95,
    num_queries: int = 1000,
) -> tuple[int, float]:
    """Return into how many lists a query must look.

    Parameters
    ----------
    index : faiss.IndexIVF
        Of the same database.
    database : Database
        Read once.
    k : int
        Number of neighbours, less than there are rows.
    generator : torch.Generator
        On the CPU; draws the queries that are asked exactly too.
    least_recall : float, default 0.95
        Share of the exact neighbours that must be found, in [0, 1].
    num_queries : int, default 1000
        Queries drawn; fewer where one is drawn twice, or there are fewer rows.

    Returns
    -------
    num_probes : int
        8, 16, 32 and so on, the first that reaches `least_recall`, at most all lists.
    recall : float
        What it reached on the sample, in [0, 1]; higher = better.
    """
    queries = _sample(len(database), num_queries, generator)
    exact = exact_neighbors(database, queries, k)[0]
    num_probes = min(_FEWEST_PROBES, index.nlist)
    while True:
        reached = recall(probed_neighbors(index, database, queries, k, num_probes)[0], exact)
        if reached >= least_recall or num_probes == index.nlist:
            return num_probes, reached
        num_probes = min(2 * num_probes, index.nlist)
