"""Clusters and annotations to one class a sample: what people said of a few images says more than any cluster.

Shape suffixes: N rows of the workspace, K neighbours, A annotated rows, D features, C classes, B rows of a block.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from elfs.annotations.groups import Groups
from elfs.annotations.kept import Annotations
from elfs.data.samples import SampleTable
from elfs.ops.folds import seen_elsewhere
from elfs.ops.linear_classifier import cross_validated, fit_linear_classifier
from elfs.ops.propagation import propagate_labels
from elfs.ops.wrong_share import wrong_share
from elfs.train.annotated import annotated_folds
from elfs.train.features import Features, centring
from elfs.train.seeding import generator
from elfs.workspace.workspace import Workspace

__all__ = ["Learned", "learn_classes"]

LINEAR, PROPAGATION = "linear", "propagation"

_BLOCK_ROWS = 16_384
_SHARPNESS = 4
"""Power of the cosine that weighs a neighbour: cosines of one encoder lie close together."""

_MOST_PROPAGATED = 50_000_000
"""Rows times classes above which propagation is not tried."""

_ENOUGH_HELD_OUT = 20
"""Annotated images of test sets from which on they alone tell how many classes are wrong."""


@dataclass(frozen=True, eq=False)
class Learned:
    """A class for every sample.

    Attributes
    ----------
    classes : ndarray of shape (n_rows,), int64
        Position in `names`; -1 where there was no cluster either.
    confidence : ndarray of shape (n_rows,), float32
        How sure it is, in [0, 1]; 1 for annotated images, NaN where there is no class.
    names : tuple of str
        The classes that people named, sorted, then the clusters that were kept.
    facts : dict
        Plain JSON values: how they were learned, and how many are wrong as far as it is known.
    """

    classes: NDArray[np.int64]
    confidence: NDArray[np.float32]
    names: tuple[str, ...]
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Known:
    """What there is to learn from."""

    rows: NDArray[np.int64]
    classes: Tensor
    num_classes: int
    clusters: NDArray[np.int64]
    num_clusters: int
    groups: NDArray[np.int64] | None

    def seeds(self, num_rows: int, *, but: Tensor | None = None) -> Tensor:
        """Return class by row of the workspace, -1 where nobody said one or it is to be guessed."""
        seeds_N = torch.full((num_rows,), -1, dtype=torch.int64)
        kept = torch.ones(len(self.rows), dtype=torch.bool) if but is None else ~but
        seeds_N[torch.from_numpy(self.rows)[kept]] = self.classes[kept]
        return seeds_N


def learn_classes(
    workspace: Workspace,
    table: SampleTable,
    annotations: Annotations,
    clusters: tuple[NDArray[np.int64], NDArray[np.float32]],
    groups: Groups | None = None,
) -> Learned | None:
    """Name every sample, from what people said about some of them.

    Parameters
    ----------
    workspace : Workspace
        With embeddings and neighbours.
    table : SampleTable
        The samples.
    annotations : Annotations
        What people said. Images of test sets are not learned from; where there are enough of them, they tell how many
        classes are wrong.
    clusters : tuple of ndarray, each of shape (n_rows,)
        Cluster of each sample, int64, -1 for none, and how clearly it belongs to it, float32.
    groups : Groups or None
        Which images belong together, and are not split by cross-validation.

    Returns
    -------
    Learned or None
        By the linear classifier on embeddings and clusters, or by propagation over the graph of neighbours, whichever
        names more annotated images rightly that it has not seen. Annotated images have the class that they were given;
        images from which no path of neighbours leads to an annotated one keep their cluster. None where people named
        fewer than two classes.
    """
    rows_A, classes_A = annotations.rows(table, held_out=False)
    used, classes_A = np.unique(classes_A, return_inverse=True)
    if len(used) < 2:
        return None
    cluster_N, sure_N = clusters
    group_A = None if groups is None else groups.of_rows(rows_A)
    known = _Known(rows_A, torch.from_numpy(classes_A), len(used), cluster_N, int(cluster_N.max()) + 1, group_A)
    graph = _graph(workspace)
    named = [annotations.names[position] for position in used.tolist()]
    linear = _Linear.of(workspace, table, known)
    rivals = {LINEAR: linear.held_out}
    if len(table) * len(used) <= _MOST_PROPAGATED:
        rivals[PROPAGATION] = _held_out_propagation(graph, known, linear.folds)
    judged_A = seen_elsewhere(known.classes, linear.folds)
    right = {name: int((found_A == known.classes)[judged_A].sum()) for name, found_A in rivals.items()}
    best = max(right, key=lambda name: (right[name], name == LINEAR))
    class_N, confidence_N = linear.everywhere()
    if best == PROPAGATION:
        spread_N, share_N = (found.numpy() for found in propagate_labels(*graph, known.seeds(len(table)), len(used)))
        reached = spread_N >= 0
        class_N[reached], confidence_N[reached] = spread_N[reached], share_N[reached]
    class_N[rows_A], confidence_N[rows_A] = classes_A, 1
    kept = _cut_off(graph, table, known)
    numbers, position = np.unique(cluster_N[kept], return_inverse=True)
    class_N[kept], confidence_N[kept] = len(used) + position, sure_N[kept]
    facts: dict[str, Any] = {"annotated": len(rows_A), "learned_by": best, "classes": len(used)}
    facts |= {"kept_clusters": len(numbers), "cross_validated": _shares(right, int(judged_A.sum()))}
    facts |= _estimate(table, annotations, named, class_N, int(judged_A.sum()) - right[best], int(judged_A.sum()))
    return Learned(class_N, confidence_N, (*named, *(f"cluster {number}" for number in numbers.tolist())), facts)


def _graph(workspace: Workspace) -> tuple[Tensor, Tensor]:
    """Return the neighbours of each row, and what each of them weighs."""
    arrays = workspace.arrays("neighbors")
    similarity = torch.from_numpy(np.array(arrays["similarity"], np.float32))
    return torch.from_numpy(np.array(arrays["indices"])), similarity.nan_to_num_(0).clamp_min_(0).pow_(_SHARPNESS)


@dataclass(frozen=True, eq=False)
class _Linear:
    """The classifier on embeddings and clusters, and what others like it say of annotated rows that they don't know."""

    features: Features
    rows: NDArray[np.int64]
    known: _Known
    penalty: float
    temperature: float
    held_out: Tensor
    folds: Tensor

    @classmethod
    def of(cls, workspace: Workspace, table: SampleTable, known: _Known) -> "_Linear":
        rows = np.flatnonzero(table.usable() & (known.clusters >= 0))
        embeddings = workspace.tensors("embeddings")["embeddings"]
        mean, scale = centring(embeddings, np.flatnonzero(table.eligible()))
        cpu = torch.device("cpu")
        features = Features(embeddings, rows, cpu, in_memory=False, mean=mean, inverse_deviation=scale)
        folds_A = annotated_folds(known.classes, known.groups, generator(0, "annotated folds"))
        inputs_AD = _inputs(features, torch.from_numpy(np.searchsorted(rows, known.rows)), rows, known)
        found = cross_validated(inputs_AD, known.classes, known.num_classes, folds_A)
        named_A = found.probabilities.argmax(dim=1)
        return cls(features, rows, known, found.penalty, found.temperature, named_A, folds_A)

    def everywhere(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return class and confidence of every row of the workspace."""
        known = self.known
        positions_A = torch.from_numpy(np.searchsorted(self.rows, known.rows))
        classifier = fit_linear_classifier(
            _inputs(self.features, positions_A, self.rows, known),
            known.classes,
            known.num_classes,
            penalty=self.penalty,
            temperature=self.temperature,
        )
        class_N = np.full(len(known.clusters), -1, np.int64)
        confidence_N = np.full(len(known.clusters), np.nan, np.float32)
        for positions_B in torch.arange(len(self.rows)).split(_BLOCK_ROWS):
            best = classifier.probabilities(_inputs(self.features, positions_B, self.rows, known)).max(dim=1)
            block = self.rows[positions_B.numpy()]
            class_N[block], confidence_N[block] = best.indices.numpy(), best.values.numpy()
        return class_N, confidence_N


def _inputs(features: Features, positions_B: Tensor, rows: NDArray[np.int64], known: _Known) -> Tensor:
    """Return embeddings, and beside them the cluster, which weighs as much as all of them."""
    inputs_BD = features.take(positions_B)
    cluster_B = torch.from_numpy(known.clusters[rows[positions_B.numpy()]])
    return torch.cat([inputs_BD, F.one_hot(cluster_B, known.num_clusters) * features.dim**0.5], dim=1)


def _held_out_propagation(graph: tuple[Tensor, Tensor], known: _Known, folds_A: Tensor) -> Tensor:
    """Return the class that reaches each annotated row from those of the other folds."""
    found_A = torch.full_like(known.classes, -1)
    num_rows = len(known.clusters)
    for fold in folds_A.unique().tolist():
        held_A = folds_A == fold
        spread_N, _ = propagate_labels(*graph, known.seeds(num_rows, but=held_A), known.num_classes)
        found_A[held_A] = spread_N[torch.from_numpy(known.rows)[held_A]]
    return found_A


def _cut_off(graph: tuple[Tensor, Tensor], table: SampleTable, known: _Known) -> NDArray[np.int64]:
    """Return the rows of the pool from which no path of neighbours leads to an annotated one."""
    seeds_N = known.seeds(len(table)).clamp_max(0)
    reached_N = propagate_labels(*graph, seeds_N, 1)[0].numpy() >= 0
    return np.flatnonzero(table.eligible() & ~reached_N & (known.clusters >= 0))


def _shares(right: dict[str, int], num_judged: int) -> dict[str, float]:
    return {name: round(count / num_judged, 6) for name, count in right.items()} if num_judged else {}


def _estimate(
    table: SampleTable,
    annotations: Annotations,
    named: list[str],
    class_N: NDArray[np.int64],
    num_wrong: int,
    num_judged: int,
) -> dict[str, Any]:
    """Return how many classes are wrong: by the test sets where they are annotated, else by cross-validation."""
    rows, classes = annotations.rows(table, held_out=True)
    source = "cross-validation"
    if len(rows) >= _ENOUGH_HELD_OUT:
        index = {name: position for position, name in enumerate(named)}
        true = np.array([index.get(annotations.names[position], -1) for position in classes.tolist()])
        num_wrong, num_judged, source = int((class_N[rows] != true).sum()), len(rows), "test set"
    if not num_judged:
        return {"estimated_wrong": None, "estimated_wrong_interval": None, "estimated_from": None, "judged": 0}
    share = wrong_share(num_wrong, num_judged)
    return {
        "estimated_wrong": round(share.estimate, 6),
        "estimated_wrong_interval": [round(share.low, 6), round(share.high, 6)],
        "estimated_from": source,
        "judged": num_judged,
    }
