"""Features learned from the pool itself: shape in patches of one colour axis an image, and the colours beside it.

The encoder for where no pretrained weights can be had. Shape suffixes: N images, B images of a batch, C channels,
S side, F features of a branch before its projection, K columns after it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from elfs.errors import CorruptArtifactError
from elfs.models.fingerprints import fingerprint
from elfs.models.shape_features import Dictionary, learn_dictionary, one_axis, pooled_activations
from elfs.ops.axes import principal_axes
from elfs.ops.neighbor_structure import MAX_ROWS, neighbor_structure

__all__ = ["PatchEncoder", "SquareTransform"]

MAX_DICTIONARY_IMAGES = 2_000
"""Images whose patches the dictionaries are learned from."""
BATCH_IMAGES = 16
"""Images whose patches are in memory together."""
SMALLEST, SMALL, LARGE = 16, 32, 64
"""Sides in pixels: images are enlarged to the first, and those of 49 and more are looked at in both of the others."""
COLOUR_CELLS = 4
"""Cells along each side whose mean colours are kept."""
MIN_CHROMA = 0.02
"""Root mean square of what tells colours from grey (of values in [0, 1]) below which a pool counts as grey."""
MAX_DIM = 128
"""Upper bound on the columns of a branch."""
WHITENING = 0.5
"""How far the projection evens out its axes: 0 not at all (PCA), 1 all the way to unit variance."""
SHARPNESS = 2.0
"""Power of a branch's structure in its weight."""
MIN_WEIGHT = 0.05
"""Weight, of 1 for the clearest branch, below which a branch is left out."""


