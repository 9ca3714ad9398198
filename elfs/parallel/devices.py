"""``--devices``: what the user may write, and the torch devices that it means."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elfs.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["DeviceChoice", "parse_devices"]

_EXPECTED = "expected auto, cpu, cpu:2, all, or GPU numbers such as 0 or 0,1"


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """A parsed ``--devices``: of one host, where several are used.

    Attributes
    ----------
    kind : {"auto", "cpu", "all", "cuda"}
        What was asked for.
    indices : tuple of int
        GPU numbers for kind ``cuda``, else empty.
    processes : int or None
        How many processes for kind ``cpu``; None where no number was given: one, or as many as somebody else started.
    """

    kind: str
    indices: tuple[int, ...] = ()
    processes: int | None = None

    def names(self) -> tuple[str, ...]:
        """Return the devices of this host, as torch calls them.

        Returns
        -------
        tuple of str
            One for each process that elfs starts here: ``auto`` is the first GPU where there is one, else the CPU.

        Raises
        ------
        DeviceError
            If a GPU is named that this machine does not have.
        """
        num_gpus = _num_gpus()
        if self.kind == "cpu" or (self.kind == "auto" and num_gpus == 0):
            return ("cpu",) * (self.processes or 1)
        indices = self.indices or ((0,) if self.kind == "auto" else tuple(range(num_gpus)))
        for index in indices:
            if index >= num_gpus:
                raise DeviceError(
                    f"GPU {index} does not exist: this machine shows {num_gpus} GPUs to torch.",
                    hint="elfs doctor",
                )
        if not indices:
            raise DeviceError("--devices all: this machine shows no GPU to torch.", hint="elfs doctor")
        return tuple(f"cuda:{index}" for index in indices)

    def resolve(self, local_rank: int = 0, local_size: int = 1) -> "torch.device":
        """Return the device of one of the processes on this host.

        Parameters
        ----------
        local_rank, local_size : int
            Which of the processes, from 0, and how many there are.

        Returns
        -------
        torch.device
            The n-th that was named. Where none is named and several processes were started: the n-th GPU, or the only
            one that this process is shown; the CPU where there is no GPU.

        Raises
        ------
        DeviceError
            If a GPU is named that this machine does not have, or there are fewer devices than processes.
        """
        import torch

        names = self.names()
        if local_size > 1 and self.kind in ("auto", "all") and names != ("cpu",):
            names = tuple(f"cuda:{index}" for index in range(_num_gpus()))
            if len(names) == 1:
                return torch.device(names[0])  # the scheduler shows each process its own; join() finds shared ones
        elif local_size > 1 and names == ("cpu",) and self.processes is None:
            return torch.device("cpu")
        if local_size > max(1, len(names)) or local_rank >= len(names):
            raise DeviceError(f"{local_size} processes on this host share {len(names)} devices ({', '.join(names)}).")
        return torch.device(names[local_rank])


def _num_gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


_NUMBER = re.compile("[0-9]{1,4}")
"""No host has ten thousand devices, and none can start as many processes."""


def parse_devices(text: str) -> DeviceChoice:
    """Read ``auto``, ``cpu``, ``cpu:2``, ``all``, ``0`` or ``0,1``.

    Parameters
    ----------
    text : str
        What was typed after ``--devices``.

    Returns
    -------
    DeviceChoice
        Parsed, not yet looked for on this machine.

    Raises
    ------
    UsageError
        If the text is none of these, or names a GPU twice.
    """
    lowered = text.strip().lower()
    if lowered in ("auto", "cpu", "all"):
        return DeviceChoice(lowered)
    kind, colon, number = lowered.partition(":")
    if kind == "cpu" and colon and _NUMBER.fullmatch(number) and int(number) > 0:
        return DeviceChoice("cpu", processes=int(number))
    parts = [part.strip() for part in lowered.split(",")]  # which takes off more than int does
    if not all(_NUMBER.fullmatch(part) for part in parts):
        raise UsageError(f"--devices is {text!r}, {_EXPECTED}.")
    indices = tuple(int(part) for part in parts)
    if len(set(indices)) != len(indices):
        raise UsageError(f"--devices is {text!r}: a GPU is named twice, {_EXPECTED}.")
    return DeviceChoice("cuda", indices)
