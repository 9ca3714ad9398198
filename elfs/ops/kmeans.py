"""k-means, by FAISS where it is installed and by torch where it is not.

Shape suffixes: N rows, B rows of a block, C clusters, D dimensions.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from elfs.ops._engine import Engine, resolved_engine

__all__ = ["KMeans", "kmeans", "kmeans_probabilities", "nearest_centroid"]

_BLOCK_ROWS = 2048


class KMeans(NamedTuple):
    """A clustering of rows.

    Attributes
    ----------
    centroids : Tensor of shape (n_clusters, n_dims), float32
        Centre of each cluster.
    assignment : Tensor of shape (n_rows,), int64
        Cluster of each row; every cluster has at least one.
    inertia : float
        Sum of the squared Euclidean distances from rows to their centroids, at least 0; lower = tighter.
    """

    centroids: Tensor
    assignment: Tensor
    inertia: float


def nearest_centroid(x: Tensor, centroids: Tensor, *, block_rows: int = _BLOCK_ROWS) -> tuple[Tensor, Tensor]:
    """Return each row's nearest centroid by Euclidean distance.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_dims), floating
        Rows; computed with in float32, a block at a time.
    centroids : Tensor of shape (n_clusters, n_dims), float32
        Centres, on the device of `x`.
    block_rows : int, default 2048
        Rows at a time: what is computed of them stays in the cache of a CPU.

    Returns
    -------
    assignment : Tensor of shape (n_rows,), int64
        Number of the nearest centroid, the lower where two are equally near.
    squared_distance : Tensor of shape (n_rows,), float32
        Squared distance to it, at least 0.
    """
    # Distances do not change when everything moves; close to the origin the expanded square loses fewer digits.
    shift_D = centroids.mean(dim=0)
    centred_CD = centroids - shift_D
    squares_C = centred_CD.square().sum(dim=1)
    assignment, distance = [], []
    for block in torch.split(x, block_rows):
        block_BD = block.float() - shift_D
        least = (block_BD @ centred_CD.T).mul_(-2).add_(squares_C).min(dim=1)
        assignment.append(least.indices)
        distance.append((least.values + block_BD.square().sum(dim=1)).clamp_min(0))
    return torch.cat(assignment), torch.cat(distance)


def _fill_empty_clusters(x_ND: Tensor, centroids_CD: Tensor, assignment_N: Tensor, squared_N: Tensor) -> None:
    """Give each empty cluster the farthest row that is not alone in its cluster, in place."""
    sizes_C = torch.bincount(assignment_N, minlength=len(centroids_CD))
    for cluster in (sizes_C == 0).nonzero().flatten():
        row = torch.where(sizes_C[assignment_N] > 1, squared_N, -1.0).argmax()
        sizes_C[assignment_N[row]] -= 1
        sizes_C[cluster] = 1
        assignment_N[row] = cluster
        centroids_CD[cluster] = x_ND[row]
        squared_N[row] = 0.0


def _spread_centroids(x_ND: Tensor, num_clusters: int, generator: torch.Generator) -> Tensor:
    """Return rows drawn far from one another: each with a probability in proportion to its squared distance."""
    squared_N = torch.ones(len(x_ND), device=x_ND.device)
    chosen: list[Tensor] = []
    for _ in range(num_clusters):
        mass_N = squared_N.double().cumsum(dim=0)
        target = torch.rand(1, generator=generator, dtype=torch.float64).to(x_ND.device) * mass_N[-1]
        row = torch.searchsorted(mass_N, target, right=True).clamp_max(len(x_ND) - 1)
        distance_N = nearest_centroid(x_ND, x_ND[row])[1]
        squared_N = torch.minimum(squared_N, distance_N) if chosen else distance_N
        chosen.append(row)
    return x_ND[torch.cat(chosen)]


def _lloyd(x_ND: Tensor, num_clusters: int, num_iterations: int, generator: torch.Generator) -> Tensor:
    centroids_CD = _spread_centroids(x_ND, num_clusters, generator)
    previous_N = torch.full((len(x_ND),), -1, device=x_ND.device)
    for _ in range(num_iterations):
        assignment_N, squared_N = nearest_centroid(x_ND, centroids_CD)
        _fill_empty_clusters(x_ND, centroids_CD, assignment_N, squared_N)
        if torch.equal(assignment_N, previous_N):
            break
        sizes_C1 = torch.bincount(assignment_N, minlength=num_clusters).unsqueeze(1)
        centroids_CD = torch.zeros_like(centroids_CD).index_add_(0, assignment_N, x_ND) / sizes_C1
        previous_N = assignment_N
    return centroids_CD


def _faiss_centroids(x_ND: Tensor, num_clusters: int, num_iterations: int, restarts: int, seed: int) -> Tensor:
    import faiss

    model = faiss.Kmeans(
        x_ND.shape[1],
        num_clusters,
        niter=num_iterations,
        nredo=restarts,
        seed=seed % 2**31,  # a C int
        min_points_per_centroid=1,
        max_points_per_centroid=len(x_ND),  # all rows: no subsampling
    )
    model.train(x_ND.cpu().numpy())
    return torch.from_numpy(model.centroids).to(x_ND.device)


def _finished(x_ND: Tensor, centroids_CD: Tensor) -> KMeans:
    """Assign every row to its nearest centroid; where that leaves clusters empty, move them and assign again."""
    for _ in range(len(centroids_CD)):
        assignment_N, squared_N = nearest_centroid(x_ND, centroids_CD)
        if len(assignment_N.unique()) == len(centroids_CD) or not bool((squared_N > 0).any()):
            break
        _fill_empty_clusters(x_ND, centroids_CD, assignment_N, squared_N)
    assignment_N, squared_N = nearest_centroid(x_ND, centroids_CD)
    _fill_empty_clusters(x_ND, centroids_CD, assignment_N, squared_N)
    return KMeans(centroids_CD, assignment_N, float(squared_N.double().sum()))


def kmeans(
    x: Tensor,
    num_clusters: int,
    *,
    seed: int,
    num_iterations: int = 50,
    restarts: int = 1,
    engine: Engine = "auto",
) -> KMeans:
    """Return `num_clusters` groups of rows with small squared Euclidean distances to their centroids.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_dims), floating
        Rows; a float32 copy is made where it is not float32. Finite, at least `num_clusters` rows.
    num_clusters : int
        Number of clusters, at least 1.
    seed : int
        Seed of the starts, in [0, 2**63), of which FAISS sees the last 31 bits; equal seeds give equal results on the
        same machine and engine.
    num_iterations : int, default 50
        Iterations of one start; torch stops earlier where nothing changes.
    restarts : int, default 1
        Number of starts, of which the tightest is returned.
    engine : {"auto", "faiss", "torch"}, default "auto"
        ``faiss``: its k-means on the CPU, random rows to start from, no subsampling. ``torch``: Lloyd's iterations on
        the device of `x` after k-means++. ``auto``: FAISS where `x` is on the CPU and FAISS is installed.

    Returns
    -------
    KMeans
        Centroids, assignment and inertia on the device of `x`. Each row belongs to its nearest centroid, with one
        exception: a cluster that would be empty gets the row that is farthest from its own centroid (among rows that
        are not alone in their cluster), and that row becomes its centroid. With fewer different rows than clusters,
        equal rows are spread over several clusters that way.

    Raises
    ------
    ValueError
        If `x` is not 2-D or holds a NaN or an infinity, `num_clusters` is not in ``[1, n_rows]``, or the engine is
        unknown.

    References
    ----------
    .. [1] Arthur and Vassilvitskii, SODA 2007 (k-means++).
    """
    if x.ndim != 2:
        raise ValueError(f"x has the shape {tuple(x.shape)}, expected (n_rows, n_dims).")
    if not 1 <= num_clusters <= len(x):
        raise ValueError(f"num_clusters is {num_clusters}, expected 1 to {len(x)}, the number of rows.")
    engine = resolved_engine(engine, x.device)
    finite_N = torch.cat([block.isfinite().all(dim=1) for block in torch.split(x, 65_536)])
    if not bool(finite_N.all()):
        row = int(finite_N.logical_not().nonzero()[0])
        raise ValueError(f"x is not finite: row {row:,} holds a NaN or an infinity.")
    x_ND = x.detach().float().contiguous()
    if engine == "faiss":
        return _finished(x_ND, _faiss_centroids(x_ND, num_clusters, num_iterations, restarts, seed))
    generator = torch.Generator().manual_seed(seed)
    starts = (_finished(x_ND, _lloyd(x_ND, num_clusters, num_iterations, generator)) for _ in range(restarts))
    return min(starts, key=lambda clustering: clustering.inertia)


def kmeans_probabilities(inputs: Tensor, centroids: Tensor) -> Tensor:
    """Return how clearly each input belongs to each centre.

    Parameters
    ----------
    inputs : Tensor of shape (n_rows, n_dims), float32
        Embeddings of length 1.
    centroids : Tensor of shape (n_clusters, n_dims), float32
        Centres of k-means.

    Returns
    -------
    Tensor of shape (n_rows, n_clusters), float32
        Inverse squared distances, scaled to sum to 1: the memberships of fuzzy c-means with fuzzifier 2, highest at the
        nearest centre.

    References
    ----------
    .. [1] Bezdek, Pattern Recognition with Fuzzy Objective Function Algorithms, 1981.
    """
    squared_BC = torch.cdist(inputs, centroids, compute_mode="donot_use_mm_for_euclid_dist").square()
    inverse_BC = 1 / squared_BC.clamp_min(1e-12)
    return inverse_BC / inverse_BC.sum(dim=1, keepdim=True)
