"""Difficulty scores from the traces of a training run.

`ScoreFunction` is what they share. ``p_y`` is the probability of the pseudo-label (``target_probability``). Shape
suffixes: E epochs, W windows, N samples.
"""

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor

__all__ = [
    "TRACE_SCORES",
    "ScoreFunction",
    "Traces",
    "aum",
    "confidence",
    "correctness",
    "dual",
    "dyn_unc",
    "el2n",
    "entropy",
    "forgetting",
    "loss",
    "tdds",
    "variability",
]

Traces = Mapping[str, Tensor]
"""The names of ``TRACES`` to Tensors of shape (n_epochs, n_samples): floating; ``correct`` of one proxy is uint8.

Of several proxies they are the mean; ``correct`` is the share of them that is right.
"""


class ScoreFunction(Protocol):
    """What every score of a training run keeps; its own docstring says which traces it needs, its range, direction."""

    def __call__(self, traces: Traces, window: int, /) -> Tensor:
        """Return one number a sample.

        Parameters
        ----------
        traces : mapping of str to Tensor of shape (n_epochs, n_samples)
            With those that the score needs, and as many epochs as ``elfs.catalog.required_epochs`` says.
        window : int
            Epochs that a windowed score looks at, at least 1; without effect on the others.

        Returns
        -------
        Tensor of shape (n_samples,), float32
            NaN for a sample with NaN in an epoch that the score looks at: never visited, such as a test image or a
            broken file.
        """


SMALLEST_PROBABILITY = 2.0**-24
"""Smallest positive float16: what a stored ``p_y`` of 0 counts as under a logarithm (16.6 nats)."""

LARGEST_PROBABILITY = 1 - 2.0**-12
"""Smallest number that float16 rounds to 1: what a stored ``p_y`` of 1 counts as under a logarithm of ``1 - p_y``."""

TDDS_WEIGHT = 0.9
"""Weight of the newest window in the moving average of ``tdds``; each older one has a tenth of the next one's."""


def _nan_where_unvisited(score_N: Tensor, traces: Traces) -> Tensor:
    """Return a score of the whole-number traces in float32, NaN where a visit is missing."""
    missing_N = traces["target_probability"].isnan().any(dim=0)
    return score_N.float().masked_fill(missing_N, math.nan)


def _sum(values_EN: Tensor) -> Tensor:
    """Return the sum over the epochs, float32, added in their order; that of torch.sum depends on a sample's place."""
    total_N = torch.zeros(values_EN.shape[1], device=values_EN.device)
    for values_N in values_EN:
        total_N += values_N
    return total_N


def _mean(values_EN: Tensor) -> Tensor:
    """Return the mean over the epochs, float32."""
    return _sum(values_EN) / len(values_EN)


def _squared_deviation(values_EN: Tensor) -> Tensor:
    """Return the sum over the epochs of the squared distances from their mean, float32."""
    return _sum((values_EN - _mean(values_EN)).square_())


