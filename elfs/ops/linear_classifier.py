"""A linear classifier on features, for a few annotated rows: regularised, and sure of itself as far as it is right.

Shape suffixes: N rows, D features, C classes.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from elfs.ops.optimizers import eager

__all__ = ["CrossValidation", "LinearClassifier", "cross_validated", "dropout_disagreement", "fit_linear_classifier"]

_PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4)
"""Weights of the squared length that are tried, for features of standard deviation 1; the largest first."""

_TEMPERATURES = tuple(2.0 ** (step / 8) for step in range(-24, 25))
"""From an eighth to eight times."""

_DROPOUT, _DROPOUT_PASSES = 0.75, 3
_MOST_STEPS = 200
_BLOCK_ROWS = 65_536
_SEARCH_ROWS = 16_384
"""Rows whose logits a search holds at once, in float64 and with their gradient."""


class LinearClassifier(NamedTuple):
    """Class probabilities as a softmax of linear functions of the features.

    Attributes
    ----------
    weights : Tensor of shape (n_classes, n_features), float64
        Of each class.
    bias : Tensor of shape (n_classes,), float64
        Of each class; minus infinity for one that is never named.
    temperature : float
        Above 0; logits are divided by it, so that a probability is how often the classifier is right.
    """

    weights: Tensor
    bias: Tensor
    temperature: float

    def probabilities(self, features: Tensor) -> Tensor:
        """Return how likely each row belongs to each class.

        Parameters
        ----------
        features : Tensor of shape (n_rows, n_features), floating
            On the CPU; looked at in blocks of rows.

        Returns
        -------
        Tensor of shape (n_rows, n_classes), float32
            In [0, 1], each row summing to 1.
        """
        weights_CD, bias_C = self.weights.float(), self.bias.float()
        parts = [
            ((block.float() @ weights_CD.T + bias_C) / self.temperature).softmax(dim=1)
            for block in features.split(_BLOCK_ROWS)
        ]
        return torch.cat(parts)


def dropout_disagreement(classifier: LinearClassifier, features: Tensor, generator: torch.Generator) -> Tensor:
    """Return how often a row's class changes when three of four features are dropped.

    Parameters
    ----------
    classifier : LinearClassifier
        Of the features.
    features : Tensor of shape (n_rows, n_features), floating
        On the CPU; looked at in blocks of rows.
    generator : torch.Generator
        Of what is dropped, row by row.

    Returns
    -------
    Tensor of shape (n_rows,), float32
        Share of three passes that name another class than a pass without dropout, in [0, 1], higher = less sure.

    References
    ----------
    .. [1] Gupte et al., TMLR 2024 (DropQuery), https://arxiv.org/abs/2401.14555.
    """
    weights_DC, bias_C = classifier.weights.float().T, classifier.bias.float()
    parts = []
    for block in features.split(_BLOCK_ROWS):
        inputs_BD = block.float()
        plain_B = (inputs_BD @ weights_DC + bias_C).argmax(dim=1)
        differs_B = torch.zeros(len(block))
        for _ in range(_DROPOUT_PASSES):
            kept_BD = torch.rand(inputs_BD.shape, generator=generator) >= _DROPOUT
            logits_BC = (inputs_BD * kept_BD / (1 - _DROPOUT)) @ weights_DC + bias_C
            differs_B += logits_BC.argmax(dim=1) != plain_B
        parts.append(differs_B / _DROPOUT_PASSES)
    return torch.cat(parts)


class CrossValidation(NamedTuple):
    """What classifiers say of rows that they were not trained on.

    Attributes
    ----------
    penalty : float
        Weight of the squared length with the lowest cross-entropy on held-out rows.
    temperature : float
        That with the lowest cross-entropy on held-out rows.
    probabilities : Tensor of shape (n_rows, n_classes), float32
        Of each row, by the classifier that was trained on the other folds; in [0, 1].
    """

    penalty: float
    temperature: float
    probabilities: Tensor


def cross_validated(features: Tensor, labels: Tensor, num_classes: int, folds: Tensor) -> CrossValidation:
    """Choose how strongly to regularise, and say of each row what a classifier makes of it that has not seen it.

    Parameters
    ----------
    features : Tensor of shape (n_rows, n_features), floating
        Of standard deviation 1 or so.
    labels : Tensor of shape (n_rows,), int64
        In ``[0, num_classes)``; not every class needs a row.
    num_classes : int
        Number of classes, at least 1.
    folds : Tensor of shape (n_rows,), int64
        Fold of each row, such as `elfs.ops.folds.deal_folds` deals; at least two different ones.

    Returns
    -------
    CrossValidation
        The same for equal arguments.

    Raises
    ------
    ValueError
        If there are fewer than two folds.
    """
    numbers = folds.unique().tolist()
    if len(numbers) < 2:
        raise ValueError(f"there is {len(numbers)} fold, expected at least 2.")
    inputs_ND = _with_ones(features)
    logits_PNC = torch.empty(len(_PENALTIES), len(labels), num_classes, dtype=torch.float64)
    for fold in numbers:
        held_N = folds == fold
        found = _path(inputs_ND[~held_N], labels[~held_N], num_classes, _PENALTIES)
        for logits_NC, parameters_CD in zip(logits_PNC, found, strict=True):
            logits_NC[held_N] = inputs_ND[held_N] @ parameters_CD.T
    best: tuple[float, int, float] | None = None
    for place, logits_NC in enumerate(logits_PNC):
        losses = [float(F.cross_entropy(logits_NC / t, labels)) for t in _TEMPERATURES]
        least = min(losses)
        if best is None or least < best[0]:
            best = (least, place, _TEMPERATURES[losses.index(least)])
    assert best is not None
    _, place, temperature = best
    probabilities_NC = (logits_PNC[place] / temperature).softmax(dim=1).float()
    return CrossValidation(_PENALTIES[place], temperature, probabilities_NC)


def fit_linear_classifier(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    penalty: float,
    temperature: float = 1.0,
    most_steps: int = _MOST_STEPS,
    advance: Callable[[], None] = lambda: None,
) -> LinearClassifier:
    """Return the classifier that minimises mean cross-entropy plus half the penalty times the weights' squared length.

    Parameters
    ----------
    features : Tensor of shape (n_rows, n_features), floating
        At least one row, of standard deviation 1 or so; on any device. Taken to float64 in blocks of rows.
    labels : Tensor of shape (n_rows,), int64
        In ``[0, num_classes)``.
    num_classes : int
        Number of classes, at least 1.
    penalty : float
        Above 0, so that there is one minimum; the biases count among the weights. `cross_validated` chooses it.
    temperature : float, default 1.0
        Of the result; `cross_validated` chooses it.
    most_steps : int, default 200
        How many iterations of L-BFGS are made at most, with 5/4 times as many looks at the loss.
    advance : Callable, optional
        Called after each look at the loss.

    Returns
    -------
    LinearClassifier
        The same for equal arguments: L-BFGS in float64, from zero. On the device of the features.
    """
    parameters_CD = _path(_with_ones(features), labels, num_classes, [penalty], most_steps, advance)[0]
    return LinearClassifier(parameters_CD[:, :-1], parameters_CD[:, -1], temperature)


def _with_ones(features: Tensor) -> Tensor:
    few = len(features) <= _SEARCH_ROWS
    return F.pad(features.double() if few else features, (0, 1), value=1.0)


def _path(
    inputs_ND: Tensor,
    labels_N: Tensor,
    num_classes: int,
    penalties: Sequence[float],
    most_steps: int = _MOST_STEPS,
    advance: Callable[[], None] = lambda: None,
) -> list[Tensor]:
    """Return the parameters for each penalty, each search starting where the one before it ended."""
    shape, device = (num_classes, inputs_ND.shape[1]), inputs_ND.device
    parameters_CD = torch.zeros(shape, dtype=torch.float64, device=device, requires_grad=True)
    blocks = list(zip(inputs_ND.split(_SEARCH_ROWS), labels_N.split(_SEARCH_ROWS), strict=True))
    found = []
    for penalty in penalties:
        search = eager(torch.optim.LBFGS)(
            [parameters_CD],
            max_iter=most_steps,
            tolerance_grad=1e-6,
            tolerance_change=1e-10,
            line_search_fn="strong_wolfe",
        )

        def loss(search: torch.optim.LBFGS = search, penalty: float = penalty) -> Tensor:
            search.zero_grad()
            value = penalty / 2 * parameters_CD.square().sum()
            value.backward()
            value = value.detach()
            for inputs_BD, labels_B in blocks:
                logits_BC = inputs_BD.double() @ parameters_CD.T
                part = F.cross_entropy(logits_BC, labels_B, reduction="sum") / len(labels_N)
                part.backward()
                value = value + part.detach()
            advance()
            return value

        search.step(loss)
        found.append(parameters_CD.detach().clone())
    return found
