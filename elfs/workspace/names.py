"""Names in a workspace's directory that no artifact may have, and how inputs from outside begin."""

from elfs.workspace.lock import HOLDER_NAME, LOCK_NAME

__all__ = [
    "CHECKED_NAME",
    "EXTERNAL",
    "JOURNAL_NAME",
    "MANIFEST_NAME",
    "PARTIAL_NAME",
    "RESERVED_NAMES",
    "TIMES_NAME",
]

MANIFEST_NAME = "manifest.json"
PARTIAL_NAME = "partial"
JOURNAL_NAME = "partial/journal.json"
CHECKED_NAME = ".checked"
"""Which large files were found sound, and when; a convenience that anybody may remove."""

TIMES_NAME = ".times"
"""When the images were last written, so that one that is replaced is noticed; anybody may remove it."""

EXTERNAL = "external:"
"""Inputs whose name begins so lie outside the workspace and are not artifacts."""

RESERVED_NAMES = {MANIFEST_NAME, PARTIAL_NAME, LOCK_NAME, HOLDER_NAME, CHECKED_NAME, TIMES_NAME}
"""Names in the workspace's directory that no artifact may have."""
