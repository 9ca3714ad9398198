"""The memory of the machine: what is freed stays with the process, and what is said where it does not suffice."""

import ctypes
import os
from collections.abc import Mapping

__all__ = ["keep_freed_memory", "refused_memory"]

# Of malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 30
_LARGEST_BYTES = 1 << 25
"""The most that glibc takes as a threshold."""


def keep_freed_memory(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell glibc to give freed memory back only above 1 GiB, and to take blocks of up to 32 MiB out of what it holds.

    By default it maps larger blocks anew each time, and the kernel fills each page with zeros when it is first touched:
    with networks whose activations are larger, that takes more time than the products.

    Parameters
    ----------
    environ : mapping, default the process's own
        Environment variables.

    Returns
    -------
    bool
        Whether anything was changed: not where a variable sets these thresholds (``MALLOC_TRIM_THRESHOLD_``,
        ``MALLOC_MMAP_THRESHOLD_``, ``MALLOC_MMAP_MAX_`` or ``GLIBC_TUNABLES``), or another C library or allocator runs.

    Notes
    -----
    See ``man 3 mallopt``. Nothing that is computed changes.
    """
    own = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"}
    if own & environ.keys():
        return False
    try:
        library = ctypes.CDLL(None)
        mallopt = library.mallopt
        _ = library.gnu_get_libc_version
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))


_REFUSALS = ("can't allocate memory", "not enough memory", "Storage size calculation overflowed")
"""What torch says for the CPU, on Linux and on Windows, and of more than any machine has."""


def refused_memory(error: BaseException) -> bool:
    """Return whether an error says that the machine's memory, not a GPU's, does not suffice.

    Parameters
    ----------
    error : BaseException
        What was raised.

    Returns
    -------
    bool
        True for Python's MemoryError, and for what torch raises on the CPU.
    """
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _REFUSALS)
