"""Which samples a proxy is trained on, where each is to be judged by proxies that have not seen it.

Shape suffixes: R rounds of dealing, N samples, G groups, F folds, C classes.
"""

import numpy as np
import torch
from torch import Tensor

__all__ = ["deal_folds", "seen_elsewhere"]


def deal_folds(labels: Tensor, num_folds: int, generator: torch.Generator, groups: Tensor | None = None) -> Tensor:
    """Deal the samples out to folds: of all, and of each class, every fold gets as many as the others, or one more.

    Parameters
    ----------
    labels : Tensor of shape (n_samples,), int64
        Class of each sample.
    num_folds : int
        How many folds, at least 1. A class with fewer samples leaves some of them without any.
    generator : torch.Generator
        Decides who goes where.
    groups : Tensor of shape (n_samples,), int64, or None
        Samples of one group go to one fold. None, and groups of one sample each: every sample by itself.

    Returns
    -------
    Tensor of shape (n_samples,), int64
        Fold of each sample, in ``[0, num_folds)``. With groups, folds are as even as these allow; none is empty where
        there are as many groups.

    Notes
    -----
    Groups are dealt out one by one, the largest first: each to the fold that has least of its classes (the sum, over
    its samples, of the share of the sample's class that the fold has already), of equal ones to the smallest.

    Examples
    --------
    >>> deal_folds(torch.tensor([0, 0, 1, 1]), 2, torch.Generator().manual_seed(0)).view(2, 2).sum(dim=1)
    tensor([1, 1])
    """
    if groups is not None:
        numbers_N = torch.unique(groups, return_inverse=True)[1]
        if int(numbers_N.max()) + 1 < len(groups):
            return _grouped_folds(labels, num_folds, generator, numbers_N)
    shuffled_N = torch.randperm(len(labels), generator=generator)
    by_class_N = shuffled_N[labels[shuffled_N].argsort(stable=True)]
    fold_N = torch.empty_like(shuffled_N)
    fold_N[by_class_N] = torch.arange(len(labels)) % num_folds
    return fold_N


def seen_elsewhere(labels: Tensor, folds: Tensor) -> Tensor:
    """Return which samples can be judged by what was learned from the other folds.

    Parameters
    ----------
    labels : Tensor of shape (n_samples,), int64
        Class of each sample, at least 0.
    folds : Tensor of shape (n_samples,), int64
        Fold of each sample, at least 0.

    Returns
    -------
    Tensor of shape (n_samples,), bool
        True where another fold has a sample of the same class.

    Examples
    --------
    >>> seen_elsewhere(torch.tensor([0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 1, 0])).tolist()
    [True, True, False, False, False]
    """
    own = labels * (int(folds.max()) + 1) + folds
    return torch.bincount(labels)[labels] > torch.bincount(own)[own]


def _grouped_folds(labels_N: Tensor, num_folds: int, generator: torch.Generator, number_N: Tensor) -> Tensor:
    """Deal groups, numbered from 0, out to folds."""
    class_N = torch.unique(labels_N, return_inverse=True)[1].numpy()
    size_G = torch.bincount(number_N)
    order_G = torch.randperm(len(size_G), generator=generator)
    order_G = order_G[torch.sort(size_G[order_G], descending=True, stable=True).indices]
    members = torch.sort(number_N, stable=True).indices.numpy()
    starts_G = (size_G.cumsum(dim=0) - size_G).tolist()
    size_C = np.bincount(class_N)
    share_FC, size_F = np.zeros((num_folds, len(size_C))), np.zeros(num_folds)
    fold_G = torch.empty_like(size_G)
    for group in order_G.tolist():
        own = class_N[members[starts_G[group] : starts_G[group] + int(size_G[group])]]
        fold = int(np.lexsort((size_F, share_FC[:, own].sum(axis=1).round(9)))[0])
        fold_G[group] = fold
        np.add.at(share_FC[fold], own, 1 / size_C[own])
        size_F[fold] += len(own)
    return fold_G[number_N]
