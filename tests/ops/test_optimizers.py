"""Optimizers without torch's compiler: the same steps, and the compiler is not there."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from elfs.ops.optimizers import eager

KINDS: list[tuple[type[Optimizer], dict[str, Any]]] = [
    (SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (SGD, {"momentum": 0.9, "foreach": True}),
    (SGD, {"momentum": 0.9, "fused": True}),
    (Adam, {}),
    (AdamW, {"fused": True}),
    (LBFGS, {"max_iter": 4, "line_search_fn": "strong_wolfe"}),
]


def trained(kind: Any, options: dict[str, Any]) -> tuple[list[Tensor], dict[str, Any]]:
    """Return parameters and state after some steps, an interruption and more steps."""
    draws = torch.Generator().manual_seed(0)
    weight, bias = (nn.Parameter(torch.randn(shape, generator=draws)) for shape in ((5, 3), (3,)))
    inputs, targets = torch.randn(40, 5, generator=draws), torch.randn(40, 3, generator=draws)
    optimizer = kind([weight, bias], lr=0.05, **options)
    schedule = CosineAnnealingLR(optimizer, 10)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = (inputs @ weight + bias - targets).square().mean()
        value.backward()
        return value

    for _ in range(3):
        optimizer.step(loss)
        schedule.step()
    state = optimizer.state_dict()
    optimizer = kind([weight, bias], lr=0.05, **options)
    optimizer.load_state_dict(state)
    optimizer.step(loss)
    return [weight.detach(), bias.detach()], optimizer.state_dict()


@pytest.mark.parametrize(("kind", "options"), KINDS)
def test_steps_and_state_are_those_of_torch(kind: type[Optimizer], options: dict[str, Any]) -> None:
    (ours, state), (theirs, wanted) = trained(eager(kind), options), trained(kind, options)
    assert all(torch.equal(own, other) for own, other in zip(ours, theirs, strict=True))
    torch.testing.assert_close(state["state"], wanted["state"], rtol=0, atol=0)
    assert state["param_groups"] == wanted["param_groups"]


@pytest.mark.parametrize(("kind", "options"), [(SGD, {"momentum": 0.9, "nesterov": True}), (AdamW, {})])
@pytest.mark.parametrize("way", ["foreach", "fused"])
def test_all_parameters_at_once_take_the_plain_step(kind: type[Optimizer], options: dict[str, Any], way: str) -> None:
    """Within rounding: fused kernels multiply and add at once where the length is no multiple of a register's."""
    plain, _ = trained(eager(kind), options | {"foreach": False, "fused": False, "weight_decay": 0.1})
    found, _ = trained(eager(kind), options | {way: True, "weight_decay": 0.1})
    torch.testing.assert_close(found, plain, rtol=1e-6, atol=1e-7)


def test_the_class_of_torch_stays_what_it_was() -> None:
    before = dict(vars(SGD))
    kind = eager(SGD)
    assert issubclass(kind, SGD)
    assert kind.__name__ == "SGD"
    assert dict(vars(SGD)) == before


def test_methods_that_torch_does_not_mark_are_taken_as_they_are() -> None:
    class Unmarked(SGD):
        def zero_grad(self, set_to_none: bool = True) -> None:
            del set_to_none

        def step(self, closure: Any = None) -> Any:
            for group in self.param_groups:
                for parameter in group["params"]:
                    parameter.sub_(group["lr"])

    weight = nn.Parameter(torch.ones(2))
    optimizer = eager(Unmarked)([weight], lr=0.5)
    optimizer.zero_grad()
    optimizer.step()
    assert weight.tolist() == [0.5, 0.5]


@pytest.mark.slow
def test_the_compiler_is_not_imported() -> None:
    code = "import sys\nfrom tests.ops.test_optimizers import *\nfor kind in KINDS: trained(eager(kind[0]), kind[1])\n"
    root = Path(__file__).parents[2]
    code += "print({'torch._dynamo', 'sympy', 'triton'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")
