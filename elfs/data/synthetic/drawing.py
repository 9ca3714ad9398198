"""Draws the images of a pool: any image alone, the same bits in every process and on every machine.

Shape suffixes: K strokes, P pixels.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from elfs.data.samples import Split
from elfs.data.synthetic.colours import class_pairs, random_pair, varied
from elfs.data.synthetic.concepts import (
    MAX_STROKES,
    Concept,
    concepts,
    coverage,
    pixel_grid,
    segments,
    stray_concept,
)
from elfs.data.synthetic.draws import Draws
from elfs.data.synthetic.plan import Kind, Plan, make_plan
from elfs.data.synthetic.spec import SyntheticSpec

__all__ = ["Drawing"]

Array = NDArray[np.float64]

_IMAGE, _NOISE, _STRAY, _JITTER, _COPY, _PAINT, _SHAPE = 4, 5, 6, 7, 8, 10, 11
"""Purposes of streams of random numbers; 1 to 3 are the plan's and the concepts', 9 that of the classes' colours."""

_MAX_CLUTTER = 3
_POSE = 17
_NUM_DRAWS = _POSE + _MAX_CLUTTER * 8 + MAX_STROKES * 6
"""Numbers that make an image: pose, colours and light; 8 for each stray stroke; 6 for each stroke of the concept."""

_JITTER_SIZE = 0.1
"""Range in which each of them may differ between a redundant image and its base; most range over 1 elsewhere."""
_OWN_NOISE = 0.4
"""Strength of a redundant image's own noise, added to its base's."""

_DEFORMATION = 0.25
"""Range in which each control point moves along each axis; the image ranges over 2."""
_SHIFT = 0.35
"""Range in which the whole drawing moves along each axis."""
_TURN = 0.3
"""Range of the tangent of half the angle: 17 degrees to either side."""
_SCALE, _SCALE_RANGE = 0.75, 0.2
"""The smallest scale of a drawing, and what is added to it at most."""
_TINT, _HUE = 0.1, 0.3
"""How far the channels of the background differ, and those of the ink."""
_CONTRAST = 0.4
"""Least difference between ink and background."""
_CLUTTER_INK = 0.6
"""What is added at most to the ink of a stray stroke, which has a fifth of that of the concept at least."""
_NOISE_DEVIATION = 0.16
"""Standard deviation of the noise at full clutter; pixels range over 1."""
_BYTES_DEVIATION = 147.8
"""Of the sum of four random bytes: sqrt(4 * (256**2 - 1) / 12)."""


