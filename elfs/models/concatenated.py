"""Several encoders as one: their embeddings side by side."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from elfs.models.fingerprints import fingerprint

if TYPE_CHECKING:
    from elfs.models.encoder import Encoder

__all__ = ["ConcatenatedEncoder", "part_widths"]

_SOME_SIDE = 32


@dataclass(frozen=True, slots=True)
class _FlatTransform:
    """The results of several transforms in one row: encoders see images of different sizes."""

    transforms: tuple[Callable[[Image.Image], Tensor], ...]

    def __call__(self, image: Image.Image) -> Tensor:
        return torch.cat([transform(image).flatten() for transform in self.transforms])

    @property
    def shapes(self) -> list[torch.Size]:
        """Shape of each result, which is the same for every image."""
        image = Image.new("RGB", (_SOME_SIDE, _SOME_SIDE))
        return [transform(image).shape for transform in self.transforms]


class ConcatenatedEncoder:
    """Embeddings of several encoders, each scaled to unit length, side by side.

    The cosine of two such embeddings is the mean of the parts' cosines: every part counts the same, however many
    dimensions it has and however long its embeddings are.

    Parameters
    ----------
    parts : Sequence of Encoder
        At least two, on one device.

    Attributes
    ----------
    parts : list of Encoder
        In their order.
    name : str
        Names of the parts, joined by ``+``.
    needs_fit : bool
        Whether any part does.
    transform : callable
        From an image to a row with what every part takes.
    fit_transform : callable
        From an image to a row with what the parts that need a fit learn from.
    """

    def __init__(self, parts: "Sequence[Encoder]") -> None:
        self.parts = list(parts)
        self._learners = [part for part in parts if part.needs_fit]
        self.name = "+".join(part.name for part in parts)
        self.needs_fit = bool(self._learners)
        flat, flat_fit = (
            _FlatTransform(tuple(part.transform for part in parts)),
            _FlatTransform(tuple(part.fit_transform for part in self._learners)),
        )
        self.transform: Callable[[Image.Image], Tensor] = flat
        self.fit_transform: Callable[[Image.Image], Tensor] = flat_fit
        self._shapes, self._fit_shapes = flat.shapes, flat_fit.shapes

    @property
    def dim(self) -> int:
        """Sum of the parts' widths."""
        return sum(part.dim for part in self.parts)

    @property
    def fingerprint(self) -> str:
        """Digest of those of the parts, in their order."""
        return fingerprint([part.fingerprint for part in self.parts], {})

    def fit(self, images: Tensor, generator: torch.Generator) -> None:
        """Let every part that learns from the pool learn, in their order."""
        for part, inputs in zip(self._learners, _split(images, self._fit_shapes), strict=True):
            part.fit(inputs, generator)

    def learned(self) -> dict[str, Tensor]:
        """Return what the parts have learned, each name after the part's number, on the CPU."""
        return {
            f"{number}.{name}": tensor
            for number, part in enumerate(self.parts)
            for name, tensor in part.learned().items()
        }

    def restore(self, learned: Mapping[str, Tensor]) -> None:
        """Let every part that learns take over what it would learn."""
        for number, part in enumerate(self.parts):
            prefix = f"{number}."
            part.restore(
                {name.removeprefix(prefix): tensor for name, tensor in learned.items() if name.startswith(prefix)}
            )

    def encode(self, batch: Tensor) -> Tensor:
        """Return embeddings of length ``sqrt(n_parts)``, on the CPU; a part that is all zero stays so."""
        inputs = zip(self.parts, _split(batch, self._shapes), strict=True)
        return torch.cat([F.normalize(part.encode(images).cpu(), dim=1) for part, images in inputs], dim=1)

    def to(self, device: torch.device) -> Self:
        """Move all parts."""
        for part in self.parts:
            part.to(device)
        return self


def part_widths(encoder: "Encoder") -> list[int]:
    """Return how wide the embeddings of each part of an encoder are.

    Parameters
    ----------
    encoder : Encoder
        Fitted where it needs that.

    Returns
    -------
    list of int
        They sum to the encoder's width; one number for an encoder without parts.
    """
    return [part.dim for part in encoder.parts] if isinstance(encoder, ConcatenatedEncoder) else [encoder.dim]


def _split(rows: Tensor, shapes: list[torch.Size]) -> list[Tensor]:
    blocks = rows.split([math.prod(shape) for shape in shapes], dim=1)
    return [block.unflatten(1, shape) for block, shape in zip(blocks, shapes, strict=True)]
