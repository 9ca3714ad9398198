"""DUAL with Beta sampling: random, weighted by uncertainty and by how confident the proxy is. Shape suffix: M rows."""

import torch
from torch import Tensor

from elfs.ops.selection.pool import Pool, SelectorOptions, check_budget, required

__all__ = ["beta_parameters", "dual_beta", "weighted_order"]

_NUM_ANCHORS = 10
_SUM = 16.0
_REACH = 15.0
_EXPONENT = 4.0
_NEAREST = 2.0**-12
"""How near to 0 or 1 a confidence may come: half a step of the traces (float16) below 1."""


def beta_parameters(pruning_ratio: float, anchor: float) -> tuple[float, float]:
    """Return the Beta distribution around which ``dual-beta`` draws.

    Parameters
    ----------
    pruning_ratio : float
        Share of the rows that is not selected, in [0, 1].
    anchor : float
        Mean confidence of the rows with the highest DUAL scores, in [0, 1].

    Returns
    -------
    tuple of float
        alpha and beta: ``beta = 15 * (1 - anchor) * (1 - pruning_ratio ** 4)`` and ``alpha = 16 - beta``. The mean of
        the distribution, ``alpha / 16``, is near `anchor` where little is pruned and goes to 1 (easy samples) where
        nearly all is.

    Notes
    -----
    The constants 15 and 16 and the ten rows of the anchor are those of the authors' code [1]_. The exponent goes with
    the data set: their code takes 4 for CIFAR and 11 for ImageNet unless told otherwise; here it is 4.

    References
    ----------
    .. [1] github.com/behaapyy/dual-pruning, ``exp_cifar/data_subset.py``, ``beta_sampling``.
    """
    beta = _REACH * (1 - anchor) * (1 - pruning_ratio**_EXPONENT)
    return _SUM - beta, beta


def weighted_order(log_weights: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random order in which each next row is drawn in proportion to its weight among those that are left.

    Parameters
    ----------
    log_weights : Tensor of shape (n,), float64
        Logarithms of the weights, up to a constant; minus infinity for a weight of 0.
    generator : torch.Generator
        On the CPU; one uniform number is drawn for each row.

    Returns
    -------
    Tensor of shape (n,), int64
        Positions, first drawn first; those of weight 0 come last, in uniformly random order.

    References
    ----------
    .. [1] Efraimidis and Spirakis, Information Processing Letters 97 (2006): sorting by ``log(u) / weight`` is weighted
       sampling without replacement. ``log_weight - log(-log(u))`` gives the same order.
    """
    uniform = torch.rand(len(log_weights), generator=generator, dtype=torch.float64).clamp_min(2.0**-60)
    gumbel = -(-uniform.log()).log()
    weightless = log_weights.isneginf()
    order = torch.sort(torch.where(weightless, 0.0, log_weights) + gumbel, descending=True, stable=True).indices
    return order[torch.sort(weightless[order], stable=True).indices]


def dual_beta(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Draw rows without replacement, weighted by DUAL score times a Beta density at their confidence.

    The fewer rows are wanted, the further the density moves to confident, easy rows, since the uncertain ones teach
    little without them.

    Needs the scores ``dual`` and ``confidence``. First drawn first, by one uniform number for each eligible row. Rows
    with a DUAL score of 0 or below have no weight: they are drawn last, each as likely as the other.

    Notes
    -----
    The pruning ratio is the share of the eligible rows that is not drawn. Confidence is the mean over all epochs, as in
    the authors' code. It is kept 2**-12 away from 0 and 1, the resolution of the traces, where the density may be 0 or
    infinite.

    References
    ----------
    .. [1] Cho et al., ICML 2025, https://arxiv.org/abs/2502.06905.
    """
    dual_M, confidence_M = required(pool, "dual").double(), required(pool, "confidence").double()
    scored_M = dual_M.isfinite() & confidence_M.isfinite()
    eligible_M = pool.candidates() & scored_M
    check_budget(budget, eligible_M)
    scored = torch.nonzero(scored_M).flatten()
    anchors = scored[torch.sort(dual_M[scored], descending=True, stable=True).indices[:_NUM_ANCHORS]]
    rows = torch.nonzero(eligible_M).flatten()
    alpha, beta = beta_parameters(1 - budget / len(rows), float(confidence_M[anchors].mean().clamp(0, 1)))
    x = confidence_M[rows].clamp(_NEAREST, 1 - _NEAREST)
    log_density = (alpha - 1) * x.log() + (beta - 1) * (1 - x).log()  # up to a constant
    log_weights = dual_M[rows].clamp_min(0).log() + log_density
    return rows[weighted_order(log_weights, generator)[:budget]]