def _windows(values_EN: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Return the mean of every run of `window` epochs, the oldest first, and the squared distances from it, summed.

    Both float32 [W, N], added in the order of the epochs. One epoch has no deviation, so a window of 1 counts as 2.
    """
    width = max(window, 2)
    shifted = [values_EN[first : len(values_EN) - width + 1 + first] for first in range(width)]
    mean_WN = torch.zeros(shifted[0].shape, device=values_EN.device)
    for values_WN in shifted:
        mean_WN += values_WN
    mean_WN /= width
    squared_WN, distance_WN = torch.zeros_like(mean_WN), torch.empty_like(mean_WN)
    for values_WN in shifted:
        squared_WN += torch.sub(values_WN, mean_WN, out=distance_WN).square_()
    return mean_WN, squared_WN


def aum(traces: Traces, window: int) -> Tensor:
    """Return the area under the margin: the sum of the margin over all epochs. Lower = harder.

    Needs ``margin``. In ``[-n_epochs, n_epochs]``.

    References
    ----------
    .. [1] Pleiss et al., NeurIPS 2020, https://arxiv.org/abs/2001.10528 (there of logits, here of probabilities).
    """
    return _sum(traces["margin"])


def confidence(traces: Traces, window: int) -> Tensor:
    """Return the mean of ``p_y`` over all epochs. Lower = harder.

    Needs ``target_probability``. In [0, 1].

    References
    ----------
    .. [1] Swayamdipta et al., EMNLP 2020, https://arxiv.org/abs/2009.10795 (dataset cartography).
    """
    return _mean(traces["target_probability"])


def correctness(traces: Traces, window: int) -> Tensor:
    """Return the number of epochs in which the prediction was the pseudo-label. Lower = harder.

    Needs ``correct`` and ``target_probability``. Whole numbers in ``[0, n_epochs]``; of several proxies the mean.
    """
    return _nan_where_unvisited(_sum(traces["correct"]), traces)


def dual(traces: Traces, window: int) -> Tensor:
    """Return uncertainty times difficulty: ``std(p_y) * (1 - mean(p_y))``, mean over windows. Higher = harder.

    Needs ``target_probability``. In [0, 0.39], with the sample standard deviation (divided by ``J - 1``) of the J
    epochs of a window, which slides by one epoch; a window of 1 counts as 2.

    Notes
    -----
    The paper takes the first 30 of 200 epochs; here all that were recorded count. The reference [2]_ multiplies by 10,
    which changes no rank.

    References
    ----------
    .. [1] Cho et al., 2025, https://arxiv.org/abs/2502.06905.
    .. [2] github.com/behaapyy/dual-pruning@3271de1, ``exp_cifar/importance_evaluation.py``.
    """
    mean_WN, squared_WN = _windows(traces["target_probability"].float(), window)
    return _mean((squared_WN / (max(window, 2) - 1)).sqrt() * (1 - mean_WN))


def dyn_unc(traces: Traces, window: int) -> Tensor:
    """Return the dynamic uncertainty: the deviation of ``p_y`` in a window, mean over windows. Higher = harder.

    Needs ``target_probability``. Sample standard deviation (divided by ``J - 1``), in [0, 0.71], of the J epochs of a
    window, which slides by one epoch; a window of 1 counts as 2.

    Notes
    -----
    The reference [2]_ multiplies by 10, which changes no rank, and leaves the last window out, which changes few.

    References
    ----------
    .. [1] He et al., CVPR workshops 2024, https://arxiv.org/abs/2306.05175.
    .. [2] github.com/BAAI-DCAI/Dataset-Pruning@4c510c6, ``ImageNet/get_coreset.py``.
    """
    _, squared_WN = _windows(traces["target_probability"].float(), window)
    return _mean((squared_WN / (max(window, 2) - 1)).sqrt())


def el2n(traces: Traces, window: int) -> Tensor:
    """Return the error norm summed over the first epochs. Higher = harder.

    Needs ``error_norm``. In ``[0, window * sqrt(2)]``. Summed are `window` epochs; all, where there are fewer.

    References
    ----------
    .. [1] Paul et al., NeurIPS 2021, https://arxiv.org/abs/2107.07075 (there a mean over runs at one early epoch).
    """
    return _sum(traces["error_norm"][:window])


def entropy(traces: Traces, window: int) -> Tensor:
    """Return the entropy of the prediction, mean of the last epochs. Higher = harder.

    Needs ``entropy``. In nats, in ``[0, log(n_classes)]``. Over `window` epochs; all, where there are fewer.
    """
    return _mean(traces["entropy"][-window:])


def forgetting(traces: Traces, window: int) -> Tensor:
    """Return how often a sample was right at one visit and wrong at the next. Higher = harder.

    Needs ``correct`` and ``target_probability``. Whole numbers in ``[0, n_epochs / 2]``; 0 also for a sample that was
    never right, as in the reference [2]_. Of several proxies the sum of what the share that is
    right lost at each visit.

    References
    ----------
    .. [1] Toneva et al., ICLR 2019, https://arxiv.org/abs/1812.05159.
    .. [2] github.com/eltsai/elfs@089444b, ``generate_importance_score.py`` (MIT).
    """
    correct_EN = traces["correct"]
    return _nan_where_unvisited(_sum((correct_EN[:-1].float() - correct_EN[1:].float()).clamp_min(0)), traces)


def loss(traces: Traces, window: int) -> Tensor:
    """Return the cross-entropy against the pseudo-label, mean of the last epochs. Higher = harder.

    Needs ``target_probability``. In nats, in [0, 16.64]: a target probability counts as at least 2**-24, the smallest
    that float16 holds. Over `window` epochs; all, where there are fewer.
    """
    target_EN = traces["target_probability"][-window:].float()
    return -_mean(target_EN.clamp_min(SMALLEST_PROBABILITY).log())


def tdds(traces: Traces, window: int) -> Tensor:
    """Return how unevenly the prediction changes from epoch to epoch, late epochs first. Higher = harder.

    The change into an epoch is the divergence ``KL(new || old)`` of two outcomes, the pseudo-label and all else, in
    nats. A window's value is the Euclidean norm of its changes less their mean. The score is the exponential moving
    average of the windows' values, from the oldest to the newest: weight 0.9 for the newest, 0.09 for the one before.

    Needs ``target_probability``. In nats, in [0, inf). A window has J changes and slides by one epoch, so that ``J +
    1`` epochs are needed; a window of 1 counts as 2.

    Notes
    -----
    The paper [1]_ compares the probabilities of all classes, of which the traces keep one. By the data-processing
    inequality each change is at most the paper's; with two classes they are equal. The reference [2]_ takes ``J - 1``
    changes in a window, and sums the absolute terms of the divergence.

    References
    ----------
    .. [1] Zhang et al., CVPR 2024, https://arxiv.org/abs/2311.13613.
    .. [2] github.com/zhangxin-xd/Dataset-Pruning-TDDS@c005f4a, ``importance_evaluation.py``.
    """
    probability_EN = traces["target_probability"].float().clamp(SMALLEST_PROBABILITY, LARGEST_PROBABILITY)
    change_EN = _divergence_terms(probability_EN) + _divergence_terms(1 - probability_EN)
    average_N = torch.zeros_like(change_EN[0])
    for norm_N in _windows(change_EN, window)[1].sqrt_().mul_(TDDS_WEIGHT):
        average_N.mul_(1 - TDDS_WEIGHT).add_(norm_N)
    return average_N


def _divergence_terms(probability_EN: Tensor) -> Tensor:
    """Return ``p log(p / q)`` of each epoch's probability p and that of the epoch before, q."""
    new_EN = probability_EN[1:]
    return (new_EN / probability_EN[:-1]).log_().mul_(new_EN)


def variability(traces: Traces, window: int) -> Tensor:
    """Return the standard deviation of ``p_y`` over all epochs. Higher = harder.

    Needs ``target_probability``. Population standard deviation (divided by ``n_epochs``), in [0, 0.5].

    References
    ----------
    .. [1] Swayamdipta et al., EMNLP 2020, https://arxiv.org/abs/2009.10795 (dataset cartography).
    """
    probability_EN = traces["target_probability"]
    return (_squared_deviation(probability_EN) / len(probability_EN)).sqrt()


TRACE_SCORES: dict[str, ScoreFunction] = {
    "aum": aum,
    "confidence": confidence,
    "correctness": correctness,
    "dual": dual,
    "dyn_unc": dyn_unc,
    "el2n": el2n,
    "entropy": entropy,
    "forgetting": forgetting,
    "loss": loss,
    "tdds": tdds,
    "variability": variability,
}
"""Every score of a training run by its key."""
