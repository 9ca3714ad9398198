"""JSON documents that may come from a stranger, read with bounds on time and memory."""

import json
import math
import reprlib
from typing import Any

from elfs.errors import CorruptArtifactError

__all__ = ["MAX_JSON_BYTES", "MAX_JSON_DEPTH", "MAX_JSON_VALUES", "parse_json"]

MAX_JSON_BYTES = 256 * 1024 * 1024
"""No JSON document of a workspace may be larger than this (bytes)."""

MAX_JSON_VALUES = 2_000_000
"""Nor may it hold more values; the largest manifests, of a hundred thousand files, hold a quarter of it."""

MAX_JSON_DEPTH = 64
"""Nor may they be nested deeper."""

_MAX_DIGITS = 20


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"duplicate key {reprlib.repr(key)}")
        result[key] = value
    return result


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"{text[:_MAX_DIGITS]}... has too many digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{reprlib.repr(text)} is larger than any number")
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [
            item
            for parent in level
            if isinstance(parent, dict | list)
            for item in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return True


def parse_json(data: bytes, name: str) -> Any:
    """Return the value of a JSON document that may come from a stranger.

    Parameters
    ----------
    data : bytes
        The document, UTF-8.
    name : str
        What the error message calls it.

    Returns
    -------
    Any
        Plain Python values.

    Raises
    ------
    CorruptArtifactError
        If it is too large, is no JSON in UTF-8, is nested too deeply, repeats a key, or holds NaN, infinity, a float
        that is larger than any, or an integer of more than 20 digits. It is refused before memory is taken for it.
    """
    if len(data) > MAX_JSON_BYTES:
        raise CorruptArtifactError(f"{name} is larger than {MAX_JSON_BYTES:,} bytes, the most that is read.")
    num_values = sum(data.count(mark) for mark in (b",", b"[", b"{"))
    if num_values > MAX_JSON_VALUES:
        raise CorruptArtifactError(f"{name} holds about {num_values:,} values, expected at most {MAX_JSON_VALUES:,}.")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_finite,
        )
    except RecursionError:
        raise CorruptArtifactError(f"{name} is nested too deeply.") from None
    except ValueError as error:
        raise CorruptArtifactError(f"{name} is not valid JSON: {error}.") from None
    if _is_deep(value):
        raise CorruptArtifactError(f"{name} is nested too deeply.")
    return value
