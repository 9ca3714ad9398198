"""What speaks for the pseudo-labels of a workspace and what against them, without a true label."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.ops.selection.trust import neighbor_trust
from elfs.pipeline.facts import TrustFacts
from elfs.workspace.tensors import RowArray
from elfs.workspace.workspace import Workspace

__all__ = ["witnesses"]

_BLOCK_ROWS = 65_536


def witnesses(
    workspace: Workspace,
    rows: NDArray[np.int64],
    pseudo_labels: Tensor | None,
    neighbors: np.ndarray | RowArray | None,
) -> dict[str, float]:
    """Return how far the pseudo-labels are to be believed, by whom; the least of them is the trust.

    Parameters
    ----------
    workspace : Workspace
        Its manifest says what the heads of the clustering and the proxy networks found.
    rows : ndarray of shape (n_rows,), int64
        Rows of the workspace, in any order.
    pseudo_labels : Tensor of shape (n_rows,), int64, or None
        Of each of them.
    neighbors : ndarray or RowArray of shape (n_all, n_neighbors), int32 or int64, or None
        Of all rows of the workspace; read a block at a time.

    Returns
    -------
    dict of str to float
        Of those that are there, each in [0, 1], higher = more to be believed, to 4 digits: ``neighbors``, how many of
        an image's nearest share its cluster (`neighbor_trust`); ``proxies``, how many pseudo-labels are what proxies
        predict that were not trained on them; ``heads``, how far the heads of the clustering agree. Where people have
        annotated, ``annotations`` alone: how many of what they said agrees with what was learned from the rest.
    """
    labels, proxies = _facts(workspace, "pseudo_labels"), _facts(workspace, "dynamics")
    if labels.estimated_wrong is not None:
        return {"annotations": round(1 - labels.estimated_wrong, 4)}
    found = {}
    if pseudo_labels is not None and neighbors is not None:
        labels_N = torch.full((len(neighbors),), -1, dtype=torch.int32)
        labels_N[torch.from_numpy(rows)] = pseudo_labels.int()
        found["neighbors"] = neighbor_trust(labels_N, _blocks(neighbors))
    found |= {} if proxies.estimated_wrong is None else {"proxies": 1 - proxies.estimated_wrong}
    found |= {} if labels.trust is None else {"heads": labels.trust}
    return {name: round(min(1.0, max(0.0, value)), 4) for name, value in found.items()}


def _blocks(neighbors: np.ndarray | RowArray) -> Iterator[Tensor]:
    """Yield the neighbours of some rows after the other."""
    for start in range(0, len(neighbors), _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, len(neighbors))
        block = neighbors.read(start, stop) if isinstance(neighbors, RowArray) else np.array(neighbors[start:stop])
        yield torch.from_numpy(block)


def _facts(workspace: Workspace, artifact: str) -> TrustFacts:
    return workspace.metadata(artifact, TrustFacts) if workspace.has(artifact) else TrustFacts.of({})
