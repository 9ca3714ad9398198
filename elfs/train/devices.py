"""``--devices``: what the user may write, and the torch device that it means."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from elfs.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch

__all__ = ["DeviceChoice", "parse_devices"]

_EXPECTED = "expected auto, cpu, all, or GPU numbers such as 0 or 0,1"


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """A parsed ``--devices``.

    Attributes
    ----------
    kind : {"auto", "cpu", "all", "cuda"}
        What was asked for.
    indices : tuple of int
        GPU numbers for kind ``cuda``, else empty.
    """

    kind: str
    indices: tuple[int, ...] = ()

    def resolve(self) -> "torch.device":
        """Return the one device to compute on.

        Returns
        -------
        torch.device
            ``auto`` is the first GPU where there is one, else the CPU.

        Raises
        ------
        DeviceError
            If a GPU is named that this machine does not have, or more than one is named.
        """
        import torch

        num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if self.kind == "cpu" or (self.kind == "auto" and num_gpus == 0):
            return torch.device("cpu")
        indices = self.indices or ((0,) if self.kind == "auto" else tuple(range(num_gpus)))
        for index in indices:
            if index >= num_gpus:
                raise DeviceError(
                    f"GPU {index} does not exist: this machine shows {num_gpus} GPUs to torch.",
                    hint="elfs doctor",
                )
        if not indices:
            raise DeviceError("--devices all: this machine shows no GPU to torch.", hint="elfs doctor")
        if len(indices) > 1:
            raise DeviceError(
                f"--devices names {len(indices)} GPUs, but a stage runs on one device for now: name one of them."
            )
        return torch.device("cuda", indices[0])


def parse_devices(text: str) -> DeviceChoice:
    """Read ``auto``, ``cpu``, ``all``, ``0`` or ``0,1``.

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
    parts = lowered.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise UsageError(f"--devices is {text!r}, {_EXPECTED}.")
    indices = tuple(int(part) for part in parts)
    if len(set(indices)) != len(indices):
        raise UsageError(f"--devices is {text!r}: a GPU is named twice, {_EXPECTED}.")
    return DeviceChoice("cuda", indices)
