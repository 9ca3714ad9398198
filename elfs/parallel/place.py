"""Which of several processes this one is, as torchrun or Slurm say. Importing this costs no torch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from elfs.errors import DeviceError

__all__ = ["Place", "place_from_environment"]

_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_SLURM = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
_FIRST_PORT, _PORTS, _STEP_STRIDE = 20_000, 20_000, 1_009


@dataclass(frozen=True, slots=True)
class Place:
    """One of several processes that run one command together.

    Attributes
    ----------
    rank, size : int
        Number of this process, from 0, and how many there are.
    local_rank, local_size : int
        The same among those on this host.
    host : str
        Address of the first rank.
    port : int
        Port on which the ranks meet there.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    host: str
    port: int


def place_from_environment(environ: Mapping[str, str]) -> Place | None:
    """Return the place that torchrun or ``srun`` gave to this process.

    Parameters
    ----------
    environ : mapping of str to str
        Environment variables. ``RANK`` and its relatives come first; else a step that ``srun`` started with several
        tasks, not the batch script around it.

    Returns
    -------
    Place or None
        None where this process is the only one.

    Raises
    ------
    DeviceError
        If a variable is missing, is no number, or out of range.
    """
    if _size(environ, "WORLD_SIZE") > 1:
        missing = [name for name in _TORCHRUN if name not in environ]
        if missing:
            raise DeviceError(
                f"WORLD_SIZE is {environ['WORLD_SIZE']}, but {', '.join(missing)} are not set: torchrun sets them all. "
                "A process that is to run by itself needs WORLD_SIZE unset."
            )
        rank, size = _number(environ, "RANK"), _number(environ, "WORLD_SIZE")
        local_rank = _number(environ, "LOCAL_RANK") if "LOCAL_RANK" in environ else rank
        local_size = _number(environ, "LOCAL_WORLD_SIZE") if "LOCAL_WORLD_SIZE" in environ else size
        place = Place(rank, size, local_rank, local_size, environ["MASTER_ADDR"], _number(environ, "MASTER_PORT"))
    elif "RANK" in environ and "WORLD_SIZE" in environ:  # a single one, also in a task of srun
        return None
    elif _size(environ, "SLURM_STEP_NUM_TASKS") > 1:
        place = _slurm_place(environ)
    else:
        return None
    if not (place.rank < place.size and place.local_rank < place.local_size):
        raise DeviceError(
            f"this process is rank {place.rank} of {place.size} ({place.local_rank} of {place.local_size} on its "
            "host): the number of a rank is below how many there are."
        )
    return place


def _slurm_place(environ: Mapping[str, str]) -> Place:
    missing = [name for name in _SLURM if name not in environ]
    if missing:
        raise DeviceError(f"SLURM_STEP_NUM_TASKS is set, but {', '.join(missing)} are not.")
    host = environ.get("MASTER_ADDR") or first_host(environ.get("SLURM_STEP_NODELIST", ""))
    job, step = (_number(environ, name) if name in environ else 0 for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    port = _FIRST_PORT + (job + _STEP_STRIDE * step) % _PORTS  # steps of one job may run at the same time
    if "MASTER_PORT" in environ:
        port = _number(environ, "MASTER_PORT")
    # "8(x2),7": tasks of each node, in the order of the nodes
    tasks: list[int] = []
    for part in re.finditer(r"(\d+)(?:\(x(\d+)\))?", environ.get("SLURM_STEP_TASKS_PER_NODE", "")):
        tasks += [int(part[1])] * int(part[2] or 1)
    node = _number(environ, "SLURM_NODEID") if "SLURM_NODEID" in environ else 0
    local_rank = _number(environ, "SLURM_LOCALID")
    local_size = tasks[node] if node < len(tasks) else local_rank + 1
    size = _number(environ, "SLURM_STEP_NUM_TASKS")
    return Place(_number(environ, "SLURM_PROCID"), size, local_rank, local_size, host, port)


def first_host(nodes: str) -> str:
    """Return the first host of a list as Slurm writes it.

    Parameters
    ----------
    nodes : str
        Such as ``gpu[003-007,9],login1``.

    Returns
    -------
    str
        Such as ``gpu003``; ``localhost`` if the list is empty.
    """
    match = re.match(r"([^\[,]+)(?:\[([^\],-]+)[^\]]*\]([^,]*))?", nodes)
    return "localhost" if match is None else f"{match[1]}{match[2] or ''}{match[3] or ''}"


def _size(environ: Mapping[str, str], name: str) -> int:
    return _number(environ, name) if name in environ else 1


def _number(environ: Mapping[str, str], name: str) -> int:
    if not environ[name].strip().isdecimal():
        raise DeviceError(f"the variable {name} is {environ[name]!r}, expected a whole number.")
    return int(environ[name])
