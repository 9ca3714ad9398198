"""What annotations tell a selector about the rest of the pool. Axes: M rows of the pool, C classes."""

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.catalog import SELECTORS
from elfs.config import SelectConfig
from elfs.ops.selection import Pool
from elfs.train.annotated import Annotated, AnnotatedClassifier
from elfs.train.features import EmbeddingRows

__all__ = ["informed", "is_informed", "with_annotated_settled"]

_LEAST_CLASSES = 2


def is_informed(method: str) -> bool:
    """Return whether a method makes something of annotations where there are any.

    Parameters
    ----------
    method : str
        A key of ``catalog.SELECTORS``.

    Returns
    -------
    bool
        Also for those that cannot do without.
    """
    return SELECTORS[method].instead is not None or method in {"auto", "badge"}


def with_annotated_settled(pool: Pool, rows: NDArray[np.int64], annotated: Annotated) -> Pool:
    """Return the pool in which annotated rows are settled: they are not selected again, and what they cover is covered.

    Parameters
    ----------
    pool : Pool
        In canonical order.
    rows : ndarray of shape (n_rows,), int64
        Row of the workspace of each row of the pool.
    annotated : Annotated
        What people have named; images outside the pool change nothing.

    Returns
    -------
    Pool
        What was settled before still is.
    """
    settled_M = ~pool.candidates() | torch.from_numpy(np.isin(rows, annotated.rows))
    return dataclasses.replace(pool, settled=settled_M)


def informed(
    pool: Pool, rows: NDArray[np.int64], config: SelectConfig, annotated: Annotated, embeddings: EmbeddingRows
) -> Pool:
    """Return the pool with what its method makes of the annotations.

    Parameters
    ----------
    pool : Pool
        In canonical order.
    rows : ndarray of shape (n_rows,), int64
        Row of the workspace of each row of the pool.
    config : SelectConfig
        Method, one that `is_informed`; seed.
    annotated : Annotated
        What a classifier is trained on; images outside the pool, such as copies, count too.
    embeddings : EmbeddingRows
        Of the workspace.

    Returns
    -------
    Pool
        With class probabilities, what dropout changes, gradients, or how unsure each row is. For auto as it was where
        fewer than two classes have an image: there is nothing to be unsure of.
    """
    fields: dict[str, Tensor] = {}
    if config.method == "auto" and len(np.unique(annotated.classes)) < _LEAST_CLASSES:
        return pool
    trained = AnnotatedClassifier.fit(embeddings, rows, annotated, config.seed)
    if config.method == "dropquery":
        fields["disagreement"] = trained.disagreement(rows, config.seed)
    elif config.method == "badge":
        errors_MC = trained.probabilities(rows)
        named_M = errors_MC.argmax(dim=1, keepdim=True)
        fields["errors"] = errors_MC.scatter_add_(1, named_M, torch.full(named_M.shape, -1.0))
        fields["features"] = trained.features(rows).take(torch.arange(len(rows)))
    elif config.method == "auto":
        fields["unsure"] = trained.unsureness(rows)
    else:
        fields["probabilities"] = trained.probabilities(rows)
    return dataclasses.replace(pool, scores=pool.scores, **fields)
