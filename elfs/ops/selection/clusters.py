"""Selectors that look at groups of similar rows: TypiClust, prototypicality, moderate.

Shape suffixes: M rows of the pool, B rows of a block, C clusters or classes, D dimensions.
"""

import torch
from torch import Tensor

from elfs.ops.distances import centre_distance, check_finite, unit_clusters, unit_rows
from elfs.ops.selection.pool import Pool, SelectorOptions, check_budget, required
from elfs.ops.selection.quotas import proportional_quotas

__all__ = ["farthest_first", "moderate", "prototypicality", "typiclust"]

_BLOCK_ROWS = 65_536

# TypiClust: the paper's number of clusters at most, of neighbours, and of rows in a cluster at least.
_MOST_CLUSTERS = 500
_NUM_NEIGHBORS = 20
_LEAST_CLUSTER_ROWS = 5
# Rows of a cluster among which neighbours are looked for: what an average cluster has where 1,000,000 rows have 500.
_COMPARED_ROWS = 2048
# Rows whose neighbours are looked for at once.
_QUERY_ROWS = 1024
# Squared distances of float32 vectors of length 1 that are no larger are 0.
_ROUNDING = 1e-6

# Prototypicality: clusters where the pool has no pseudo-labels.
_NUM_PROTOTYPES = 10


