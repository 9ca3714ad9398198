"""Random numbers that depend on a seed and a place, never on what ran before."""

import hashlib

import torch

__all__ = ["derived_seed", "generator"]


def derived_seed(seed: int, *place: str | int) -> int:
    """Return the seed of one place in the program.

    An epoch's shuffle depends on ``(seed, "shuffle", epoch)`` alone, so a resumed run draws what an uninterrupted one
    would have drawn, without any generator state in the checkpoint.

    Parameters
    ----------
    seed : int
        The seed that the user chose.
    *place : str or int
        What the numbers are for.

    Returns
    -------
    int
        In ``[0, 2**63)``; well spread, the same on every machine.
    """
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *place: str | int) -> torch.Generator:
    """Return a CPU generator for one place in the program.

    Parameters
    ----------
    seed : int
        The seed that the user chose.
    *place : str or int
        What the numbers are for.

    Returns
    -------
    torch.Generator
        Seeded with ``derived_seed(seed, *place)``.
    """
    return torch.Generator().manual_seed(derived_seed(seed, *place))
