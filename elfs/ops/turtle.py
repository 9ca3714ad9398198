"""TURTLE: labels that linear classifiers on frozen embeddings find easy, by one or several encoders.

Shape suffixes: B rows of a batch, D dimensions of an encoder, R runs side by side, C clusters. The weights of all runs
are one matrix: columns ``r * C`` to ``(r + 1) * C`` belong to run r. Nothing here keeps state or draws numbers.
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["fitted_heads", "log_labels", "soft_labels", "turtle_loss", "unit_parts"]


def unit_parts(embeddings: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """Return the embeddings of each encoder, scaled to length 1.

    Parameters
    ----------
    embeddings : Tensor of shape (n_rows, n_dims), float32
        Embeddings of all encoders side by side.
    widths : sequence of int
        Width of each; they sum to ``n_dims``.

    Returns
    -------
    list of Tensor of shape (n_rows, width), float32
        Rows of length 1; a row of zeros stays so.
    """
    return [F.normalize(part, dim=1) for part in embeddings.split(list(widths), dim=1)]


def _log_probabilities(inputs_BD: Tensor, weights: Tensor, num_clusters: int) -> Tensor:
    logits_BRC: Tensor = (inputs_BD @ weights).unflatten(1, (-1, num_clusters))
    return logits_BRC.log_softmax(dim=2)


def soft_labels(inputs: Sequence[Tensor], weights: Sequence[Tensor], num_clusters: int) -> Tensor:
    """Return how likely each row belongs to each cluster: the mean over the encoders of ``softmax(W_e z_e)``.

    Parameters
    ----------
    inputs : sequence of Tensor of shape (n_rows, n_dims_e), float32
        Embeddings of one batch by each encoder, at least one.
    weights : sequence of Tensor of shape (n_dims_e, n_runs * n_clusters), float32
        Of each encoder; gradients flow into them.
    num_clusters : int
        Number of clusters.

    Returns
    -------
    Tensor of shape (n_rows, n_runs, n_clusters), float32
        In [0, 1], the last axis summing to 1.

    References
    ----------
    .. [1] Gadetsky, Jiang and Brbic, ICML 2024, https://arxiv.org/abs/2406.07236.
    """
    parts = [_log_probabilities(z_BD, w, num_clusters).exp() for z_BD, w in zip(inputs, weights, strict=True)]
    return torch.stack(parts).mean(dim=0)


def log_labels(inputs: Sequence[Tensor], weights: Sequence[Tensor], num_clusters: int) -> Iterator[Tensor]:
    """Yield the logarithm of `soft_labels` of one run after another, which is finite where they are 0.

    Parameters
    ----------
    inputs, weights : sequence of Tensor
        As in `soft_labels`.
    num_clusters : int
        Number of clusters.

    Yields
    ------
    Tensor of shape (n_rows, n_clusters), float32
        At most 0. Of all runs only one is in memory.
    """
    for first in range(0, weights[0].shape[1], num_clusters):
        own = [w[:, first : first + num_clusters] for w in weights]
        parts = [_log_probabilities(z_BD, w, num_clusters)[:, 0] for z_BD, w in zip(inputs, own, strict=True)]
        yield torch.stack(parts).logsumexp(dim=0) - math.log(len(parts))


@torch.no_grad()
def fitted_heads(inputs: Tensor, labels: Tensor, *, steps: int, rate: float) -> Tensor:
    """Return linear heads after a few steps of gradient descent on the cross-entropy against soft labels.

    They start at zero, so equal arguments give equal heads.

    Parameters
    ----------
    inputs : Tensor of shape (n_rows, n_dims), float32
        Embeddings of one batch by one encoder.
    labels : Tensor of shape (n_rows, n_runs, n_clusters), float32
        Result of `soft_labels`; looked at as it is, no gradient flows into it.
    steps : int
        Number of steps, at least 0; 10 in TURTLE.
    rate : float
        Step size, for inputs of length 1; where their mean square is s, ``rate / s`` is taken.

    Returns
    -------
    Tensor of shape (n_dims, n_runs * n_clusters), float32
        Weights, without bias and without gradient.
    """
    num_rows, _, num_clusters = labels.shape
    heads = inputs.new_zeros(inputs.shape[1], labels.shape[1] * num_clusters)
    step_size = rate / (inputs.square().sum().clamp_min(1e-12) / num_rows) / num_rows
    for _ in range(steps):
        error_BRC = _log_probabilities(inputs, heads, num_clusters).exp() - labels
        heads -= step_size * (inputs.T @ error_BRC.flatten(1))
    return heads


def turtle_loss(inputs: Sequence[Tensor], heads: Sequence[Tensor], labels: Tensor, *, entropy_weight: float) -> Tensor:
    """Return each run's loss: how badly linear heads predict its labels, less the entropy of the clusters' sizes.

    ``sum over the encoders e of CE(w_e z_e, t) - entropy_weight * H(mean over the rows of t)``. The gradient flows into
    the labels t alone: the heads count as given.

    Parameters
    ----------
    inputs : sequence of Tensor of shape (n_rows, n_dims_e), float32
        Embeddings of one batch by each encoder.
    heads : sequence of Tensor of shape (n_dims_e, n_runs * n_clusters), float32
        Result of `fitted_heads` for each encoder.
    labels : Tensor of shape (n_rows, n_runs, n_clusters), float32
        Result of `soft_labels`, with gradient.
    entropy_weight : float
        At least 0; 10 in TURTLE. The larger, the more equal the sizes.

    Returns
    -------
    Tensor of shape (n_runs,), float32
        In nats, lower = better, of either sign.

    References
    ----------
    .. [1] Gadetsky, Jiang and Brbic, ICML 2024, https://arxiv.org/abs/2406.07236.
    """
    num_clusters = labels.shape[2]
    loss_R: Tensor = torch.special.entr(labels.mean(dim=0)).sum(dim=1) * -entropy_weight
    for z_BD, head in zip(inputs, heads, strict=True):
        logs_BRC = _log_probabilities(z_BD, head.detach(), num_clusters)
        loss_R = loss_R - (labels * logs_BRC).sum(dim=2).mean(dim=0)
    return loss_R
