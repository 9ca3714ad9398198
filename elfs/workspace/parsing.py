"""JSON values to dataclasses, by the annotations of their fields; what does not fit is refused by its name."""

import dataclasses
import functools
import re
import reprlib
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

from elfs.errors import CorruptArtifactError
from elfs.workspace.names import DTYPE_NAMES, EXTERNAL, RESERVED_NAMES
from elfs.workspace.paths import is_plain_path

__all__ = ["Digest", "Dtype", "FileName", "Inputs", "PlainPath", "Size", "fail", "parse", "parse_fields"]

_PLAIN = {str: "a string", int: "an integer", bool: "true or false"}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def fail(field: str, expected: str, got: Any) -> NoReturn:
    """Refuse a value.

    Parameters
    ----------
    field : str
        Where it stands, dotted.
    expected : str
        What should stand there.
    got : Any
        What does; shown shortened.

    Raises
    ------
    CorruptArtifactError
        Always.
    """
    raise CorruptArtifactError(f"field '{field}': expected {expected}, got {reprlib.repr(got)}.")


def parse(kind: Any, value: Any, field: str) -> Any:
    """Return a JSON value as what an annotation says.

    Parameters
    ----------
    kind : Any
        ``str``, ``int``, ``bool``, one of them or None, ``Any``; a ``dict``, a ``tuple`` of any length or a dataclass
        of such; or ``Annotated`` with a function that takes value and field and returns the value or refuses it.
    value : Any
        Plain JSON.
    field : str
        Where it stands, for messages.

    Returns
    -------
    Any
        Of the type `kind`.

    Raises
    ------
    CorruptArtifactError
        If it does not fit; the message names the field, what was expected, and what stands there.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        return arguments[1](value, field)
    if dataclasses.is_dataclass(kind):
        return kind(**{name: parse(hint, item, f"{field}.{name}") for name, hint, item in _items(kind, value, field)})  # type: ignore[operator]
    if origin is tuple:
        if not isinstance(value, list):
            fail(field, "a list", value)
        return tuple(parse(arguments[0], item, f"{field}.{index}") for index, item in enumerate(value))
    if origin is dict:
        key, item_kind = arguments
        items = _object(value, field).items()
        return {
            parse(key, name, field): parse(item_kind, item, f"{field}.{reprlib.repr(name)[1:-1]}")
            for name, item in items
        }
    optional = origin is types.UnionType
    plain = arguments[0] if optional else kind
    if type(value) is plain or (optional and value is None):
        return value
    fail(field, _PLAIN[plain] + (" or null" if optional else ""), value)


def parse_fields(kind: type, value: Any, name: str) -> dict[str, Any]:
    """Return the fields of a document that is a dataclass as a whole.

    Parameters
    ----------
    kind : type
        The dataclass.
    value : Any
        Plain JSON.
    name : str
        Of the document, for messages about it as a whole; its fields are named by themselves.

    Returns
    -------
    dict of str to Any
        What the dataclass takes.

    Raises
    ------
    CorruptArtifactError
        If it does not fit.
    """
    return {field: parse(hint, item, field) for field, hint, item in _items(kind, value, name)}


_hints = functools.cache(functools.partial(typing.get_type_hints, include_extras=True))


def _object(value: Any, field: str) -> dict[str, Any]:
    return value if isinstance(value, dict) else fail(field, "an object", value)


def _items(kind: Any, value: Any, field: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, annotation and value of each field of a dataclass, if they are exactly those of an object."""
    hints = _hints(kind)
    if set(_object(value, field)) != set(hints):
        fail(field, f"exactly the fields {', '.join(sorted(hints))}", sorted(value))
    return ((name, hint, value[name]) for name, hint in hints.items())


def _size(value: Any, field: str) -> int:
    return value if type(value) is int and value >= 0 else fail(field, "an integer of 0 or more", value)


def _digest(value: Any, field: str) -> str:
    return value if isinstance(value, str) and _DIGEST.fullmatch(value) else fail(field, "sha256:<64 hex>", value)


def _dtype(value: Any, field: str) -> str:
    names = ", ".join(sorted(DTYPE_NAMES.values()))
    return value if isinstance(value, str) and value in DTYPE_NAMES.values() else fail(field, f"one of {names}", value)


def _plain_path(value: Any, field: str) -> str:
    return value if isinstance(value, str) and is_plain_path(value) else fail(field, "a plain relative path", value)


def _file_name(value: Any, field: str) -> str:
    if _plain_path(value, field).split("/")[0] in RESERVED_NAMES:
        fail(field, "a name that is not reserved", value)
    return str(value)


def _inputs(value: Any, field: str) -> dict[str, str]:
    inputs: dict[str, str] = parse(dict[str, str], value, field)
    for name, digest in inputs.items():
        if not name.startswith(EXTERNAL):
            _digest(digest, f"{field}.{_plain_path(name, field)}")
    return inputs


Size = Annotated[int, _size]
Digest = Annotated[str, _digest]
Dtype = Annotated[str, _dtype]
PlainPath = Annotated[str, _plain_path]
FileName = Annotated[str, _file_name]
Inputs = Annotated[dict[str, str], _inputs]
"""Artifacts to digests; what an ``external:`` input is known by is any text."""
