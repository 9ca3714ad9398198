"""Difficulty scores from where a sample lies among the embeddings; they need no training.

`EmbeddingScoreFunction` is what they share. Shape suffixes: N rows, K neighbours.
"""

from typing import NamedTuple, Protocol

from torch import Tensor

from elfs.ops.distances import centre_distance
from elfs.ops.kmeans import nearest_centroid

__all__ = [
    "EMBEDDING_SCORES",
    "EmbeddingScoreFunction",
    "Geometry",
    "density",
    "prototypicality",
    "typicality",
]


class Geometry(NamedTuple):
    """Where some samples lie.

    Attributes
    ----------
    embeddings : Tensor of shape (n_rows, n_dims), floating
        Embeddings; of length 1 (``elfs.ops.distances.unit_rows``) where the centres are those of such.
    similarity : Tensor of shape (n_rows, n_neighbors), float32
        Cosine to each sample's nearest neighbours, most similar first, the sample itself left out.
    prototypes : Tensor of shape (n_centres, n_dims), float32
        Centres of k-means.
    """

    embeddings: Tensor
    similarity: Tensor
    prototypes: Tensor


class EmbeddingScoreFunction(Protocol):
    """What every score of the embeddings keeps; its own docstring says what it needs, its range and direction."""

    def __call__(self, geometry: Geometry, /) -> Tensor:
        """Return one number a sample.

        Parameters
        ----------
        geometry : Geometry
            Where the samples lie.

        Returns
        -------
        Tensor of shape (n_rows,), float32
            Of each sample by its own row alone, so that the rows can come block by block; NaN where its embedding or
            neighbours are NaN.
        """


TYPICALITY_NEIGHBORS = 20
"""Neighbours that typicality looks at; all, where there are fewer."""

DUPLICATE_DISTANCE = 1e-5
"""Added to the mean distance to the neighbours, so that exact copies have a typicality: 1e5."""


def density(geometry: Geometry) -> Tensor:
    """Return the mean cosine to all neighbours. Lower = harder.

    Needs ``similarity``. In [-1, 1].
    """
    return geometry.similarity.float().mean(dim=1)


def prototypicality(geometry: Geometry) -> Tensor:
    """Return the Euclidean distance to the own prototype: the nearest centre of k-means. Higher = harder.

    Needs ``embeddings`` and ``prototypes``. In [0, 2] for embeddings of length 1.

    References
    ----------
    .. [1] Sorscher et al., NeurIPS 2022, https://arxiv.org/abs/2206.14486.
    .. [2] github.com/eltsai/elfs@089444b, ``core/utils/misc.py`` (MIT).
    """
    own_N = nearest_centroid(geometry.embeddings, geometry.prototypes)[0]
    return centre_distance(geometry.embeddings, geometry.prototypes, own_N)


def typicality(geometry: Geometry) -> Tensor:
    """Return the inverse of the mean distance to the 20 nearest neighbours. Lower = harder.

    Needs ``similarity``, of which the first 20 neighbours count. In [0.49, 1e5]: ``1 / (mean + 1e-5)`` with the
    Euclidean distance ``sqrt(2 - 2 * cosine)`` of unit vectors.

    Notes
    -----
    The paper looks for the neighbours inside a sample's cluster, here they come from the whole pool.

    References
    ----------
    .. [1] Hacohen et al., ICML 2022, https://arxiv.org/abs/2202.02794.
    """
    cosine_NK = geometry.similarity[:, :TYPICALITY_NEIGHBORS].float()
    return 1 / ((2 - 2 * cosine_NK).clamp_min(0).sqrt().mean(dim=1) + DUPLICATE_DISTANCE)


EMBEDDING_SCORES: dict[str, EmbeddingScoreFunction] = {
    "density": density,
    "prototypicality": prototypicality,
    "typicality": typicality,
}
"""Every score of the embeddings by its key."""
