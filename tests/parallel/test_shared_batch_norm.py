"""Batch norm over ranks: mean, variance and gradients of the whole batch, whoever has which part of it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from elfs.models.networks import build_network
from elfs.parallel.ranks import ALONE, Ranks
from elfs.parallel.shared_batch_norm import SharedBatchNorm, with_shared_batch_norm
from tests.ranks import in_ranks

CPU = torch.device("cpu")
SHAPES = ((7, 3, 4, 4), (7, 5), (8, 2, 6))


def layer(shape: tuple[int, ...], kind: str) -> nn.Module:
    """A layer of torch's, for samples of this shape."""
    norm = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    momentum, affine = (None, False) if kind == "plain" else (0.1, True)
    module = norm(shape[1], momentum=momentum, affine=affine)
    for parameter in module.parameters():
        nn.init.normal_(parameter, mean=1.0)
    return module


def passes(ranks: Ranks, shape: tuple[int, ...], kind: str, *, shared: bool) -> dict[str, Any]:
    """Two training passes and one of evaluation; each rank has a part of the samples, of unequal sizes."""
    torch.manual_seed(0)
    module = nn.Sequential(layer(shape, kind), nn.GELU())
    called = with_shared_batch_norm(module, ranks, CPU) if shared else module
    first, last = ranks.part(shape[0])
    outputs, gradients = [], []
    for _ in range(2):
        samples, weights = torch.randn(shape) * 3 + 50, torch.randn(shape)
        own = samples[first:last].clone().requires_grad_()
        output = called(own)
        (output * weights[first:last]).sum().backward()
        assert own.grad is not None
        outputs.append(output.detach())
        gradients.append(own.grad)
    parameters = [ranks.sum_(parameter.grad.clone()) for parameter in module.parameters() if parameter.grad is not None]
    outputs.append(called.eval()(samples[first:last]).detach())
    state = {name: value.double().numpy() for name, value in module.state_dict().items()}
    return {"outputs": outputs, "gradients": gradients, "parameters": parameters, "state": state}


def everything(ranks: Ranks) -> dict[Any, Any]:
    return {(shape, kind): passes(ranks, shape, kind, shared=True) for shape in SHAPES for kind in ("plain", "affine")}


def close(parts: list[Tensor], whole: Tensor) -> None:
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_is_batch_norm_of_the_whole_batch(size: int) -> None:
    """The oracle is torch's own layer on all samples in one process."""
    found = in_ranks(size, everything)
    for shape, kind in found[0]:
        whole = passes(ALONE, shape, kind, shared=False)
        ranks = [rank[shape, kind] for rank in found]
        for name in ("outputs", "gradients"):
            for number, expected in enumerate(whole[name]):
                close([rank[name][number] for rank in ranks], expected)
        for rank in ranks:
            for one, other in zip(rank["parameters"], whole["parameters"], strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
            assert list(rank["state"]) == list(whole["state"])
            for name, values in whole["state"].items():
                np.testing.assert_allclose(rank["state"][name], values, rtol=1e-5)


@pytest.mark.parametrize("name", ["resnet8", "mobilenetv3_small_050"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_layers_are_exchanged(name: str, device: str) -> None:
    """The second network has layers of timm that normalise and activate in one."""
    plain, shared = (build_network(name, num_classes=3, image_size=32, dim=None, seed=0).eval() for _ in range(2))
    parameters = list(shared.parameters())
    assert with_shared_batch_norm(shared, ALONE, torch.device(device)) is shared
    norms = [module for module in shared.modules() if isinstance(module, _BatchNorm)]
    assert norms
    assert all(isinstance(module, SharedBatchNorm if device == "cpu" else nn.SyncBatchNorm) for module in norms)
    assert all(one is two for one, two in zip(parameters, shared.parameters(), strict=True))
    assert list(shared.state_dict()) == list(plain.state_dict())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shared(images), plain(images))


def test_single_layer() -> None:
    norm = nn.BatchNorm1d(2)
    assert isinstance(with_shared_batch_norm(norm, ALONE, CPU), SharedBatchNorm)
