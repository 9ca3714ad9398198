"""Shape: patches of an image that has been freed of its colours, products with a dictionary, pooling on a grid.

Shape suffixes: B images of a batch, C channels, S side, L patches of an image, N patches of a sample, P numbers in a
patch, A atoms, G cells of the grid.
"""

import functools
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize, unfold

from elfs.ops.kmeans import kmeans

__all__ = ["Dictionary", "learn_dictionary", "one_axis", "pooled_activations"]

NUM_ATOMS = 200
MAX_PATCHES = 20_000
"""Patches that the whitening and the dictionary are learned from."""
DENSE_SIDE = 48
"""Side in pixels up to which patches lie at every place."""
GRID = 3
"""Cells along each side over which activations are averaged."""
ACTIVE_SHARE = 0.2
"""Share of the products, of either sign, that exceed the threshold; so the pool itself sets it."""
CONTRAST_FLOOR = 10 / 255**2
"""Added to a patch's variance: a patch without contrast stays near zero instead of becoming noise."""
IMAGE_FLOOR = 0.05
"""Added (its square) to an image's variance, for the same reason."""
SKEWNESS_FLOOR = 0.01
"""The same where only the sign of an image's skewness is asked for."""
ZCA_FLOOR = 0.5
"""Added to the eigenvalues of the patches' covariance before whitening, as a share of their mean."""


class Dictionary(NamedTuple):
    """What is learned of patches.

    Attributes
    ----------
    filters : Tensor of shape (n_numbers, n_atoms), float32
        Normalised patches times filters, plus `offset`, are the products of whitened patches with atoms of length 1.
    offset : Tensor of shape (n_atoms,), float32
        See `filters`.
    threshold : Tensor of shape (), float32
        What the size of a product must exceed to count.
    """

    filters: Tensor
    offset: Tensor
    threshold: Tensor


def one_axis(images: Tensor) -> Tensor:
    """Reduce each image to the axis on which its own colours differ most, with contrast 1 and the rarer side bright.

    Parameters
    ----------
    images : Tensor of shape (n_images, channels, size, size), float32
        Brightness in ``[0, 1]``; 1 or 3 channels.

    Returns
    -------
    Tensor of shape (n_images, 1, size, size), float32
        Of mean 0, with a standard deviation of 1 (less where there is hardly any contrast), and a skewness that is not
        negative. The same for an image whose colours were turned, scaled or inverted.
    """
    centred_BCSS = images - images.mean(dim=(2, 3), keepdim=True)
    if images.shape[1] > 1:
        values_BCL = centred_BCSS.flatten(2)
        covariance_BCC = values_BCL @ values_BCL.mT / values_BCL.shape[2]
        axis_BC = torch.linalg.eigh(covariance_BCC.cpu()).eigenvectors[:, :, -1].to(images.device)
        centred_BCSS = (axis_BC[:, :, None, None] * centred_BCSS).sum(dim=1, keepdim=True)
    variance_B111 = centred_BCSS.square().mean(dim=(1, 2, 3), keepdim=True)
    skewness_B111 = (centred_BCSS / (variance_B111 + SKEWNESS_FLOOR**2).sqrt()).pow(3).mean(dim=(1, 2, 3), keepdim=True)
    turned_BCSS = torch.where(skewness_B111 < 0, -centred_BCSS, centred_BCSS)
    return turned_BCSS / (variance_B111 + IMAGE_FLOOR**2).sqrt()


def learn_dictionary(images: Tensor, generator: torch.Generator) -> Dictionary:
    """Learn a dictionary from patches at random places of random images.

    Parameters
    ----------
    images : Tensor of shape (n_images, 1, size, size), float32
        As `one_axis` gives them, at least one; size at least 8. Patches have a quarter of the side, at most 6 pixels.
    generator : torch.Generator
        Source of every random choice, on the CPU.

    Returns
    -------
    Dictionary
        On the device of the images.
    """
    patches_NP = _sampled_patches(images, _patch_side(images.shape[-1]), generator)
    seed = int(torch.randint(2**31 - 1, (), generator=generator))
    filters_PA, offset_A = _filters(patches_NP, seed)
    products = (patches_NP @ filters_PA + offset_A).abs().flatten()
    rank = max(1, round((1 - ACTIVE_SHARE) * len(products)))
    return Dictionary(filters_PA, offset_A, products.kthvalue(rank).values)


