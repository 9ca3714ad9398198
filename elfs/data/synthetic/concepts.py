"""What the classes of a pool look like: two to four curved strokes or blobs each, in several styles.

Only sums, products, quotients and square roots are used, which every machine rounds alike. Shape suffixes: K strokes,
S straight segments, P pixels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elfs.data.synthetic.draws import Draws
from elfs.data.synthetic.spec import SyntheticSpec

__all__ = ["MAX_STROKES", "Concept", "concepts", "coverage", "pixel_grid", "segments", "stray_concept"]

MAX_STROKES = 4
"""Strokes that a concept has at most."""

_CONCEPT, _STYLE = 2, 3
"""Purposes of streams of random numbers."""
_CANDIDATES = 6
_MAP_SIDE = 10
"""Side of the small drawings by which candidates are compared, in pixels."""
_STYLE_CHANGE = 0.7
"""Range in which a style moves each stroke along each axis, and range of its shear."""
_CURVE_POINTS = 5
"""Ends of the straight segments that stand for a curve."""

Array = NDArray[np.float64]

_T = np.arange(_CURVE_POINTS) / (_CURVE_POINTS - 1)
_BERNSTEIN = np.stack([(1 - _T) * (1 - _T), 2 * _T * (1 - _T), _T * _T])


@dataclass(frozen=True, eq=False)
class Concept:
    """A drawing in ``[-1, 1]`` squared.

    Attributes
    ----------
    controls : ndarray of shape (K, 3, 2), float64
        Control points of K quadratic Bezier curves; a blob has all three in one place.
    widths : ndarray of shape (K,), float64
        Half the width of each stroke.
    """

    controls: Array
    widths: Array


def stray_concept(draws: Draws) -> Concept:
    """Draw a concept.

    Parameters
    ----------
    draws : Draws
        Where it comes from.

    Returns
    -------
    Concept
        Of two to four strokes, about one in five of them a blob.
    """
    num_strokes = 2 + int(draws.uniform(1)[0] * (MAX_STROKES - 1))
    start, stop, bend = (draws.uniform(3, num_strokes, 2) - 0.5) * 1.7
    is_blob = draws.uniform(num_strokes) < 0.2
    middle = (start + stop) / 2 + bend * 0.7
    controls = np.stack([start, middle, stop], axis=1)
    controls[is_blob] = (start * 0.8)[is_blob, None]
    widths = np.where(is_blob, 0.3, 0.13)
    return Concept(controls, widths)


def concepts(spec: SyntheticSpec) -> list[list[Concept]]:
    """Draw all classes of a pool.

    Parameters
    ----------
    spec : SyntheticSpec
        The pool.

    Returns
    -------
    list of list of Concept
        For each class, each style. Of six candidates a class takes the one that is least like the classes before it.
    """
    grid = pixel_grid(_MAP_SIDE)
    maps = np.zeros((spec.classes, _MAP_SIDE * _MAP_SIDE), np.int64)
    found = []
    for number in range(spec.classes):
        draws = Draws(spec.seed, _CONCEPT, number)
        candidates = [stray_concept(draws) for _ in range(_CANDIDATES)]
        drawn = np.stack([_map(candidate, grid) for candidate in candidates])
        distances = [int(np.min(_squares(maps[:number], one), initial=2**62)) for one in drawn]
        best = int(np.argmax(distances))
        maps[number] = drawn[best]
        found.append([_styled(candidates[best], spec.seed, number, style) for style in range(spec.styles)])
    return found


def _map(concept: Concept, grid: Array) -> NDArray[np.int64]:
    return np.rint(coverage(*segments(concept.controls, concept.widths * 1.5), grid) * 255).astype(np.int64)


def _squares(maps: NDArray[np.int64], one: NDArray[np.int64]) -> NDArray[np.int64]:
    found: NDArray[np.int64] = ((maps - one) ** 2).sum(axis=1)
    return found


def _styled(concept: Concept, seed: int, number: int, style: int) -> Concept:
    """Return a variant: other proportions, every stroke moved, one bent the other way. Style 0 is the concept."""
    if style == 0:
        return concept
    draws = Draws(seed, _STYLE, number, style)
    moved = concept.controls + (draws.uniform(len(concept.widths), 1, 2) - 0.5) * _STYLE_CHANGE
    bent = int(draws.uniform(1)[0] * len(moved))
    moved[bent, 1] = moved[bent, 0] + moved[bent, 2] - moved[bent, 1]
    width, stretch, shear = draws.uniform(3)
    moved[..., 0] *= 0.75 + 0.5 * stretch
    moved[..., 0] += (shear - 0.5) * _STYLE_CHANGE * moved[..., 1]
    return Concept(moved, concept.widths * (0.75 + 0.6 * width))


def pixel_grid(size: int) -> Array:
    """Return the centres of pixels.

    Parameters
    ----------
    size : int
        Side of the image.

    Returns
    -------
    ndarray of shape (2, size * size), float64
        x to the right and y downwards, in ``[-1, 1]``, row by row.
    """
    line = (np.arange(size) * 2 + 1 - size) / size
    return np.stack([np.tile(line, size), np.repeat(line, size)])


def segments(controls: Array, widths: Array) -> tuple[Array, Array, Array]:
    """Cut curves into straight segments.

    Parameters
    ----------
    controls : ndarray of shape (K, 3, 2), float64
        Control points of quadratic Bezier curves.
    widths : ndarray of shape (K,), float64
        Half the width of each.

    Returns
    -------
    starts : ndarray of shape (2, S), float64
        Where each segment begins; S is 4 K.
    steps : ndarray of shape (2, S), float64
        From its begin to its end.
    widths : ndarray of shape (S,), float64
        Half the width of each.
    """
    x, y, z = (controls[:, i, :, None] for i in range(3))
    points = x * _BERNSTEIN[0] + y * _BERNSTEIN[1] + z * _BERNSTEIN[2]
    starts = points[..., :-1].transpose(1, 0, 2).reshape(2, -1)
    steps = (points[..., 1:] - points[..., :-1]).transpose(1, 0, 2).reshape(2, -1)
    return starts, steps, np.repeat(widths, _CURVE_POINTS - 1)


def coverage(starts: Array, steps: Array, widths: Array, grid: Array) -> Array:
    """Return how much of each pixel is covered by strokes.

    Parameters
    ----------
    starts, steps : ndarray of shape (2, S), float64
        Segments.
    widths : ndarray of shape (S,), float64
        Half the width of each.
    grid : ndarray of shape (2, P), float64
        Centres of the pixels of a square image.

    Returns
    -------
    ndarray of shape (P,), float64
        In ``[0, 1]``: the edge of a stroke is one pixel wide.
    """
    lengths = np.maximum(steps[0] * steps[0] + steps[1] * steps[1], 1e-12)
    from_x, from_y = grid[0] - starts[0, :, None], grid[1] - starts[1, :, None]
    along = from_x * (steps[0] / lengths)[:, None]
    along += from_y * (steps[1] / lengths)[:, None]
    np.clip(along, 0.0, 1.0, out=along)
    from_x -= along * steps[0, :, None]
    from_y -= along * steps[1, :, None]
    from_x *= from_x
    from_y *= from_y
    from_x += from_y
    inside = widths[:, None] - np.sqrt(from_x, out=from_x)
    found: Array = np.clip(inside.max(axis=0) * (grid.shape[1] ** 0.5 / 2) + 0.5, 0.0, 1.0)
    return found
