"""JSON values to dataclasses, by the annotations of their fields; what does not fit is refused by its name."""

import dataclasses
import functools
import re
import reprlib
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn, Self

from elfs.errors import CorruptArtifactError
from elfs.workspace.names import DTYPE_NAMES, EXTERNAL, RESERVED_NAMES
from elfs.workspace.paths import is_plain_path

__all__ = [
    "Digest",
    "Dtype",
    "Facts",
    "FileName",
    "Inputs",
    "PlainPath",
    "Size",
    "fail",
    "parse",
    "parse_fields",
    "plain",
]

_PLAIN = {str: "a string", int: "an integer", float: "a number", bool: "true or false"}
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Facts:
    """What a stage reports of what it made: the base of frozen dataclasses that read what any version wrote.

    Not there is the same as null: a field that can be null, or has a default, may be one that an older version did not
    write, and the lack of any other one is refused. A field that has a default is written where it differs from it,
    every other one always; fields that the dataclass does not know are no error.
    """

    @classmethod
    def of(cls, value: dict[str, Any], field: str = "summary") -> Self:
        """Return what an object says.

        Parameters
        ----------
        value : dict
            Plain JSON, such as a record's summary.
        field : str, default "summary"
            Where it stands, for messages.

        Returns
        -------
        Self
            Checked field by field.

        Raises
        ------
        CorruptArtifactError
            If one is not what it should be.
        """
        facts: Self = parse(cls, value, field)
        return facts

    def as_json(self) -> dict[str, Any]:
        """Return the plain JSON object that `of` reads."""
        defaults = _defaults(self.__class__)  # type: ignore[arg-type]
        return {name: plain(getattr(self, name)) for name in defaults if getattr(self, name) != defaults[name]}


@functools.cache
def _defaults(kind: Any) -> dict[str, Any]:
    """Return the default of each field of a dataclass; ``MISSING`` where there is none."""
    factories = {item.name: item.default_factory for item in dataclasses.fields(kind)}
    plain = {item.name: item.default for item in dataclasses.fields(kind)}
    return {name: plain[name] if make is dataclasses.MISSING else make() for name, make in factories.items()}


def plain(value: Any) -> Any:
    """Return a value as plain JSON, a fifth of the time that `dataclasses.asdict` takes.

    Parameters
    ----------
    value : Any
        Plain JSON, and dataclasses and tuples of it.

    Returns
    -------
    Any
        Objects and lists in their place; `Facts` as they write themselves.
    """
    if isinstance(value, Facts):
        return value.as_json()
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    fields = getattr(value, "__dataclass_fields__", ())
    return {name: plain(getattr(value, name)) for name in fields} if fields else value


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
        ``str``, ``int``, ``float``, ``bool``, ``Any``; a ``dict``, a ``tuple`` of any length or a dataclass of such,
        exactly or, if it is one of `Facts`, as far as both go; one of these or None; or ``Annotated`` with a function
        that takes value and field and returns the value or refuses it.
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
    if origin is types.UnionType:
        if value is None or arguments[0] not in _PLAIN:
            return value if value is None else parse(arguments[0], value, field)
        kind = arguments[0]
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    fail(field, _PLAIN[kind] + (" or null" if origin is types.UnionType else ""), value)


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
    if issubclass(kind, Facts):
        found, defaults = _object(value, field), _defaults(kind)
        named = [name for name in hints if name in found or defaults[name] is dataclasses.MISSING]
        return ((name, hints[name], found.get(name)) for name in named)
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
