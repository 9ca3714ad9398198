"""Losses for many cluster heads at once: TEMI with its relatives WMI and PMI, and SCAN.

Shape suffixes: H heads, B pairs in the batch, C clusters. A pair is an image (view 1) and one of its neighbours
(view 2). Nothing here keeps state or talks to other processes: where a mean over all processes is needed, a function
returns the local sum and count, and another takes the reduced ones.
"""

from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "Views",
    "WeightMode",
    "log_probabilities",
    "pair_weights",
    "probability_sum",
    "scan_loss",
    "temi_loss",
    "updated_prior",
]

Views = tuple[Tensor, Tensor]
"""Log-probabilities of view 1 and view 2, each of shape (n_heads, n_pairs, n_clusters), float32."""

WeightMode = Literal["temi", "wmi", "pmi"]
"""Whose agreement weighs a pair: all teachers' (temi), each head's own teacher's (wmi), nobody's (pmi)."""

SMALLEST_PROBABILITY = torch.finfo(torch.float32).tiny
"""What a probability counts as at least before its logarithm is taken, so that an empty cluster makes no infinity."""


def log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Return the log-softmax of tempered logits, in float32 also under autocast.

    Parameters
    ----------
    logits : Tensor of shape (..., n_clusters), floating
        Outputs of the heads.
    temperature : float
        Above 0; the smaller, the sharper. TEMI uses 0.1 for student and teacher.

    Returns
    -------
    Tensor of shape (..., n_clusters), float32
        In nats, at most 0, on the device of `logits`; carries the gradient.
    """
    return torch.log_softmax(logits.float() / temperature, dim=-1)


def probability_sum(*views: Tensor) -> tuple[Tensor, int]:
    """Return the sum of the probabilities over views and pairs, and how many were summed.

    Under data parallelism add both up over the processes before ``updated_prior`` or ``scan_loss``.

    Parameters
    ----------
    *views : Tensor of shape (n_heads, n_pairs, n_clusters), float32
        Log-probabilities. TEMI's prior takes the teacher's two views, SCAN's mean assignment the student's view 1.

    Returns
    -------
    total : Tensor of shape (n_heads, n_clusters), float32
        Sum of the probabilities; no gradient.
    count : int
        Number of probability vectors of one head in the sum: views times pairs.
    """
    total_HC = torch.stack([view.detach().exp().sum(dim=1) for view in views]).sum(dim=0)
    return total_HC, sum(view.shape[1] for view in views)


def updated_prior(prior: Tensor, total: Tensor, count: int | Tensor, *, momentum: float) -> Tensor:
    """Return the prior of the clusters after one more batch: an exponential moving average.

    TEMI updates the prior first and uses the new one in the same step.

    Parameters
    ----------
    prior : Tensor of shape (n_heads, n_clusters), float32
        Prior so far, rows summing to 1; uniform before the first step. Left as it is.
    total : Tensor of shape (n_heads, n_clusters), float32
        Sum of the teacher's probabilities over both views, over all processes.
    count : int or 0-D Tensor
        Number of probability vectors in `total`.
    momentum : float
        Share of `prior` that stays, in [0, 1]; 0.9 in TEMI.

    Returns
    -------
    Tensor of shape (n_heads, n_clusters), float32
        New prior, rows summing to 1.
    """
    return momentum * prior + (1 - momentum) * total / count


@torch.no_grad()
def pair_weights(teacher: Views, mode: WeightMode) -> Tensor:
    """Return how much each pair counts: the probability that the teacher puts its two views into one cluster.

    Parameters
    ----------
    teacher : tuple of two Tensors of shape (n_heads, n_pairs, n_clusters), float32
        Teacher's log-probabilities of view 1 and view 2.
    mode : {"temi", "wmi", "pmi"}
        ``temi``: mean over the heads, one weight a pair. ``wmi``: each head has its own. ``pmi``: all 1.

    Returns
    -------
    Tensor of shape (n_heads, n_pairs), float32
        In [0, 1], higher = a more trusted pair; no gradient. Needs no reduction over processes.

    References
    ----------
    .. [1] Adaloglou et al., BMVC 2023, https://arxiv.org/abs/2303.17896, equations 7 to 10.
    """
    view1_HBC, view2_HBC = teacher
    if mode == "pmi":
        return view1_HBC.new_ones(view1_HBC.shape[:2])
    agreement_HB = (view1_HBC + view2_HBC).exp().sum(dim=-1)
    if mode == "wmi":
        return agreement_HB
    return agreement_HB.mean(dim=0, keepdim=True).expand_as(agreement_HB)


def temi_loss(student: Views, teacher: Views, prior: Tensor, weights: Tensor, *, beta: float) -> Tensor:
    """Return each head's weighted pointwise mutual information between the views, negated.

    With ``l(a, b) = -log sum_c (s_c(a) t_c(b))**beta / p_c`` a head's loss is the mean over the pairs of
    ``w * (l(1, 2) + l(2, 1)) / 2``; the objective is the mean over the heads. Computed in log space.

    Parameters
    ----------
    student : tuple of two Tensors of shape (n_heads, n_pairs, n_clusters), float32
        Student's log-probabilities of view 1 and view 2; the gradient flows into these.
    teacher : tuple of two Tensors of shape (n_heads, n_pairs, n_clusters), float32
        Teacher's log-probabilities; no gradient flows into them.
    prior : Tensor of shape (n_heads, n_clusters), float32
        Prior of the clusters, this batch included (``updated_prior``). Counts as at least 1.2e-38.
    weights : Tensor of shape (n_heads, n_pairs), float32
        Result of ``pair_weights``.
    beta : float
        Exponent, in (0, 1]; 1 is the plain pointwise mutual information, 0.6 the papers' choice against collapse.

    Returns
    -------
    Tensor of shape (n_heads,), float32
        Loss in nats, lower = better, of either sign. With equal batches on every process the mean over the processes
        is the loss of the whole batch, gradient included.

    References
    ----------
    .. [1] Adaloglou et al., BMVC 2023, https://arxiv.org/abs/2303.17896, equations 5 to 10.
    .. [2] github.com/eltsai/elfs@089444b, ``losses/multihead_losses.py``, ``TEMI`` (MIT).
    """
    log_prior_H1C = prior.clamp_min(SMALLEST_PROBABILITY).log().unsqueeze(1)

    def one_way(student_HBC: Tensor, teacher_HBC: Tensor) -> Tensor:
        return -torch.logsumexp(beta * (student_HBC + teacher_HBC.detach()) - log_prior_H1C, dim=-1)

    both_HB = one_way(student[0], teacher[1]) + one_way(student[1], teacher[0])
    return (weights * both_HB).mean(dim=-1) / 2


def scan_loss(student: Views, total: Tensor, count: int | Tensor, *, entropy_weight: float = 5.0) -> Tensor:
    """Return each head's SCAN loss: neighbours should agree, and all clusters should be used.

    Mean over the pairs of ``-log sum_c s_c(1) s_c(2)``, minus `entropy_weight` times the entropy of the mean
    assignment.

    Parameters
    ----------
    student : tuple of two Tensors of shape (n_heads, n_pairs, n_clusters), float32
        Student's log-probabilities of view 1 and view 2; the gradient flows into these.
    total : Tensor of shape (n_heads, n_clusters), float32
        Sum of the student's probabilities of view 1 (``probability_sum``), over all processes.
    count : int or 0-D Tensor
        Number of probability vectors in `total`.
    entropy_weight : float, default 5.0
        Weight of the entropy, at least 0; 5 in the paper.

    Returns
    -------
    Tensor of shape (n_heads,), float32
        Loss in nats, lower = better, of either sign. With equal batches on every process the mean over the processes
        is the loss of the whole batch, gradient included.

    Notes
    -----
    The entropy's value comes from the reduced mean; its gradient reaches the local batch through its first-order term,
    which is exact, since an average of gradients over processes is all that data parallelism adds.

    References
    ----------
    .. [1] Van Gansbeke et al., ECCV 2020, https://arxiv.org/abs/2005.12320, equation 2.
    """
    consistency_H = -torch.logsumexp(student[0] + student[1], dim=-1).mean(dim=-1)
    mean_HC = total.detach() / count
    log_mean_HC = mean_HC.clamp_min(SMALLEST_PROBABILITY).log()
    local_HC = student[0].exp().mean(dim=1)
    # d entropy / d mean_c = -(log mean_c + 1); local - local.detach() is 0 and carries the gradient.
    first_order_H = -((log_mean_HC + 1) * (local_HC - local_HC.detach())).sum(dim=-1)
    entropy_H = -(mean_HC * log_mean_HC).sum(dim=-1) + first_order_H
    return consistency_H - entropy_weight * entropy_H
