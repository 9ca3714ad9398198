"""What is said where memory does not suffice for the encoder."""

import torch

from elfs.errors import DeviceError
from elfs.parallel.allocator import refused_memory

__all__ = ["is_out_of_memory", "out_of_memory"]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory, of a GPU or of the machine, does not suffice.

    Parameters
    ----------
    error : BaseException
        What was raised.

    Returns
    -------
    bool
        True for torch's own error of GPUs, the message of its allocator on the CPU, and Python's MemoryError.
    """
    return isinstance(error, torch.OutOfMemoryError) or refused_memory(error)


def out_of_memory(name: str, device: torch.device) -> DeviceError:
    """Return the error of an encoder for which there is no memory.

    Parameters
    ----------
    name : str
        The encoder.
    device : torch.device
        Where it was to compute.

    Returns
    -------
    DeviceError
        To be raised.
    """
    on_gpu = device.type == "cuda"
    instead = "free memory there, take another GPU, or --devices cpu" if on_gpu else "free memory"
    return DeviceError(
        f"{device} has not enough memory for the encoder {name} and one image: {instead}, or take a smaller --encoder. "
        "What was embedded so far is kept.",
        hint="elfs embed --devices cpu" if on_gpu else None,
    )
