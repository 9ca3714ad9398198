"""Torch's optimizers without its compiler, which the first of them in a process would import: 1.4 CPU seconds."""

import inspect
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer

__all__ = ["eager"]

_Kind = TypeVar("_Kind", bound=Optimizer)

_MARKED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


def eager(kind: type[_Kind]) -> type[_Kind]:
    """Return an optimizer that takes the same steps and is not for ``torch.compile``.

    Parameters
    ----------
    kind : type of Optimizer
        A class of ``torch.optim``; it is not changed.

    Returns
    -------
    type of Optimizer
        A subclass of the same name.

    Notes
    -----
    Torch marks these methods for its compiler (``torch._disable_dynamo``, ``_use_grad_for_differentiable``), which is
    imported with sympy when one of them is called for the first time. This takes the functions inside the marks; where
    a version of torch has none, it takes the methods as they are.
    """
    methods: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in _MARKED}
    step = torch.no_grad()(inspect.unwrap(kind.step))
    subclass: type[_Kind] = type(kind.__name__, (kind,), methods | {"step": step, "__module__": kind.__module__})
    return subclass
