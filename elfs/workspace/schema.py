"""Which values each artifact's tensors may hold, held against them when they are first read.

The digest says that a file is what was written; this says that what was written makes sense, whoever wrote it.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from elfs.errors import CorruptArtifactError
from elfs.workspace.records import Artifact
from elfs.workspace.tensors import RowArray

__all__ = ["SCHEMAS", "Values", "check_values"]

_BLOCK = 1 << 18
"""Elements that are looked at together."""

_SLACK = 1e-3
"""How far rounding may carry a number beyond its bound, as a share of it."""


@dataclass(frozen=True)
class Values:
    """What the elements of a tensor may be.

    Attributes
    ----------
    low, high : float or str
        Bounds, both included; ``high`` can be ``"rows"``, for row numbers of the tensor itself, or ``"clusters"``, for
        clusters of the artifact. In floating tensors infinities are outside of every bound.
    unknown : int or None
        What stands for an unknown value in integers.
    nan : {"no", "yes", "rows"}
        Whether NaN may stand for one in floats, anywhere or in whole rows alone.
    rising : bool
        Whether each element is at least the one before.
    """

    low: float = -math.inf
    high: float | str = math.inf
    unknown: int | None = None
    nan: str = "no"
    rising: bool = False


_SHARE = Values(0, 1, unknown=255, nan="yes")
_SPREAD = Values(0, nan="yes")

SCHEMAS: dict[str, dict[str, Values]] = {
    "samples": {
        "id_offsets": Values(0, rising=True),
        "split": Values(0, 1),
        "num_bytes": Values(0),
        "outcome": Values(0, 4),
        "reason_rows": Values(0, rising=True),
        "reason_offsets": Values(0, rising=True),
    },
    "embeddings": {"embeddings": Values(nan="rows")},
    "neighbors": {"indices": Values(0, "rows", unknown=-1), "similarity": Values(-1, 1, nan="yes")},
    "heads": {"*": Values()},
    "pseudo_labels": {
        "pseudo_labels": Values(0, "clusters", unknown=-1),
        "confidence": Values(0, 1, nan="yes"),
    },
    "dynamics": {
        "target_probability": _SHARE,
        "margin": Values(-1, 1, nan="yes"),
        "error_norm": Values(0, math.sqrt(2), nan="yes"),
        "entropy": _SPREAD,
        "correct": _SHARE,
    },
    "agreement": {
        "proxy_agreement": _SHARE,
        "held_out_correct": _SHARE,
        "margin_difference": Values(-2, 2, nan="yes"),
        "target_probability_difference": Values(-1, 1, nan="yes"),
        "*": _SPREAD,
    },
    "proxy": {"*": Values()},
    "scores": {"*": Values(nan="yes")},
    "selections": {"indices": Values(0)},
}
"""Artifacts, without what follows a slash, to the values of each tensor; ``*`` stands for all others."""


def check_values(artifact: str, entry: Artifact, tensors: Mapping[str, np.ndarray | RowArray]) -> None:
    """Hold an artifact's tensors against its schema.

    Parameters
    ----------
    artifact : str
        Its name.
    entry : Artifact
        What the manifest says.
    tensors : mapping of str to ndarray or RowArray
        Its tensors; they are read once, in blocks.

    Raises
    ------
    CorruptArtifactError
        If an element is not what it may be; the message names tensor, row, value and what was expected.
    """
    schema = SCHEMAS.get(artifact.partition("/")[0], {})
    for name, tensor in tensors.items():
        allowed = schema.get(name, schema.get("*"))
        if allowed is not None:
            _check(f"{artifact}: tensor '{name}'", allowed, entry, tensor)


def _check(where: str, allowed: Values, entry: Artifact, tensor: np.ndarray | RowArray) -> None:
    parts = tensor.shards if isinstance(tensor, RowArray) else (tensor,)
    high = _high(allowed.high, entry, tensor.shape)
    start, last = 0, -math.inf
    for part in parts:
        for first, block in _blocks(part):
            bad = _outside(block, allowed, high)
            if allowed.rising and not bad.any():
                bad = np.diff(block, prepend=block[:1] if last == -math.inf else [last]) < 0
                last = block[-1] if len(block) else last
            if bad.any():
                place = np.argwhere(bad)[0]
                raise CorruptArtifactError(
                    f"{where} holds {block[tuple(place)]!s} in row {start + first + int(place[0]):,}, "
                    f"expected {_said(allowed, high, block.dtype)}."
                )
        start += len(part) if part.ndim else 0


def _high(high: float | str, entry: Artifact, shape: tuple[int, ...]) -> float:
    if isinstance(high, float | int):
        return high
    stated = entry.metadata.get("clusters")
    return (stated if high == "clusters" and type(stated) is int else shape[0]) - 1


def _blocks(part: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield runs of rows with the number of the first; a scalar is one row."""
    rows = np.atleast_1d(part)
    size = max(1, _BLOCK // max(1, math.prod(rows.shape[1:])))
    for first in range(0, len(rows), size):
        yield first, np.asarray(rows[first : first + size])


def _outside(block: np.ndarray, allowed: Values, high: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which elements are not what they may be."""
    if block.dtype.kind == "f":
        return _outside_floats(block, allowed, high)
    if block.dtype.kind == "b" or not block.size:
        return np.zeros(block.shape, np.bool_)
    limits = np.iinfo(block.dtype)
    low, top = max(allowed.low, limits.min), min(high, limits.max)
    if low <= int(block.min()) and int(block.max()) <= top:
        return np.zeros(block.shape, np.bool_)
    outside = (block < low) | (block > top)
    known = limits.min <= allowed.unknown <= limits.max if allowed.unknown is not None else False
    return outside & (block != allowed.unknown) if known else outside


def _outside_floats(block: np.ndarray, allowed: Values, high: float) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Compare by bits: without its sign a float is ordered as an integer is, infinity and NaN above all others."""
    bits = np.ascontiguousarray(block).view(f"u{block.dtype.itemsize}")
    sign = bits.dtype.type(1 << (8 * block.dtype.itemsize - 1))
    infinity = _bits(np.inf, block.dtype)
    top = max(abs(allowed.low) if math.isfinite(allowed.low) else 0, high)
    most = infinity - 1 if math.isinf(top) else _bits(top * (1 + _SLACK), block.dtype)
    if allowed.low == 0 and bits.max(initial=0) <= most:
        return np.zeros(block.shape, np.bool_)
    size = bits & ~sign
    if allowed.low != 0 and size.max(initial=0) <= most:
        return np.zeros(block.shape, np.bool_)
    outside: np.ndarray[Any, np.dtype[np.bool_]] = size > most
    if allowed.low == 0:
        outside |= (bits > sign) & (size > _bits(_SLACK, block.dtype))
    if allowed.nan != "no" and outside.any():
        missing = size > infinity
        outside &= ~missing
        if allowed.nan == "rows" and block.ndim > 1:
            outside |= missing & ~missing.all(axis=1, keepdims=True)
    return outside


def _bits(value: float, dtype: np.dtype[Any]) -> Any:
    return np.array(value, dtype).view(f"u{dtype.itemsize}")[()]


def _said(allowed: Values, high: float, dtype: np.dtype[Any]) -> str:
    low = allowed.low
    if allowed.rising:
        return f"numbers from {low:.0f} that never fall"
    bounds = f"{low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
    if math.isinf(low):
        bounds = "finite numbers"
    if dtype.kind != "f":
        return f"{bounds}, or {allowed.unknown}" if allowed.unknown is not None else bounds
    return {"no": bounds, "yes": f"{bounds}, or NaN", "rows": f"{bounds}, or NaN in the whole row"}[allowed.nan]
