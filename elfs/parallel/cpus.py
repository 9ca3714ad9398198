"""How many CPUs this process may use, by its affinity and by the quota of its container; and the machine's memory."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["available_cpus", "cpu_quota", "memory_bytes"]


def available_cpus() -> int:
    """Return how many CPUs this process may use.

    Returns
    -------
    int
        At least 1; respects the affinity mask that schedulers set, and a container's quota (``docker run --cpus``).
    """
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return max(1, number if quota is None else min(number, round(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Return the share of CPU time that Linux's control groups leave to this process.

    Parameters
    ----------
    root : Path
        Where ``proc`` and ``sys`` are.

    Returns
    -------
    float or None
        The least of its group and those above, in CPUs; None where nothing limits it.
    """
    found = []
    for directory in _groups(root):
        with suppress(OSError, ValueError):
            if (directory / "cpu.max").exists():
                quota, period = (directory / "cpu.max").read_text().split()
            else:
                quota, period = ((directory / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            if float(quota) > 0 and float(period) > 0:  # "max" is no number
                found.append(float(quota) / float(period))
    return min(found, default=None)


def _groups(root: Path) -> Iterator[Path]:
    """Yield the directories of this process's groups that may limit CPU time, and of those above them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            top = root / "sys/fs/cgroup" / controllers
            inner = Path(path.strip("/"))
            # In a container without a namespace of its own, the path is the host's, and only the top is there.
            yield from (top / above for above in (inner, *inner.parents) if ".." not in above.parts)


def memory_bytes() -> int | None:
    """Return how much memory the machine has.

    Returns
    -------
    int or None
        In bytes, used or not; None where the system does not say.
    """
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not POSIX
        return None