class Drawing:
    """The images of a pool.

    Parameters
    ----------
    spec : SyntheticSpec
        What to draw.
    """

    def __init__(self, spec: SyntheticSpec) -> None:
        self._spec = spec

    def __reduce__(self) -> tuple[type["Drawing"], tuple[SyntheticSpec]]:
        return Drawing, (self._spec,)

    @cached_property
    def _plans(self) -> dict[Split, Plan]:
        return {split: make_plan(self._spec, split) for split in Split}

    @cached_property
    def _concepts(self) -> list[list[Concept]]:
        return concepts(self._spec)

    @cached_property
    def _class_pairs(self) -> Array:
        return class_pairs(self._spec.seed, self._spec.classes)

    @cached_property
    def _grid(self) -> Array:
        return pixel_grid(self._spec.size)

    def image(self, split: Split, index: int) -> NDArray[np.uint8]:
        """Draw one image.

        Parameters
        ----------
        split : Split
            Which part of the pool.
        index : int
            Number of the image in its split, from 0.

        Returns
        -------
        ndarray of shape (size, size, 3), uint8
            RGB.
        """
        plan, origin = self._plans[split], index
        kind = Kind(int(plan.kinds[index]))
        if kind >= Kind.DUPLICATE:
            origin = int(plan.origins[index])
        pixels = self._draw(plan, split, origin)
        return pixels if kind != Kind.NEAR_DUPLICATE else _nearly(pixels, Draws(self._spec.seed, _COPY, index))

    def _draw(self, plan: Plan, split: Split, index: int) -> NDArray[np.uint8]:
        """Return an image that copies no other; a redundant one has almost the pose, light and noise of its base."""
        seed, is_variant = self._spec.seed, plan.kinds[index] == Kind.REDUNDANT
        base = int(plan.origins[index]) if is_variant else index
        draw = Draws(seed, _IMAGE, split, base).uniform(_NUM_DRAWS)
        noise = self._noise(split, base)
        if is_variant:
            draw += (Draws(seed, _JITTER, index).uniform(_NUM_DRAWS) - 0.5) * _JITTER_SIZE
            np.clip(draw, 0.0, 1.0, out=draw)
            noise += self._noise(split, index) * _OWN_NOISE
        colors = self._colors(plan, split, index, draw)
        return self._painted(self._ink(plan, split, index, draw), colors, draw, noise)

    def _noise(self, split: Split, index: int) -> Array:
        """Return the noise [3, P] of an image: nearly normal, a sum of four bytes."""
        size = self._spec.size
        draws = Draws(self._spec.seed, _NOISE, split, index)
        sums = draws.bytes(12 * size * size).reshape(4, 3, size * size).sum(axis=0, dtype=np.int64)
        noise: Array = (sums - 510) * (self._spec.clutter * _NOISE_DEVIATION / _BYTES_DEVIATION)
        return noise

    def _ink(self, plan: Plan, split: Split, index: int, draw: Array) -> Array:
        """Return how much of each pixel [P] the concept covers; every other outlier shows none, the rest their own."""
        if plan.kinds[index] == Kind.OUTLIER:
            draws = Draws(self._spec.seed, _STRAY, index)
            if draws.uniform(1)[0] < 0.5:
                return np.zeros(self._grid.shape[1])
            return self._posed(stray_concept(draws), draw)
        if self._spec.colour == "class":
            base = int(plan.origins[index]) if plan.kinds[index] == Kind.REDUNDANT else index
            return self._posed(stray_concept(Draws(self._spec.seed, _SHAPE, split, base)), draw)
        style = int(plan.styles[index])
        ink = self._posed(self._concepts[plan.classes[index]][style], draw)
        if plan.kinds[index] == Kind.AMBIGUOUS:
            share = _share(draw)
            ink = share * ink + (1 - share) * self._posed(self._concepts[plan.others[index]][style], draw)
        return ink

    def _posed(self, concept: Concept, draw: Array) -> Array:
        """Return the coverage [P] of a concept, each point a little moved, then turned, scaled and shifted."""
        num_strokes = len(concept.widths)
        moves = draw[-num_strokes * 6 :].reshape(num_strokes, 3, 2)
        controls = concept.controls + (moves - 0.5) * _DEFORMATION
        tangent = (draw[0] - 0.5) * _TURN  # of half the angle: sine and cosine without either
        cosine, sine = (1 - tangent * tangent) / (1 + tangent * tangent), 2 * tangent / (1 + tangent * tangent)
        scale = _SCALE + _SCALE_RANGE * draw[1]
        x, y = controls[..., 0] * scale, controls[..., 1] * scale
        turned = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1)
        turned += (draw[2:4] - 0.5) * _SHIFT
        return coverage(*segments(turned, concept.widths * scale * (0.75 + 0.6 * draw[4])), self._grid)

    def _colors(self, plan: Plan, split: Split, index: int, draw: Array) -> tuple[Array, Array, float]:
        """Return ground, ink, and how far the brightest stray stroke stands out; a redundant image has its base's."""
        contrast = _CONTRAST + 0.35 * float(draw[9])
        if self._spec.colour == "plain":
            ground = 0.08 + 0.3 * draw[5] + _TINT * draw[6:9]
            return ground, ground + contrast * (1 - _HUE + 2 * _HUE * draw[10:13]), contrast
        kind = Kind(int(plan.kinds[index]))
        base = int(plan.origins[index]) if kind == Kind.REDUNDANT else index
        draws = Draws(self._spec.seed, _PAINT, split, base)
        if self._spec.colour == "random" or kind == Kind.OUTLIER:
            ground, color = random_pair(draws)
            return ground, color, contrast
        pair = self._class_pairs[plan.classes[index]]
        if kind == Kind.AMBIGUOUS:
            share = _share(draw)
            pair = share * pair + (1 - share) * self._class_pairs[plan.others[index]]
        ground, color = varied(pair, draws)
        return ground, color, contrast

    def _painted(self, ink: Array, colors: tuple[Array, Array, float], draw: Array, noise: Array) -> NDArray[np.uint8]:
        """Return the image: background, stray strokes, the ink, uneven light, noise."""
        strength, size = self._spec.clutter, self._spec.size
        ground, color, contrast = colors
        image = np.broadcast_to(ground[:, None], (3, size * size)).copy()
        num_stray = int(draw[13] * (_MAX_CLUTTER + 1) * (0.4 + 0.6 * strength)) if strength else 0
        for stroke in draw[_POSE : _POSE + 8 * _MAX_CLUTTER].reshape(_MAX_CLUTTER, 8)[:num_stray]:
            image += self._stray(stroke) * strength * contrast * (0.2 + _CLUTTER_INK * stroke[7])
        image += ink * (color[:, None] - image)
        light = (draw[14:16] - 0.5) * strength
        image *= 1 + light[0] * self._grid[0] + light[1] * self._grid[1]
        image += noise
        levels = np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8).reshape(3, size, size)
        return np.ascontiguousarray(levels.transpose(1, 2, 0))

    def _stray(self, stroke: Array) -> Array:
        """Return the coverage [P] of a straight stroke that belongs to no concept."""
        start = (stroke[0:2] - 0.5) * 2.4
        stop = start + (stroke[2:4] - 0.5) * 1.6
        starts, steps = start[:, None], (stop - start)[:, None]
        return coverage(starts, steps, 0.05 + 0.1 * stroke[6:7], self._grid)


def _share(draw: Array) -> float:
    """Return how much of an ambiguous image is of its own class."""
    return 0.5 + 0.2 * float(draw[_POSE - 1])


def _nearly(pixels: NDArray[np.uint8], draws: Draws) -> NDArray[np.uint8]:
    """Return a copy that is shifted by one pixel along both axes, or has up to two gray levels of noise."""
    if draws.uniform(1)[0] < 0.5:
        padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
        right, down = (draws.uniform(2) * 2).astype(np.int64) * 2
        size = len(pixels)
        return np.ascontiguousarray(padded[down : down + size, right : right + size])
    change = draws.bytes(pixels.size).reshape(pixels.shape).astype(np.int64) % 5 - 2
    found: NDArray[np.uint8] = np.clip(pixels + change, 0, 255).astype(np.uint8)
    return found
