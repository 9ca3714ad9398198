"""What a linear classifier on the embeddings makes of the pool, once a few images are annotated.

Shapes: M rows of the pool, A annotated rows, C classes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.annotations.groups import kept_groups
from elfs.annotations.kept import kept_annotations
from elfs.data.samples import SampleTable
from elfs.ops.folds import deal_folds
from elfs.ops.linear_classifier import (
    CrossValidation,
    LinearClassifier,
    cross_validated,
    dropout_disagreement,
    fit_linear_classifier,
)
from elfs.ops.selection.uncertainty import unsureness
from elfs.train.features import EmbeddingRows, Features, centring
from elfs.train.seeding import generator
from elfs.workspace.workspace import Workspace

__all__ = ["Annotated", "AnnotatedClassifier", "annotated_folds"]

_MOST_FOLDS = 5
_PLAIN_PENALTY = 0.1
_BLOCK_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class Annotated:
    """Images of the pool whose class a person has said, and that may be learned from.

    Attributes
    ----------
    rows : ndarray of shape (n_annotated,), int64
        Rows of the workspace, ascending.
    classes : ndarray of shape (n_annotated,), int64
        Class of each, a position in `names`.
    names : tuple of str
        Of the classes; not every one needs an image here.
    groups : ndarray of shape (n_annotated,), int64, or None
        Numbers of the groups that cross-validation does not split; None: there are none.
    """

    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    names: tuple[str, ...]
    groups: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, workspace: Workspace, table: SampleTable, *, grouped: bool = False) -> "Annotated | None":
        """Return the annotations of a workspace.

        Parameters
        ----------
        workspace : Workspace
            Where they are.
        table : SampleTable
            Its samples.
        grouped : bool
            Whether to read the groups that the workspace keeps.

        Returns
        -------
        Annotated or None
            None where there are none that may be learned from: those of test sets may not.

        Raises
        ------
        CorruptArtifactError
            If their file is no longer what was written.
        """
        kept = kept_annotations(workspace)
        rows, classes = kept.rows(table, held_out=False)
        known = kept_groups(workspace, table) if grouped else None
        groups = None if known is None else known.of_rows(rows)
        return cls(rows, classes, kept.names, groups) if len(rows) else None


@dataclass(frozen=True, eq=False)
class AnnotatedClassifier:
    """A linear classifier on the centred embeddings, trained on the annotated rows.

    Attributes
    ----------
    classifier : LinearClassifier
        Regularised and calibrated by cross-validation.
    cross_validation : CrossValidation or None
        What it says of annotated rows that it has not seen; None where there is one of them.
    embeddings : EmbeddingRows
        Of the workspace.
    standards : tuple of Tensor
        See `elfs.train.features.centring`.
    """

    classifier: LinearClassifier
    cross_validation: CrossValidation | None
    embeddings: EmbeddingRows
    standards: tuple[Tensor, Tensor]

    @classmethod
    def fit(
        cls, embeddings: EmbeddingRows, pool: NDArray[np.int64], annotated: Annotated, seed: int
    ) -> "AnnotatedClassifier":
        """Train it.

        Parameters
        ----------
        embeddings : EmbeddingRows
            Of the workspace, shape (n_rows, n_dims).
        pool : ndarray of shape (n_pool,), int64
            Rows whose mean and deviation count.
        annotated : Annotated
            At least one image.
        seed : int
            Deals the folds of the cross-validation.

        Returns
        -------
        AnnotatedClassifier
            The same for equal arguments.
        """
        standards = centring(embeddings, pool)
        inputs_AD = _features(embeddings, annotated.rows, standards).take(torch.arange(len(annotated.rows)))
        present, labels = np.unique(annotated.classes, return_inverse=True)  # a class without an image is never named
        labels_A, num_present = torch.from_numpy(labels), len(present)
        found, penalty, temperature = None, _PLAIN_PENALTY, 1.0
        if len(labels_A) > 1:
            folds_A = annotated_folds(labels_A, annotated.groups, generator(seed, "annotated-folds"))
            found = cross_validated(inputs_AD, labels_A, num_present, folds_A)
            penalty, temperature = found.penalty, found.temperature
            found = found._replace(probabilities=_spread(found.probabilities.T, annotated, present, 0.0).T)
        trained = fit_linear_classifier(inputs_AD, labels_A, num_present, penalty=penalty, temperature=temperature)
        trained = trained._replace(
            weights=_spread(trained.weights, annotated, present, 0.0),
            bias=_spread(trained.bias, annotated, present, -torch.inf),
        )
        return cls(trained, found, embeddings, standards)

    def probabilities(self, rows: NDArray[np.int64]) -> Tensor:
        """Return how likely each row belongs to each class.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,), int64
            Rows of the workspace, read in blocks.

        Returns
        -------
        Tensor of shape (n_rows, n_classes), float32
            In [0, 1], each row summing to 1.
        """
        features = self.features(rows)
        blocks = torch.arange(len(rows)).split(_BLOCK_ROWS)
        return torch.cat([self.classifier.probabilities(features.take(block)) for block in blocks])

    def unsureness(self, rows: NDArray[np.int64]) -> Tensor:
        """Return how close the second class of each row comes to the first.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,), int64
            Rows of the workspace, read in blocks; no more than a block of probabilities is held.

        Returns
        -------
        Tensor of shape (n_rows,), float32
            As `elfs.ops.selection.uncertainty.unsureness` gives it, in [0, 1], higher = less sure.
        """
        features = self.features(rows)
        blocks = torch.arange(len(rows)).split(_BLOCK_ROWS)
        return torch.cat([unsureness(self.classifier.probabilities(features.take(block))) for block in blocks])

    def disagreement(self, rows: NDArray[np.int64], seed: int) -> Tensor:
        """Return how often the class of each row changes when most features are dropped.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,), int64
            Rows of the workspace, read in blocks; what is dropped belongs to a place among them.
        seed : int
            Of what is dropped.

        Returns
        -------
        Tensor of shape (n_rows,), float32
            As `elfs.ops.linear_classifier.dropout_disagreement` gives it.
        """
        features, draws = self.features(rows), generator(seed, "dropout")
        blocks = torch.arange(len(rows)).split(_BLOCK_ROWS)
        return torch.cat([dropout_disagreement(self.classifier, features.take(block), draws) for block in blocks])

    def features(self, rows: NDArray[np.int64]) -> Features:
        """Return what the classifier sees of some rows.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,), int64
            Rows of the workspace.

        Returns
        -------
        Features
            Read block by block as they are asked for.
        """
        return _features(self.embeddings, rows, self.standards)


def annotated_folds(labels: Tensor, groups: NDArray[np.int64] | None, draws: torch.Generator) -> Tensor:
    """Deal annotated rows out to the folds of a cross-validation.

    Parameters
    ----------
    labels : Tensor of shape (n_annotated,), int64
        Class of each, at least two rows.
    groups : ndarray of shape (n_annotated,), int64, or None
        Groups, none of which is split. Where all rows are of one, they count by themselves.
    draws : torch.Generator
        Decides who goes where.

    Returns
    -------
    Tensor of shape (n_annotated,), int64
        Five folds; fewer where there are fewer rows or groups.
    """
    num_groups = 1 if groups is None else len(np.unique(groups))
    if groups is None or num_groups == 1:
        return deal_folds(labels, min(_MOST_FOLDS, len(labels)), draws)
    return deal_folds(labels, min(_MOST_FOLDS, num_groups), draws, torch.from_numpy(groups))


def _features(embeddings: EmbeddingRows, rows: NDArray[np.int64], standards: tuple[Tensor, Tensor]) -> Features:
    mean_D, inverse_D = standards
    return Features(embeddings, rows, torch.device("cpu"), in_memory=False, mean=mean_D, inverse_deviation=inverse_D)


def _spread(values: Tensor, annotated: Annotated, present: NDArray[np.int64], absent: float) -> Tensor:
    """Lay the values of the classes that are there out over all classes."""
    spread = torch.full((len(annotated.names), *values.shape[1:]), absent, dtype=values.dtype)
    spread[torch.from_numpy(present)] = values
    return spread
