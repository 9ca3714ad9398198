"""Which samples a proxy is trained on, where each is to be judged by proxies that have not seen it.

Shape suffixes: R rounds of dealing, N samples.
"""

import torch
from torch import Tensor

__all__ = ["deal_folds"]


def deal_folds(labels: Tensor, num_folds: int, generator: torch.Generator) -> Tensor:
    """Deal the samples out to folds: of all, and of each class, every fold gets as many as the others, or one more.

    Parameters
    ----------
    labels : Tensor of shape (n_samples,), int64
        Class of each sample.
    num_folds : int
        How many folds, at least 1. A class with fewer samples leaves some of them without any.
    generator : torch.Generator
        Decides who goes where.

    Returns
    -------
    Tensor of shape (n_samples,), int64
        Fold of each sample, in ``[0, num_folds)``.

    Examples
    --------
    >>> deal_folds(torch.tensor([0, 0, 1, 1]), 2, torch.Generator().manual_seed(0)).view(2, 2).sum(dim=1)
    tensor([1, 1])
    """
    shuffled_N = torch.randperm(len(labels), generator=generator)
    by_class_N = shuffled_N[labels[shuffled_N].argsort(stable=True)]
    fold_N = torch.empty_like(shuffled_N)
    fold_N[by_class_N] = torch.arange(len(labels)) % num_folds
    return fold_N
