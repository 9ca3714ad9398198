"""Names in a workspace's directory that no artifact may have, names of dtypes, and how inputs from outside begin."""

from pathlib import Path

__all__ = [
    "CHECKED_NAME",
    "DOUBTFUL_NAME",
    "DTYPE_NAMES",
    "EXTERNAL",
    "HOLDER_NAME",
    "JOURNAL_NAME",
    "LOCK_NAME",
    "MANIFEST_NAME",
    "NOTES",
    "PARTIAL_NAME",
    "PROGRESS_NAME",
    "RESERVED_NAMES",
    "TIMES_NAME",
    "selection_file",
]

MANIFEST_NAME = "manifest.json"
PARTIAL_NAME = "partial"
JOURNAL_NAME = "partial/journal.json"
LOCK_NAME = ".lock"
HOLDER_NAME = ".lock-holder"
PROGRESS_NAME = ".progress"
"""How far the stage is that is running, or was stopped; a courtesy that anybody may remove."""

CHECKED_NAME = ".checked"
"""Which large files were found sound, and when; a convenience that anybody may remove."""

DOUBTFUL_NAME = ".doubtful"
"""Which of many annotations are likely wrong; a convenience that anybody may remove."""

TIMES_NAME = ".times"
"""When the images were last written, so that one that is replaced is noticed; anybody may remove it."""

EXTERNAL = "external:"
"""Inputs whose name begins so lie outside the workspace and are not artifacts."""

NOTES = (CHECKED_NAME, DOUBTFUL_NAME, TIMES_NAME, PROGRESS_NAME)
"""Files that spare time or say how far a stage is, and nothing else."""

RESERVED_NAMES = {MANIFEST_NAME, PARTIAL_NAME, LOCK_NAME, HOLDER_NAME, *NOTES}
"""Names in the workspace's directory that no artifact may have."""

DTYPE_NAMES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "F16": "float16",
    "U32": "uint32",
    "I32": "int32",
    "F32": "float32",
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
}
"""The dtypes that a workspace may hold: name in a safetensors header to name in the manifest."""


def selection_file(workspace: Path, record: str) -> Path:
    """Return the file of a selection that people read.

    Parameters
    ----------
    workspace : Path
        The workspace.
    record : str
        Name of its record, such as ``select/aum-0.1``.

    Returns
    -------
    Path
        ``<workspace>/selections/<name>/selection.csv``.
    """
    return workspace / "selections" / record.partition("/")[2] / "selection.csv"