def _ranked_in_groups(rows: Tensor, value_M: Tensor, group_M: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows, group by group in order of their values, and each one's rank in its group, from 0."""
    rows = rows[torch.sort(value_M[rows], stable=True).indices]
    rows = rows[torch.sort(group_M[rows], stable=True).indices]
    sizes_C = torch.bincount(group_M[rows])
    starts_C = sizes_C.cumsum(dim=0) - sizes_C
    return rows, torch.arange(len(rows)) - starts_C[group_M[rows]]


def _unit_distance(embeddings: Tensor, centres_CD: Tensor, group_M: Tensor) -> Tensor:
    """Return the distance from each row, scaled to length 1, to the centre of its group, float32 [M]."""
    parts = zip(torch.split(embeddings, _BLOCK_ROWS), torch.split(group_M, _BLOCK_ROWS), strict=True)
    return torch.cat([centre_distance(unit_rows(block), centres_CD, group) for block, group in parts])


def typiclust(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take the most typical row of each k-means cluster, from the clusters with the fewest taken rows first.

    Needs ``embeddings``. Settled rows count as taken. First comes one row from each cluster without a taken row, larger
    clusters first, then from those with one, and so on. The generator seeds k-means, and draws what large clusters are
    compared with.

    Notes
    -----
    As many clusters as rows to select and settled, at most 500. Typicality is the inverse of the mean distance to the
    20 nearest rows of the cluster (all, where there are fewer), of embeddings scaled to length 1. Settled and selected
    rows stay among the neighbours, where the authors' code [2]_ takes them out and computes anew after every pick. In a
    cluster of more than 2,048 rows the neighbours are looked for among 2,048 random ones.

    The paper [1]_ leaves out clusters of fewer than 5 rows. Here these come last: after all rows of the others. Where
    clusters have less than 10 rows on average, that would leave out most, and the bound is half the average.

    References
    ----------
    .. [1] Hacohen, Dekel and Weinshall, ICML 2022, https://arxiv.org/abs/2202.02794.
    .. [2] github.com/avihu111/TypiClust@2e14a16, ``deep-al/pycls/al/typiclust.py`` (MIT).
    """
    candidates_M = pool.candidates()
    check_budget(budget, candidates_M)
    embeddings = required(pool, "embeddings")
    num_clusters = min(budget + int(pool.held().sum()), _MOST_CLUSTERS)
    cluster_M = unit_clusters(embeddings, num_clusters, generator).assignment
    distance_M = _neighbor_distance(embeddings, cluster_M, generator)
    size_C = torch.bincount(cluster_M, minlength=num_clusters)
    settled_C = torch.bincount(cluster_M[pool.held()], minlength=num_clusters)
    small_C = size_C < min(_LEAST_CLUSTER_ROWS, len(pool) / num_clusters / 2)
    rows, rank = _ranked_in_groups(torch.nonzero(candidates_M).flatten(), distance_M, cluster_M)
    own = cluster_M[rows]
    order = torch.arange(len(rows))
    for key in (-size_C[own], settled_C[own] + rank, small_C[own].to(torch.uint8)):  # the last decides first
        order = order[torch.sort(key[order], stable=True).indices]
    return rows[order[:budget]]


def _neighbor_distance(embeddings: Tensor, cluster_M: Tensor, generator: torch.Generator) -> Tensor:
    """Return the mean distance of each row to its nearest neighbours in its cluster, float32 [M]; 0 if it is alone."""
    distance_M = torch.zeros(len(cluster_M))
    by_cluster = torch.sort(cluster_M, stable=True).indices
    for members in torch.split(by_cluster, torch.bincount(cluster_M).tolist()):
        num_compared = min(len(members), _COMPARED_ROWS)
        k = min(_NUM_NEIGHBORS, num_compared - 1)
        if k < 1:
            continue
        compared = torch.arange(len(members))
        if num_compared < len(members):
            compared = torch.randperm(len(members), generator=generator)[:num_compared]
        column = torch.full((len(members),), -1)
        column[compared] = torch.arange(num_compared)
        compared_BD = unit_rows(embeddings[members[compared]])
        for start in range(0, len(members), _QUERY_ROWS):
            block = members[start : start + _QUERY_ROWS]
            cosine_BB = unit_rows(embeddings[block]) @ compared_BD.T
            own = column[start : start + _QUERY_ROWS]
            itself = torch.nonzero(own >= 0).flatten()
            cosine_BB[itself, own[itself]] = -torch.inf
            nearest = cosine_BB.topk(k, dim=1).values
            squared = torch.nn.functional.threshold(2 - 2 * nearest, _ROUNDING, 0.0)
            distance_M[block] = squared.sqrt().mean(dim=1)
    return distance_M


def farthest_first(distance: Tensor, candidates: Tensor, budget: int) -> Tensor:
    """Return the rows with the largest distances.

    Parameters
    ----------
    distance : Tensor of shape (n_rows,), floating
        From each row to its own centre, higher = less like the others.
    candidates : Tensor of shape (n_rows,), bool
        Rows that may be returned.
    budget : int
        Number of rows, from 1 to the number of candidates.

    Returns
    -------
    Tensor of shape (budget,), int64
        Positions, farthest first; of equal distances the lower position.

    Raises
    ------
    UsageError
        If the budget does not fit the candidates.

    Examples
    --------
    >>> farthest_first(torch.tensor([0.1, 0.5, 0.9, 0.5]), torch.tensor([True, True, False, True]), 2).tolist()
    [1, 3]
    """
    check_budget(budget, candidates)
    order = torch.sort(distance, descending=True, stable=True).indices
    return order[candidates[order]][:budget]


def prototypicality(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take the rows that are farthest from their own k-means centre.

    Needs ``embeddings``; ``pseudo_labels``, where there are any, say how many centres: as many as there are different
    ones, else 10. Farthest first. The generator seeds k-means.

    Notes
    -----
    Euclidean distance of embeddings scaled to length 1, over all rows, settled ones too. The reference [2]_ clusters
    them as they are, and its balanced variant shares the budget out over the k-means clusters; here the balance is that
    of ``select``, over pseudo-labels, each then with a centre of its own.

    References
    ----------
    .. [1] Sorscher et al., NeurIPS 2022, https://arxiv.org/abs/2206.14486, section 5.
    .. [2] github.com/eltsai/elfs@089444b, ``core/utils/misc.py``, ``core/data/Coreset.py`` (MIT).
    """
    embeddings = required(pool, "embeddings")
    labels = pool.pseudo_labels
    num_centres = min(len(pool), _NUM_PROTOTYPES if labels is None else len(labels.unique()))
    centres_CD, cluster_M = unit_clusters(embeddings, num_centres, generator)
    return farthest_first(_unit_distance(embeddings, centres_CD, cluster_M), pool.candidates(), budget)


def moderate(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take the rows whose distance to the centre of their pseudo-label is nearest to the median distance.

    Needs ``embeddings`` and ``pseudo_labels``. Those of each pseudo-label nearest to its median come first, the
    pseudo-labels mixed in proportion. Nothing is random.

    Notes
    -----
    The centre is the mean, as in the paper [1]_ (its code takes the median of each dimension), of embeddings scaled to
    length 1, settled ones too; the median is that of the distances of the same pseudo-label, and each pseudo-label gets
    a share of the budget in proportion to its rows, where the paper's code takes one median over all classes. Nearest
    by the difference of the distances, where that code takes as many ranks on either side.

    References
    ----------
    .. [1] Xia et al., ICLR 2023, https://openreview.net/forum?id=7D5EECbOaf9; code github.com/tmllab/Moderate-DS.
    """
    candidates_M = pool.candidates()
    check_budget(budget, candidates_M)
    embeddings, label_M = required(pool, "embeddings"), required(pool, "pseudo_labels").long()
    check_finite(embeddings)
    size_C = torch.bincount(label_M)
    sum_CD = torch.zeros(len(size_C), embeddings.shape[1], dtype=torch.float64)
    for block, label in zip(torch.split(embeddings, _BLOCK_ROWS), torch.split(label_M, _BLOCK_ROWS), strict=True):
        sum_CD.index_add_(0, label, unit_rows(block).double())
    distance_M = _unit_distance(embeddings, (sum_CD / size_C.clamp_min(1).unsqueeze(1)).float(), label_M)
    off_median_M = (distance_M - _group_median(distance_M, label_M)[label_M]).abs()
    quota_C = proportional_quotas(torch.bincount(label_M[candidates_M], minlength=len(size_C)), budget)
    rows, rank = _ranked_in_groups(torch.nonzero(candidates_M).flatten(), off_median_M, label_M)
    quota = quota_C[label_M[rows]]
    rows, place = rows[rank < quota], ((rank.double() + 0.5) / quota)[rank < quota]
    return rows[torch.sort(place, stable=True).indices]


def _group_median(value_M: Tensor, group_M: Tensor) -> Tensor:
    """Return the median of each group, of an even number of values the mean of the two in the middle."""
    rows, _ = _ranked_in_groups(torch.arange(len(value_M)), value_M, group_M)
    size_C = torch.bincount(group_M)
    start_C = size_C.cumsum(dim=0) - size_C
    sorted_M = torch.cat([value_M[rows], torch.zeros(1)])  # the last: for empty groups at the end, nobody's
    lower_C, upper_C = start_C + (size_C - 1).clamp_min(0) // 2, start_C + size_C // 2
    return (sorted_M[lower_C] + sorted_M[upper_C]) / 2
