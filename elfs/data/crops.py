"""Square crops of decoded images, centred or random.

Each resamples only the part that it keeps, so that an image of 1 x 30,000 pixels needs no more memory than another.
Calling a crop gives a uint8 tensor of shape [3, size, size].
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

__all__ = ["CenterCrop", "RandomCrop"]

_CROP_AREA = (0.08, 1.0)
_CROP_ASPECT = (3 / 4, 4 / 3)
_NUM_CROP_TRIES = 10


@dataclass(frozen=True)
class CenterCrop:
    """Resize so that the short side is ``zoom * size``, then crop the centre.

    Attributes
    ----------
    size : int
        Side of the result in pixels.
    zoom : float
        At least 1; 1 crops as large a square as there is.
    filter : PIL.Image.Resampling
        How to resample; antialiased where it shrinks.
    """

    size: int
    zoom: float
    filter: Image.Resampling

    def __call__(self, image: Image.Image) -> Tensor:
        """Crop an image.

        Parameters
        ----------
        image : PIL.Image.Image
            Mode RGB, of any size.

        Returns
        -------
        Tensor of shape (3, size, size), uint8
            The crop.
        """
        side = min(image.size) / self.zoom
        left, upper = (image.width - side) / 2, (image.height - side) / 2
        return _resized(image, (left, upper, left + side, upper + side), self.size, self.filter)


@dataclass(frozen=True)
class RandomCrop:
    """Random resized crop, 8 to 100 % of the area and 3:4 to 4:3 before it is squeezed into a square; bilinear.

    Attributes
    ----------
    size : int
        Side of the result in pixels.
    mirror : bool
        Whether to mirror every second image.
    """

    size: int
    mirror: bool

    def __call__(self, image: Image.Image, seed: int) -> Tensor:
        """Crop an image.

        Parameters
        ----------
        image : PIL.Image.Image
            Mode RGB, of any size.
        seed : int
            At least 0; decides the box and the mirror, alone.

        Returns
        -------
        Tensor of shape (3, size, size), uint8
            The crop.
        """
        random = np.random.default_rng(seed)
        pixels = _resized(image, _crop_box(image.width, image.height, random), self.size, Image.Resampling.BILINEAR)
        return pixels.flip(-1) if self.mirror and random.random() < 0.5 else pixels


def _crop_box(width: int, height: int, random: np.random.Generator) -> tuple[float, float, float, float]:
    """Draw a box until one fits; after ten take the largest centred one of an allowed ratio."""
    for _ in range(_NUM_CROP_TRIES):
        area = random.uniform(*_CROP_AREA) * width * height
        aspect = math.exp(random.uniform(math.log(_CROP_ASPECT[0]), math.log(_CROP_ASPECT[1])))
        crop_width, crop_height = math.sqrt(area * aspect), math.sqrt(area / aspect)
        if crop_width <= width and crop_height <= height:
            left, upper = random.uniform(0, width - crop_width), random.uniform(0, height - crop_height)
            return left, upper, left + crop_width, upper + crop_height
    crop_width, crop_height = min(width, height * _CROP_ASPECT[1]), min(height, width / _CROP_ASPECT[0])
    left, upper = (width - crop_width) / 2, (height - crop_height) / 2
    return left, upper, left + crop_width, upper + crop_height


def _resized(image: Image.Image, box: tuple[float, float, float, float], size: int, filter: Image.Resampling) -> Tensor:
    """Resample a box of the image to [3, size, size], uint8."""
    box = (max(box[0], 0), max(box[1], 0), min(box[2], image.width), min(box[3], image.height))
    pixels = np.array(image.resize((size, size), filter, box=box))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
