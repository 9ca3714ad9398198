"""Confidences of a given mean, by one power of all probabilities. Shape suffixes: N rows, C clusters."""

import math

from torch import Tensor

__all__ = ["matching_power", "powered_confidence"]

_LEAST, _MOST = 1e-3, 1e3
_HALVINGS = 40


def powered_confidence(log_probabilities: Tensor, power: float) -> Tensor:
    """Return the largest probability of each row after all were raised to a power and scaled to sum to 1 again.

    Parameters
    ----------
    log_probabilities : Tensor of shape (n_rows, n_clusters), floating
        Up to a constant for each row, so logits do too.
    power : float
        Above 0: 1 leaves the probabilities as they are, more makes them surer. The cluster that is likeliest stays so.

    Returns
    -------
    Tensor of shape (n_rows,), floating
        In ``[1 / n_clusters, 1]``; rises with `power`.
    """
    return (power * log_probabilities).softmax(dim=1).amax(dim=1)


def matching_power(log_probabilities: Tensor, mean: float) -> float:
    """Return the power with which the mean confidence is a given one.

    Parameters
    ----------
    log_probabilities : Tensor of shape (n_rows, n_clusters), floating
        As for `powered_confidence`; at least one row.
    mean : float
        Wanted mean, in [0, 1].

    Returns
    -------
    float
        From 0.001 to 1,000; the nearest of these two where no power between them gives that mean.

    Examples
    --------
    >>> round(matching_power(torch.tensor([[0.6, 0.4], [0.4, 0.6]]).log(), 0.9), 3)
    5.419
    """
    low, high = math.log(_LEAST), math.log(_MOST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if float(powered_confidence(log_probabilities, math.exp(middle)).double().mean()) > mean:
            high = middle
        else:
            low = middle
    return math.exp((low + high) / 2)
