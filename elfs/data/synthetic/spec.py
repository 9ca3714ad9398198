"""What to draw: ``synthetic:SPEC`` in words, and the one way to write each of them. Imports neither torch nor numpy."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from elfs.errors import UsageError
from elfs.source_names import SYNTHETIC_PREFIX as PREFIX
from elfs.suggestions import suggestion

__all__ = ["COLOURS", "PRESETS", "SyntheticSpec", "canonical_source", "parse_source"]

"""What the name of every such source begins with."""

COLOURS = ("plain", "random", "class")
"""What the colours of ground and ink follow."""

_SHARES = ("redundancy", "ambiguity", "outliers", "duplicates")


def _value(default: float, minimum: float, maximum: float) -> Any:
    """Declare a value with its range, both ends included."""
    return dataclasses.field(default=default, metadata={"minimum": minimum, "maximum": maximum})


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticSpec:
    """A pool that can be drawn. The values are checked; the defaults make a clean, balanced pool.

    Attributes
    ----------
    classes : int
        Visual concepts, in ``[2, 1000]``.
    images : int
        Training images, at most 10,000,000.
    test : int
        Test images: balanced, every style equally often, none of them a duplicate, ambiguous or an outlier.
    size : int
        Side of an image in pixels, in ``[8, 256]``.
    styles : int
        Variants of each concept, in ``[1, 16]``; in the training split each is half as frequent as the one before.
    clutter : float
        Strength of pixel noise, uneven light and stray strokes, in ``[0, 1]``.
    redundancy : float
        Share of training images that are close variants of a few others of their class.
    ambiguity : float
        Share of training images that blend two concepts.
    outliers : float
        Share of training images that show no concept of the pool, with the label of a random class.
    imbalance : float
        Size of the largest class over that of the smallest, in ``[1, 1000]``; the sizes between fall exponentially.
    duplicates : float
        Share of training images that are copies of others: three quarters to the pixel, one quarter nearly.
    seed : int
        Another seed draws other concepts and other images, in ``[0, 2**32 - 1]``.
    colour : {"plain", "random", "class"}
        Colours of ground and ink: a bright, almost gray ink on a dark ground; any two, drawn for each image anew, which
        say nothing about the class; or those of the class, and a drawing of its own for each image, which says nothing.
    """

    classes: int = _value(10, 2, 1000)
    images: int = _value(2000, 4, 10_000_000)
    test: int = _value(500, 0, 1_000_000)
    size: int = _value(12, 8, 256)
    styles: int = _value(4, 1, 16)
    clutter: float = _value(0.5, 0, 1)
    redundancy: float = _value(0.0, 0, 0.95)
    ambiguity: float = _value(0.0, 0, 0.95)
    outliers: float = _value(0.0, 0, 0.95)
    imbalance: float = _value(1.0, 1, 1000)
    duplicates: float = _value(0.0, 0, 0.95)
    seed: int = _value(0, 0, 2**32 - 1)
    colour: str = "plain"

    def __post_init__(self) -> None:
        if self.colour not in COLOURS:
            raise UsageError(f"{PREFIX} colour is '{self.colour}', expected one of {', '.join(COLOURS)}.")
        for field in dataclasses.fields(self):
            if not field.metadata:
                continue
            value, low, high = getattr(self, field.name), field.metadata["minimum"], field.metadata["maximum"]
            if not low <= value <= high:
                shown = f"{value:,}" if isinstance(value, int) else f"{value:g}"
                raise UsageError(f"{PREFIX} {field.name} is {shown}, expected {low:,} to {high:,}.")
        _check_sizes(self)

    @property
    def name(self) -> str:
        """The one way to write this pool: the preset that needs the fewest changes, then the changes in fixed order."""
        written = min((_written(self, preset) for preset in PRESETS), key=len)
        return PREFIX + ",".join(written)


def _check_sizes(spec: SyntheticSpec) -> None:
    """Check that every class has a plain image."""
    weights = [spec.imbalance ** (-k / (spec.classes - 1)) for k in range(spec.classes)]
    least = math.ceil(sum(weights) * spec.imbalance - 1e-9)  # images for one in the smallest class
    if spec.images < least:
        raise UsageError(
            f"{PREFIX} images is {spec.images:,}, expected at least {least:,} for {spec.classes:,} classes with "
            f"imbalance {spec.imbalance:g}."
        )
    num_special = sum(round(getattr(spec, share) * spec.images) for share in _SHARES)
    if num_special > spec.images - spec.classes:
        raise UsageError(
            f"{PREFIX} {', '.join(_SHARES)} take {num_special:,} of {spec.images:,} images together, expected at most "
            f"{spec.images - spec.classes:,}: every class needs a plain image."
        )


def _written(spec: SyntheticSpec, preset: str) -> list[str]:
    names = [field.name for field in dataclasses.fields(spec)]
    changed = [name for name in names if getattr(spec, name) != getattr(PRESETS[preset], name)]
    return [preset, *(f"{name}={_text(getattr(spec, name))}" for name in changed)]


def _text(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return str(int(value)) if value == int(value) else repr(value)


PRESETS: dict[str, SyntheticSpec] = {
    "clean": SyntheticSpec(),
    "balanced": SyntheticSpec(clutter=0.6, redundancy=0.3, ambiguity=0.05),
    "longtail": SyntheticSpec(
        images=3000, styles=3, clutter=0.4, redundancy=0.2, ambiguity=0.05, outliers=0.05, imbalance=20, duplicates=0.1
    ),
    "shapes": SyntheticSpec(size=32, colour="random"),
    "colours": SyntheticSpec(size=32, colour="class"),
}
"""Specs by name; one without a preset starts from ``clean``. They are part of pools' names: they stay as they are."""