def pooled_activations(images: Tensor, dictionary: Dictionary) -> Tensor:
    """Return how strongly each atom and its opposite are seen in each cell of a 3 x 3 grid.

    Products z of patches and atoms become ``max(0, z - t)`` and ``max(0, -z - t)``, are averaged over the cell, and
    their square root is taken.

    Parameters
    ----------
    images : Tensor of shape (n_images, 1, size, size), float32
        As `one_axis` gives them.
    dictionary : Dictionary
        On the device of the images.

    Returns
    -------
    Tensor of shape (n_images, 9 * 2 * n_atoms), float32
        At least 0.
    """
    size = images.shape[-1]
    side, stride = _patch_side(size), _stride(size)
    products_BLA = _normalised(unfold(images, side, stride=stride).mT) @ dictionary.filters + dictionary.offset
    pooling_GL = _pooling((size - side) // stride + 1).to(images.device)
    positive_BGA = pooling_GL @ (products_BLA - dictionary.threshold).clamp_(min=0)
    negative_BGA = pooling_GL @ products_BLA.neg_().sub_(dictionary.threshold).clamp_(min=0)
    return torch.cat([positive_BGA, negative_BGA], dim=2).flatten(1).sqrt()


def _patch_side(size: int) -> int:
    return min(size // 4, 6)


def _stride(size: int) -> int:
    """Return how far apart patches lie: at every second place of large images, which costs a quarter."""
    return 1 if size <= DENSE_SIDE else 2


def _normalised(patches: Tensor) -> Tensor:
    centred = patches - patches.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + CONTRAST_FLOOR).sqrt()


@functools.lru_cache(maxsize=4)
def _pooling(num_positions: int) -> Tensor:
    """Return the matrix that averages the positions of a square map over the (slightly overlapping) cells."""
    one_hot = torch.eye(num_positions**2).view(-1, 1, num_positions, num_positions)
    return adaptive_avg_pool2d(one_hot, GRID).flatten(1).T.contiguous()


def _sampled_patches(images_NCSS: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Return up to MAX_PATCHES normalised patches, each at a random place of a random image (or all there are)."""
    places = images_NCSS.shape[-1] - side + 1
    total = len(images_NCSS) * places**2
    chosen = torch.randperm(total, generator=generator)[:MAX_PATCHES].sort().values
    image, place = chosen // places**2, chosen % places**2
    windows = images_NCSS.unfold(2, side, 1).unfold(3, side, 1)
    return _normalised(windows[image, :, place // places, place % places].flatten(1))


def _filters(patches_NP: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return filters and offsets: normalised patches times filters, plus offsets, are the products with the atoms."""
    mean_P = patches_NP.mean(dim=0)
    centred_NP = patches_NP - mean_P
    covariance_PP = (centred_NP.T @ centred_NP).double().cpu() / len(patches_NP)
    variance_P, axes_PP = torch.linalg.eigh(covariance_PP)
    floor = (ZCA_FLOOR * variance_P.mean()).clamp(min=torch.finfo(torch.float32).tiny)
    whitening_PP = ((axes_PP * (variance_P + floor).rsqrt()) @ axes_PP.T).float().to(patches_NP.device)
    num_atoms = max(1, min(NUM_ATOMS, len(patches_NP) // 10))
    centroids_AP = kmeans(centred_NP @ whitening_PP, num_atoms, seed=seed, num_iterations=10).centroids
    filters_PA = whitening_PP @ normalize(centroids_AP, dim=1).T
    return filters_PA, -mean_P @ filters_PA
