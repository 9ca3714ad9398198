"""Whether FAISS or torch computes."""

import importlib.util
from typing import Literal

import torch

__all__ = ["Engine", "resolved_engine"]

Engine = Literal["auto", "faiss", "torch"]
"""``auto``: FAISS where the data is on a CPU and FAISS is installed, else torch."""


def resolved_engine(engine: Engine, device: torch.device) -> Literal["faiss", "torch"]:
    """Return the engine to use; FAISS is looked for but not imported.

    Parameters
    ----------
    engine : {"auto", "faiss", "torch"}
        What was asked for.
    device : torch.device
        Where the computation runs.

    Returns
    -------
    {"faiss", "torch"}
        What `engine` stands for.

    Raises
    ------
    ValueError
        If there is no such engine.
    """
    if engine not in ("auto", "faiss", "torch"):
        raise ValueError(f"engine is {engine!r}, expected 'auto', 'faiss' or 'torch'.")
    if engine != "auto":
        return engine
    return "faiss" if device.type == "cpu" and importlib.util.find_spec("faiss") is not None else "torch"
