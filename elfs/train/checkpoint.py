"""Training state as a flat table of tensors, so that a killed run goes on from the last one that was saved."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elfs.errors import StorageError
from elfs.parallel.ranks import ALONE, Ranks
from elfs.workspace.tensors import load_tensors, save_tensors

__all__ = ["SavingPace", "load_checkpoint", "save_checkpoint"]

_SHARE_OF_TIME = 1 / 20
_CHEAP_SECONDS = 0.05


class SavingPace:
    """How often a training saves its state: always where that is cheap, else in at most a twentieth of its time."""

    def __init__(self) -> None:
        self._last_end = time.monotonic()
        self._cost_seconds = 0.0

    @property
    def is_due(self) -> bool:
        """Whether what was done since the last time is worth it; true before the first time."""
        if self._cost_seconds <= _CHEAP_SECONDS:
            return True
        return time.monotonic() - self._last_end >= self._cost_seconds * (1 / _SHARE_OF_TIME - 1)

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Measure what saving costs, which is done meanwhile."""
        begin = time.monotonic()
        yield
        self._last_end = time.monotonic()
        self._cost_seconds = self._last_end - begin


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state: one entry per parameter number and quantity."""
    found = {}
    for number, state in optimizer.state_dict()["state"].items():
        for quantity, value in state.items():
            if value is not None:
                found[f"optimizer.{number}.{quantity}"] = torch.as_tensor(value)
    return found


def save_checkpoint(
    path: Path,
    step: int,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    extra: Mapping[str, Tensor],
) -> None:
    """Write the state of a training run.

    Parameters
    ----------
    path : Path
        File to write; replaced in one piece.
    step : int
        How many epochs are done.
    modules : mapping of str to nn.Module
        What is trained; parameters and buffers are kept.
    optimizer : torch.optim.Optimizer
        Its momenta are kept; its learning rate is a function of the step and is not.
    extra : mapping of str to Tensor
        Anything else that the loop carries from epoch to epoch.
    """
    tensors = {"step": torch.tensor([step]), **{f"extra.{name}": value for name, value in extra.items()}}
    for name, module in modules.items():
        tensors |= {f"module.{name}.{key}": value for key, value in module.state_dict().items()}
    tensors |= _optimizer_tensors(optimizer)
    arrays = {name: np.asarray(value.detach().cpu().contiguous().numpy()) for name, value in tensors.items()}
    save_tensors(path, arrays)


def load_checkpoint(
    path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer, ranks: Ranks = ALONE
) -> tuple[int, dict[str, Tensor]] | None:
    """Put a saved state back: of all ranks the same one, however many there were when it was saved.

    Parameters
    ----------
    path : Path
        File that ``save_checkpoint`` wrote.
    modules : mapping of str to nn.Module
        The same modules, freshly built; changed in place.
    optimizer : torch.optim.Optimizer
        The same optimiser, freshly built; changed in place.
    ranks : Ranks
        All of them call this, and go on once all have read the file.

    Returns
    -------
    tuple of (int, dict) or None
        Epochs done and the extra tensors; None if there is no such file.

    Raises
    ------
    StorageError
        If the ranks do not find the same file.
    """
    found = _loaded(path, modules, optimizer) if path.exists() else None
    epochs = ranks.collect(0 if found is None else found[0])
    for rank, done in enumerate(epochs):
        if done != epochs[0]:
            raise StorageError(
                f"rank 0 finds {epochs[0]} finished epochs in {path}, rank {rank} finds {done}: "
                "they have to see the same file system."
            )
    return found


def _loaded(
    path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, Tensor]]:
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in load_tensors(path).items()}
    for name, module in modules.items():
        prefix = f"module.{name}."
        module.load_state_dict(_with_prefix(tensors, prefix))
    state: dict[int, dict[str, Any]] = {}
    for key, value in _with_prefix(tensors, "optimizer.").items():
        number, quantity = key.split(".", 1)
        state.setdefault(int(number), {})[quantity] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, kept in optimizer.state.items():
        for quantity, value in kept.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:  # laid out like it, as fused steps demand
                kept[quantity] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
    return int(tensors["step"][0]), _with_prefix(tensors, "extra.")


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