@dataclass(frozen=True, slots=True)
class SquareTransform:
    """Turn an image into a square tensor: short side resized (bicubic, antialiased), centre cropped.

    Parameters
    ----------
    size : int
        Side of the result in pixels, at least 1.
    channels : {1, 3}
        1 for the luminance alone, 3 for RGB.
    """

    size: int
    channels: int

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the image as a tensor.

        Parameters
        ----------
        image : PIL.Image.Image
            Any mode that Pillow converts to RGB.

        Returns
        -------
        Tensor of shape (channels, size, size), float32
            Brightness in ``[0, 1]``.
        """
        square = ImageOps.fit(
            image.convert("L" if self.channels == 1 else "RGB"), (self.size, self.size), Image.Resampling.BICUBIC
        )
        pixels = np.array(square, dtype=np.float32).reshape(self.size, self.size, self.channels) / 255
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


class PatchEncoder:
    """Encoder learned without labels from the images that it is to encode.

    **Shape**: an image is reduced to the axis on which its own colours differ most, its contrast set to 1, and turned
    so that the rarer side is bright: what colours it has, and whether it is dark on bright, then say nothing. Patches
    pass a learned dictionary and are pooled (`elfs.models.shape_features`). Images of 49 pixels and more are looked at
    in two sizes. **Colour**: the mean colours of a grid of 4 x 4, where the pool has colours.

    Each of these branches is projected on its principal axes (128 at most), each divided by the square root of its
    standard deviation, and scaled to unit norm times a weight: the square of `neighbor_structure`, divided by that of
    the clearest branch. So a pool whose colours say nothing is told apart by shape, and one that differs in colour
    alone, by colour.

    Parameters
    ----------
    image_size : int
        Short side typical of the pool, in pixels. Images are resized to it, but to no less than 16 and no more
        than 32; to 64 where it is above 48.
    channels : {1, 3}
        1 for grey images, 3 for colour.

    Attributes
    ----------
    name : str
        ``"patches"``.
    needs_fit : bool
        True: `fit` comes before `encode`.
    transform, fit_transform : callable
        From an image to what `encode` and `fit` take.

    References
    ----------
    .. [1] Coates, Lee and Ng, AISTATS 2011, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning".
    .. [2] Coates and Ng, ICML 2011, "The Importance of Encoding Versus Training with Sparse Coding and Vector
       Quantization" (the two-sided soft threshold).
    """

    name = "patches"
    needs_fit = True

    def __init__(self, image_size: int, channels: int) -> None:
        is_large = image_size > (SMALL + LARGE) // 2
        self._sides = (SMALL, LARGE) if is_large else (min(max(image_size, SMALLEST), SMALL),)
        self._branches = [f"shape{side}" for side in self._sides] + ["colour"] * (channels == 3)
        self.transform: Callable[[Image.Image], Tensor] = SquareTransform(self._sides[-1], channels)
        self.fit_transform: Callable[[Image.Image], Tensor] = self.transform
        self._learned: dict[str, Tensor] = {}
        self._device = torch.device("cpu")

    @property
    def dim(self) -> int:
        """Width of the embedding, at least 1: known after `fit`, 0 before."""
        return sum(tensor.shape[1] for name, tensor in self._learned.items() if name.endswith(".projection"))

    @property
    def fingerprint(self) -> str:
        """Digest of the sizes of the images and of what `fit` learned."""
        return fingerprint([self.name, self._branches], self.learned())

    def to(self, device: torch.device) -> Self:
        """Move the encoder."""
        self._device = device
        self._learned = {name: tensor.to(device) for name, tensor in self._learned.items()}
        return self

    def learned(self) -> dict[str, Tensor]:
        """Return dictionaries and projections of all branches, on the CPU; nothing before `fit`."""
        return {name: tensor.cpu() for name, tensor in self._learned.items()}

    def restore(self, learned: Mapping[str, Tensor]) -> None:
        """Take over dictionaries and projections, instead of `fit`."""
        expected = {f"{branch}.{part}" for branch in self._branches for part in ("mean", "projection")}
        expected |= {f"shape{side}.{part}" for side in self._sides for part in Dictionary._fields}
        if set(learned) != expected:
            found = ", ".join(sorted(learned)) or "nothing"
            raise CorruptArtifactError(f"a patches encoder learns {', '.join(sorted(expected))}, but there is {found}.")
        self._learned = {name: tensor.to(self._device) for name, tensor in learned.items()}

    def fit(self, images: Tensor, generator: torch.Generator) -> None:
        """Learn dictionaries, projections and the weights of the branches.

        Parameters
        ----------
        images : Tensor of shape (n_images, channels, size, size), float32
            Stacked results of `transform` for a sample of the pool, at least one.
        generator : torch.Generator
            Source of every random choice, on the CPU.
        """
        images = images[torch.randperm(len(images), generator=generator)]
        self._learned = {}
        for side in self._sides:
            self._learn_dictionary(side, images, generator)
        weights = {branch: self._learn_axes(branch, images, generator) for branch in self._branches}
        if not _has_colours(images):
            weights["colour"] = 0.0
        most = max(weights.values())
        for branch in self._branches:
            weight = weights[branch] / most
            projection_FK = self._learned[f"{branch}.projection"]
            self._learned[f"{branch}.projection"] = (
                projection_FK * weight if weight >= MIN_WEIGHT else projection_FK[:, :0].clone()
            )

    def encode(self, batch: Tensor) -> Tensor:
        """Return the embeddings of a batch, centred on the mean of the images of `fit`.

        Parameters
        ----------
        batch : Tensor of shape (n_images, channels, size, size), float32
            Stacked results of `transform`.

        Returns
        -------
        Tensor of shape (n_images, dim), float32
            On the encoder's device.
        """
        assert self._learned, "fit comes before encode"
        return torch.cat([self._projected(images) for images in torch.split(batch, BATCH_IMAGES)])

    def _projected(self, images_BCSS: Tensor) -> Tensor:
        parts = []
        for branch in self._branches:
            mean_F, projection_FK = (self._learned[f"{branch}.{part}"] for part in ("mean", "projection"))
            if projection_FK.shape[1]:
                parts.append((self._features(branch, images_BCSS) - mean_F) @ projection_FK)
        return torch.cat(parts, dim=1)

    def _features(self, branch: str, images_BCSS: Tensor) -> Tensor:
        """Return the features of a branch, of shape (n_images, F)."""
        images_BCSS = images_BCSS.to(self._device)
        if branch == "colour":
            return adaptive_avg_pool2d(images_BCSS, COLOUR_CELLS).flatten(1)
        dictionary = Dictionary(*(self._learned[f"{branch}.{part}"] for part in Dictionary._fields))
        return pooled_activations(one_axis(_resized(images_BCSS, int(branch.removeprefix("shape")))), dictionary)

    def _learn_dictionary(self, side: int, images: Tensor, generator: torch.Generator) -> None:
        chosen = images[:MAX_DICTIONARY_IMAGES]
        axes = torch.cat([one_axis(_resized(part.to(self._device), side)) for part in chosen.split(BATCH_IMAGES)])
        learned = learn_dictionary(axes, generator)
        self._learned |= {f"shape{side}.{name}": tensor for name, tensor in learned._asdict().items()}

    def _learn_axes(self, branch: str, images: Tensor, generator: torch.Generator) -> float:
        """Learn the projection of a branch to rows of mean square norm 1; return its weight, not yet compared."""
        batches = (self._features(branch, part) for part in images.split(BATCH_IMAGES))
        mean_F, projection_FK = principal_axes(batches, MAX_DIM, WHITENING, generator)
        sample = images[:MAX_ROWS].split(BATCH_IMAGES)
        rows_NK = torch.cat([(self._features(branch, part) - mean_F) @ projection_FK for part in sample])
        norm = rows_NK.square().sum(dim=1).mean().sqrt().clamp(min=1e-6)
        self._learned |= {f"{branch}.mean": mean_F, f"{branch}.projection": projection_FK / norm}
        weight: float = neighbor_structure(rows_NK, generator) ** SHARPNESS
        return weight


def _resized(images_BCSS: Tensor, side: int) -> Tensor:
    if images_BCSS.shape[-1] == side:
        return images_BCSS
    return interpolate(images_BCSS, (side, side), mode="bicubic", antialias=True, align_corners=False)


def _has_colours(images_NCSS: Tensor) -> bool:
    if images_NCSS.shape[1] == 1:
        return False
    sample = images_NCSS[:MAX_ROWS]
    return float((sample - sample.mean(dim=1, keepdim=True)).square().mean().sqrt()) >= MIN_CHROMA
