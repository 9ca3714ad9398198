"""Diverse and uncertain at once: k-means++ on the gradients of the proxy's last layer (BADGE).

The gradient of the cross-entropy with respect to the last layer's weights is the outer product of a sample's error
``p - onehot(y)`` and its feature; its distances follow from the two factors, so that it is never formed. Shape
suffixes: M rows, B rows of a block, S centres.
"""

import torch
from torch import Tensor

from elfs.ops.selection.pool import Pool, SelectorOptions, check_budget, required

__all__ = ["badge", "nearest_squared_distance", "squared_norms"]

_BLOCK_ROWS = 32_768
_BLOCK_CENTERS = 1_024
_RESOLUTION = 2.0**-16
"""Squared distances below this share of the two squared norms are float32's rounding, and count as 0."""


def squared_norms(errors: Tensor, features: Tensor) -> Tensor:
    """Return the squared length of each row's gradient.

    Parameters
    ----------
    errors : Tensor of shape (n_rows, n_classes), float16 or float32
        Softmax less the one-hot label.
    features : Tensor of shape (n_rows, n_features), float16 or float32
        What the last layer sees.

    Returns
    -------
    Tensor of shape (n_rows,), float32
        At least 0; higher = the proxy would change more.
    """
    parts = [
        errors[rows].float().square().sum(dim=1) * features[rows].float().square().sum(dim=1)
        for rows in _blocks(len(errors))
    ]
    return torch.cat(parts)


def nearest_squared_distance(errors: Tensor, features: Tensor, squares: Tensor, centers: Tensor) -> Tensor:
    """Return each row's squared Euclidean distance to the nearest of some rows, in the space of the gradients.

    Parameters
    ----------
    errors : Tensor of shape (n_rows, n_classes), float16 or float32
        Softmax less the one-hot label.
    features : Tensor of shape (n_rows, n_features), float16 or float32
        What the last layer sees.
    squares : Tensor of shape (n_rows,), float32
        As ``squared_norms`` gives it.
    centers : Tensor of shape (n_centers,), int64
        Rows, at least one.

    Returns
    -------
    Tensor of shape (n_rows,), float32
        At least 0; exactly 0 for a centre and all that equal it.

    Notes
    -----
    ``|a_i|^2 |h_i|^2 + |a_j|^2 |h_j|^2 - 2 (a_i . a_j) (h_i . h_j)`` in float32, for errors a and features h.
    """
    nearest_M = torch.full((len(errors),), torch.inf)
    for chosen in centers.split(_BLOCK_CENTERS):
        error_S, feature_S = errors[chosen].float().T, features[chosen].float().T
        for rows in _blocks(len(errors)):
            norms_BS = squares[rows].unsqueeze(1) + squares[chosen]
            product_BS = (errors[rows].float() @ error_S) * (features[rows].float() @ feature_S)
            distance_BS = norms_BS - 2 * product_BS
            distance_BS[distance_BS <= _RESOLUTION * norms_BS] = 0.0
            nearest_M[rows] = torch.minimum(nearest_M[rows], distance_BS.amin(dim=1))
    return nearest_M


def _blocks(num_rows: int) -> list[slice]:
    return [slice(start, start + _BLOCK_ROWS) for start in range(0, num_rows, _BLOCK_ROWS)]


def badge(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Draw rows far from one another in the space of the gradients, each by its squared distance to those drawn before.

    Needs ``errors`` and ``features``. First drawn first, by `budget` uniform numbers; rows that equal a drawn one come
    last, the lowest first.

    Notes
    -----
    The first row is that of the longest gradient, as in the authors' code [2]_; where there are settled rows, they are
    the first centres, and the first row is drawn like the others. Labels are the pseudo-labels, not the network's own
    predictions as in active learning [1]_. A pick costs one pass over `errors` and `features`.

    References
    ----------
    .. [1] Ash et al., ICLR 2020, https://arxiv.org/abs/1906.03671, algorithm 1.
    .. [2] github.com/JordanAsh/badge, ``query_strategies/badge_sampling.py``, ``init_centers``.
    """
    errors, features = required(pool, "errors"), required(pool, "features")
    eligible_M = pool.candidates()
    check_budget(budget, eligible_M)
    draws = torch.rand(budget, generator=generator, dtype=torch.float64)
    squares_M = squared_norms(errors, features)
    centers = torch.nonzero(pool.held()).flatten()
    picks: list[Tensor] = []
    if len(centers) == 0:
        centers = torch.where(eligible_M, squares_M, -torch.inf).argmax().unsqueeze(0)
        picks.append(centers)
    weight_M = torch.where(eligible_M, torch.inf, 0.0)
    while len(picks) < budget:
        weight_M = torch.minimum(weight_M, nearest_squared_distance(errors, features, squares_M, centers))
        mass_M = weight_M.cumsum(dim=0, dtype=torch.float64)
        if mass_M[-1] == 0:
            break
        target = torch.minimum(draws[len(picks)] * mass_M[-1], torch.nextafter(mass_M[-1], mass_M.new_zeros(())))
        centers = torch.searchsorted(mass_M, target.unsqueeze(0), right=True)
        picks.append(centers)
    drawn = torch.cat([torch.empty(0, dtype=torch.int64), *picks])
    eligible_M[drawn] = False
    return torch.cat([drawn, torch.nonzero(eligible_M).flatten()[: budget - len(drawn)]])
