"""Short ways to write the JSON Schemas of the documents that ``--json`` prints."""

from typing import Any

__all__ = ["PATH", "REMARKS", "WORKSPACE", "Schema", "list_of", "map_of", "record_of", "value_of"]

Schema = dict[str, Any]
"""A JSON Schema, draft 2020-12."""


def value_of(kind: str, about: str = "") -> Schema:
    """Return the schema of a plain value.

    Parameters
    ----------
    kind : str
        str, int, float or bool; with ``?`` behind it may be null.
    about : str
        What it means.

    Returns
    -------
    Schema
        Of one value.
    """
    types = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "object": "object"}
    name = types[kind.rstrip("?")]
    schema: Schema = {"type": [name, "null"] if kind.endswith("?") else name}
    return schema | ({"description": about} if about else {})


def list_of(item: Schema, about: str = "") -> Schema:
    """Return the schema of a list.

    Parameters
    ----------
    item : Schema
        Of each of its items.
    about : str
        What it means.

    Returns
    -------
    Schema
        Of an array.
    """
    return {"type": "array", "items": item} | ({"description": about} if about else {})


def map_of(value: Schema, about: str) -> Schema:
    """Return the schema of an object with any keys.

    Parameters
    ----------
    value : Schema
        Of each of its values.
    about : str
        What it means.

    Returns
    -------
    Schema
        Of an object.
    """
    return {"type": "object", "additionalProperties": value, "description": about}


def record_of(about: str = "", *, maybe: tuple[str, ...] = (), null: bool = False, **fields: Schema) -> Schema:
    """Return the schema of an object with known fields.

    Parameters
    ----------
    about : str
        What it means.
    maybe : tuple of str
        Fields that need not be there.
    null : bool
        Whether null may stand in its place.
    **fields : Schema
        Name to the schema of its value.

    Returns
    -------
    Schema
        Of an object; it may have more fields.
    """
    schema: Schema = {"type": ["object", "null"] if null else "object", "properties": fields}
    schema["required"] = [name for name in fields if name not in maybe]
    return schema | ({"description": about} if about else {})


WORKSPACE = value_of("str", "The workspace, as it was given.")
PATH = value_of("str", "The file or folder that was written.")
REMARKS = list_of(value_of("str"), "What a person should know, a sentence each.")