def parse_source(source: str) -> SyntheticSpec:
    """Read the name of a source.

    Parameters
    ----------
    source : str
        ``synthetic:SPEC``. SPEC is a preset, ``name=value`` pairs, or a preset and pairs that change it, all separated
        by commas.

    Returns
    -------
    SyntheticSpec
        What it stands for.

    Raises
    ------
    UsageError
        If a name is unknown or given twice, a value is no number or out of its range, or the values do not go together.
    """
    words = [word.strip() for word in source.removeprefix(PREFIX).split(",")]
    preset = "clean"
    if "=" not in words[0]:
        preset = words.pop(0) or preset
        if preset not in PRESETS:
            raise UsageError(
                f"{PREFIX} there is no preset '{preset}'.{suggestion(preset, PRESETS)} Expected one of "
                f"{', '.join(PRESETS)}, or pairs such as classes=10,images=2000."
            )
    kinds = {field.name: field.type for field in dataclasses.fields(SyntheticSpec)}
    given: dict[str, Any] = {}
    for word in words:
        name, equals, text = (part.strip() for part in word.partition("="))
        if not equals:
            raise UsageError(f"{PREFIX} expected name=value, got '{word}' (a preset comes first).")
        if name not in kinds:
            raise UsageError(
                f"{PREFIX} there is no value '{name}'.{suggestion(name, kinds)} Available: {', '.join(kinds)}."
            )
        if name in given:
            raise UsageError(f"{PREFIX} {name} is given twice.")
        given[name] = text if kinds[name] is str else _parsed(name, text, whole=kinds[name] is int)
    return dataclasses.replace(PRESETS[preset], **given)


def _parsed(name: str, text: str, *, whole: bool) -> float:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        expected = "a whole number" if whole else "a number"
        raise UsageError(f"{PREFIX} {name} is '{text}', expected {expected}.") from None


def canonical_source(source: str) -> str:
    """Return the one name of a source.

    Parameters
    ----------
    source : str
        Name of any source.

    Returns
    -------
    str
        For ``synthetic:SPEC`` the same for every spec that stands for the same pool; any other name as it is.

    Raises
    ------
    UsageError
        If the spec cannot be read.
    """
    return parse_source(source).name if source.startswith(PREFIX) else source
