"""A selection as a Parquet file, for data frames and Hugging Face's data sets."""

from collections.abc import Sequence
from typing import Any

from elfs.errors import InputDataError

__all__ = ["table"]

_COLUMNS = {
    **{"rank": "int64", "id": "string", "path": "string", "pseudo_label": "int64", "class": "string"},
    **{"score": "float64", "why": "string", "group": "string"},
}
"""Name and type of each column, as pyarrow calls it; those that no image has are left out."""


def table(records: Sequence[dict[str, Any]]) -> bytes:
    """Return a Parquet file with a row for each record.

    Parameters
    ----------
    records : sequence of dict
        ``rank``, ``id`` and the rest of what ``jsonl`` says; what one of them lacks is null there.

    Returns
    -------
    bytes
        The file.

    Raises
    ------
    InputDataError
        If pyarrow is not installed, or a name is not UTF-8, which Parquet asks for.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        message = "--format parquet needs the package pyarrow, which is not installed; json and jsonl need none."
        raise InputDataError(message, hint="pip install 'elfs[hf]'") from None
    names = [name for name in _COLUMNS if any(name in record for record in records)]
    schema = pyarrow.schema([(name, getattr(pyarrow, _COLUMNS[name])()) for name in names])
    try:
        found = pyarrow.Table.from_pylist(list(records), schema=schema)
    except UnicodeEncodeError as error:
        raise InputDataError(
            f"{error.object!r} is not UTF-8, as Parquet asks for: use --format json or jsonl."
        ) from None
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(found, sink)
    return bytes(sink.getvalue())
