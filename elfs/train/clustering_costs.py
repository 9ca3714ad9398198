"""What clustering takes on a core that multiplies 99 GFLOP in a second, from measured rates (benchmarks/RESULTS.md).

N images, D dimensions, C clusters.
"""

from elfs.train.clustering import HeadSettings
from elfs.train.head_choice import SAMPLE_ROWS

__all__ = ["GFLOP_PER_SECOND", "graph_seconds", "heads_seconds", "judging_seconds", "kmeans_seconds"]

GFLOP_PER_SECOND = 99.0
"""Of the core that all rates are those of."""

_GRAPH_SECONDS, _GRAPH_IMAGE_SECONDS, _SMOOTHING_SECONDS = 3.0, 5e-4, 0.9e-6
"""Of the graph of neighbours: at least, each image, and each number of the embeddings, which are smoothed."""

_STARTS_SECONDS, _REFINING_SECONDS, _MERGING_SECONDS = 5.5e-8, 3.5e-8, 8.5e-7
"""Of the graph: k-means of its starts, by N D C; moving images between clusters, by N C^2; merging clusters, by C^3."""

_PAIR_SECONDS, _PAIR_ROW_SECONDS, _PAIR_CLUSTER_SECONDS, _PAIR_MATCH_SECONDS = 40e-6, 8e-9, 1.5e-6, 1.5e-8
"""Of asking one head what it thinks of another, and what each image of the sample, each cluster and each pair of
clusters add."""

_CALIBRATION_SECONDS, _CALIBRATION_CLUSTER_SECONDS = 6e-6, 1e-7
"""Of an image of the sample whose confidence by one head is calibrated, and what each cluster adds."""

_KMEANS_SECONDS, _KMEANS_CLUSTERS = 0.9e-6, 150
"""Of k-means and of the one that it is compared with, a number of the embeddings; so many clusters double it."""

_HEADS_SECONDS = 1.5
"""Of TEMI however few its steps, without the k-means that calibrates it."""


def graph_seconds(num_images: int, dims: int, clusters: int) -> float:
    """Return what clustering on the graph of neighbours takes.

    Parameters
    ----------
    num_images, dims, clusters : int
        N, D and C.

    Returns
    -------
    float
        CPU seconds.
    """
    images = num_images * (_GRAPH_IMAGE_SECONDS + _SMOOTHING_SECONDS * dims)
    starts = num_images * clusters * (_STARTS_SECONDS * dims + _REFINING_SECONDS * clusters)
    return _GRAPH_SECONDS + images + starts + _MERGING_SECONDS * clusters**3


def kmeans_seconds(num_images: int, dims: int, clusters: int) -> float:
    """Return what k-means takes, and the one that it is compared with.

    Parameters
    ----------
    num_images, dims, clusters : int
        N, D and C.

    Returns
    -------
    float
        CPU seconds.
    """
    return _KMEANS_SECONDS * num_images * dims * (1 + clusters / _KMEANS_CLUSTERS)


def judging_seconds(heads: int, num_images: int, clusters: int) -> float:
    """Return what it takes to ask every head about every other one, and to calibrate each.

    Parameters
    ----------
    heads, num_images, clusters : int
        Their number, N and C.

    Returns
    -------
    float
        CPU seconds.
    """
    rows = min(num_images, SAMPLE_ROWS)
    pair = _PAIR_SECONDS + _PAIR_ROW_SECONDS * rows + _PAIR_CLUSTER_SECONDS * clusters
    pair += _PAIR_MATCH_SECONDS * clusters**2
    own = rows * (_CALIBRATION_SECONDS + _CALIBRATION_CLUSTER_SECONDS * clusters)
    return heads * (own + (heads - 1) * pair)


def heads_seconds(settings: HeadSettings, num_images: int, dims: int, epochs: float) -> float:
    """Return what TEMI takes.

    Parameters
    ----------
    settings : HeadSettings
        Heads, their widths and clusters.
    num_images, dims : int
        N and D.
    epochs : float
        Passes over the images.

    Returns
    -------
    float
        CPU seconds.
    """
    values = settings.hidden * dims + settings.bottleneck * (settings.hidden + settings.clusters)
    steps = 16.0 * settings.heads * values * epochs * num_images / GFLOP_PER_SECOND / 1e9
    judged = judging_seconds(settings.heads, num_images, settings.clusters)
    return _HEADS_SECONDS + kmeans_seconds(num_images, dims, settings.clusters) + steps + judged
