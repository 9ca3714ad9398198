"""The project's own selector: what is typical first, then what is hard or unsure.

Shape suffixes: M rows of the pool, W those that are asked for.
"""

import numpy as np
import torch
from torch import Tensor

from elfs.ops.selection.covering import Emphasis, greedy_coverage
from elfs.ops.selection.pool import Pool, SelectorOptions, check_budget, required

__all__ = ["hardness_share", "weighted_coverage"]

# Picks for each cluster up to which all rows count alike, and from which hard ones, or unsure ones, count in full.
_ALIKE_PICKS, _HARD_PICKS, _UNSURE_PICKS = 1, 20, 10


def hardness_share(hardness: Tensor, rows: Tensor | None = None) -> Tensor:
    """Return the share of the pool that is easier than each row.

    Parameters
    ----------
    hardness : Tensor of shape (n_rows,), float32
        Higher = harder; not finite for a row without a score.
    rows : Tensor of shape (n_wanted,), int64, or None
        Positions of the rows that are asked for; None: all.

    Returns
    -------
    Tensor of shape (n_rows,) or (n_wanted,), float64
        In [0, 1], higher = harder: the middle of its rank among equals, over the number of rows with a score. 0.5 for
        all where all are equal; 0 without a score.
    """
    ordered = torch.from_numpy(np.sort(hardness[hardness.isfinite()].numpy()))  # a tenth of torch's time
    wanted_W = hardness if rows is None else hardness[rows]
    scored_W = wanted_W.isfinite()
    values = wanted_W[scored_W]
    below = torch.searchsorted(ordered, values, right=False)
    upto = torch.searchsorted(ordered, values, right=True)
    share_W = torch.zeros(len(wanted_W), dtype=torch.float64)
    share_W[scored_W] = (below + upto).double() / (2 * max(1, len(ordered)))
    return share_W


def weighted_coverage(pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator) -> Tensor:
    """Take the rows that cover the pool best, where covering a hard row comes to count more than covering an easy one.

    Needs ``embeddings``, ``hardness`` and ``pseudo_labels``; what settled rows cover is covered from the start. The
    options' ``trust`` bounds how much difficulty comes to count; at 0 it never does. Where there is ``unsure``, how
    unsure a classifier of the annotations is, hard rows are those of which it is least sure, and the trust does not
    matter: no pseudo-label went into it. Ranks by gain: up to 16,384 rows the first n are what a budget of n selects;
    above that the blocks are random.

    Notes
    -----
    Facility location over the embeddings (`greedy_coverage`), in which a row counts ``1 - l (1 - s)``: s is the share
    of the pool that is easier (`hardness_share`), l grows from 0 to the square of the trust as picks, settled rows
    included, go from one to twenty for each cluster. The square: what is hard was found by two labels, the row's own
    and those that it was learned with. So the first picks are what is typical, whatever its difficulty; where that is
    covered, what is left goes to the hard part, as far as the pseudo-labels that it was measured against are to be
    believed. The idea of weights that wait for labels is that of [1]_. A mislabelled or strange row counts, but is
    similar to few others, so nothing has to be pruned, and no share has to be guessed. Where unsureness takes the place
    of difficulty, it counts in full from ten for each cluster on.

    References
    ----------
    .. [1] Bae et al., ICLR 2025 (uncertainty herding), https://arxiv.org/abs/2412.20644.
    """
    hardness_M = required(pool, "hardness")
    embeddings = required(pool, "embeddings")
    num_clusters = len(required(pool, "pseudo_labels").unique())
    eligible_M = pool.candidates() & hardness_M.isfinite()
    check_budget(budget, eligible_M)
    share_M, most, full = hardness_share(hardness_M), options.trust**2, _HARD_PICKS
    if pool.unsure is not None:
        share_M, most, full = hardness_share(pool.unsure), 1.0, _UNSURE_PICKS
    emphasis = Emphasis(share_M, _ALIKE_PICKS * num_clusters, full * num_clusters, most)
    return greedy_coverage(embeddings, eligible_M, pool.settled, budget, emphasis=emphasis, generator=generator)
