"""What more annotations are expected to bring, by what those that there are have brought. Axis: A annotated images."""

import numpy as np
import torch
from torch import Tensor

from elfs.annotations.groups import kept_groups
from elfs.annotations.kept import Annotations, kept_annotations
from elfs.data.samples import SampleTable
from elfs.ops.annotation_curve import accuracy_by_number
from elfs.ops.folds import seen_elsewhere
from elfs.ops.learning_curve import LEAST_POINTS, expected_gain
from elfs.ops.linear_classifier import cross_validated
from elfs.pipeline.plan_facts import CurvePoint, GainFacts, MoreFacts
from elfs.train.annotated import annotated_folds
from elfs.train.features import EmbeddingRows, Features, centring
from elfs.train.seeding import generator
from elfs.workspace.workspace import Workspace

__all__ = ["MORE", "gain_of_more"]

MORE = 100
"""Annotations of which it is said what they are expected to bring."""

_ENOUGH_HELD_OUT = 20


def gain_of_more(workspace: Workspace, table: SampleTable, seed: int) -> MoreFacts | None:
    """Return what the next annotations are expected to bring a linear classifier on the embeddings.

    Parameters
    ----------
    workspace : Workspace
        With embeddings and annotations.
    table : SampleTable
        Its samples.
    seed : int
        Deals the folds and draws the parts.

    Returns
    -------
    MoreFacts or None
        Judged by a test set where 20 or more images of one are annotated, else by cross-validation over images whose
        class has another one; without a gain where there are fewer than four points. None where nothing is annotated.
    """
    kept = kept_annotations(workspace)
    rows_A, classes_A = kept.rows(table, held_out=False)
    if not len(rows_A):
        return None
    used, labels = np.unique(classes_A, return_inverse=True)
    tests, true = _test_set(kept, table, used.tolist())
    by_test_set = len(tests) >= _ENOUGH_HELD_OUT
    judged_by = "test set" if by_test_set else "cross-validation"
    if len(used) < 2:
        return MoreFacts(len(rows_A), len(used), MORE, judged_by, gain=None, points=())
    embeddings = workspace.tensors("embeddings")["embeddings"]
    inputs = _inputs(embeddings, table, np.concatenate([rows_A, tests]) if by_test_set else rows_A)
    labels_A = torch.from_numpy(labels)
    groups = kept_groups(workspace, table)
    together = None if groups is None else groups.of_rows(rows_A)
    folds_A = annotated_folds(labels_A, together, generator(seed, "annotated-folds"))
    penalty = cross_validated(inputs[: len(labels_A)], labels_A, len(used), folds_A).penalty
    splits = [(torch.arange(len(labels_A)), torch.arange(len(labels_A), len(inputs)))]
    if by_test_set:
        labels_A = torch.cat([labels_A, torch.from_numpy(true)])
    else:
        judged_A, folds = seen_elsewhere(labels_A, folds_A), folds_A.unique().tolist()
        splits = [(_where(folds_A != fold), _where((folds_A == fold) & judged_A)) for fold in folds]
    points = accuracy_by_number(inputs, labels_A, splits, penalty, generator(seed, "annotation-curve"))
    rounded = tuple(CurvePoint(point.number, round(point.accuracy, 6), round(point.error, 6)) for point in points)
    gain = None
    if len(points) >= LEAST_POINTS:
        numbers, accuracies, errors = zip(*points, strict=True)
        draws = generator(seed, "learning curve")
        found = expected_gain(numbers, accuracies, errors, MORE, draws, now=len(rows_A))
        gain = None if found is None else GainFacts(*(round(value, 6) for value in found))
    return MoreFacts(len(rows_A), len(used), MORE, judged_by, gain, rounded)


def _where(mask: Tensor) -> Tensor:
    return torch.nonzero(mask).flatten()


def _test_set(kept: Annotations, table: SampleTable, used: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the annotated rows of test sets, and the place of their class in `used`, or one beyond the last."""
    rows, classes = kept.rows(table, held_out=True)
    place = {number: position for position, number in enumerate(used)}
    return rows, np.array([place.get(number, len(used)) for number in classes.tolist()], dtype=np.int64)


def _inputs(embeddings: EmbeddingRows, table: SampleTable, rows: np.ndarray) -> Tensor:
    mean, inverse = centring(embeddings, np.flatnonzero(table.eligible()))
    cpu = torch.device("cpu")
    features = Features(embeddings, rows, cpu, in_memory=False, mean=mean, inverse_deviation=inverse)
    return features.take(torch.arange(len(rows)))
