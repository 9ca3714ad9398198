from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.errors import CorruptArtifactError
from elfs.models.heads import ClusterHeads

# eltsai/elfs@089444b, model_builders/multi_head.py, MultiHead: three heads, their state dicts, inputs and outputs.
GOLDEN = Path(__file__).parents[1] / "data" / "head_forward.npz"


def small_heads(seed: int = 0) -> ClusterHeads:
    return ClusterHeads(3, 6, 16, 4, 5, torch.Generator().manual_seed(seed))


def reference_heads(golden: dict[str, np.ndarray]) -> ClusterHeads:
    names = {
        "hidden_weight": "mlp.0.weight",
        "hidden_bias": "mlp.0.bias",
        "bottleneck_weight": "mlp.2.weight",
        "bottleneck_bias": "mlp.2.bias",
        "direction": "last_layer.weight_v",
        "gain": "last_layer.weight_g",
    }
    tensors = {ours: np.stack([golden[f"head{h}.{theirs}"] for h in range(3)]) for ours, theirs in names.items()}
    tensors["gain"] = tensors["gain"][:, :, 0]
    return ClusterHeads.from_tensors(tensors)


@pytest.mark.parametrize("path", ["forward", "_looped", "_batched"])
def test_reference_forward(path: str) -> None:
    with np.load(GOLDEN, allow_pickle=False) as archive:
        golden = dict(archive)
    logits = getattr(reference_heads(golden), path)(torch.from_numpy(golden["x"]))
    torch.testing.assert_close(logits, torch.from_numpy(golden["out"]), atol=2e-6, rtol=0)


def test_both_paths_agree_with_their_gradients() -> None:
    x = torch.randn(7, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weight = torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    results: list[tuple[Tensor, list[Tensor]]] = []
    for path in ("_looped", "_batched"):
        heads = small_heads().double()
        with torch.no_grad():
            heads.hidden_bias.uniform_(-1, 1, generator=torch.Generator().manual_seed(3))
        logits = getattr(heads, path)(x)
        (logits * weight).sum().backward()
        results.append((logits, [p.grad for p in heads.parameters() if p.grad is not None]))
    (looped, looped_gradients), (batched, batched_gradients) = results
    assert len(looped_gradients) == len(batched_gradients) == 6
    torch.testing.assert_close(looped, batched)
    for one, other in zip(looped_gradients, batched_gradients, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(one, other)


def test_initial_weights() -> None:
    heads = ClusterHeads(4, 50, 64, 32, 10, torch.Generator().manual_seed(0))
    for matrix in (heads.hidden_weight, heads.bottleneck_weight, heads.direction):
        assert matrix.std().item() == pytest.approx(0.02, rel=0.05)
    assert all(not bias.any() for bias in heads.bias_parameters())
    assert (heads.gain == 1).all()
    assert heads.num_heads == 4


def test_weights_come_from_the_generator_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, second, other = small_heads(0), small_heads(0), small_heads(1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.direction, second.direction)
    assert not torch.equal(first.direction, other.direction)
    assert not torch.equal(first.hidden_weight[0], first.hidden_weight[1])


def test_logits_are_bounded_by_the_gain_and_ignore_the_direction_length() -> None:
    heads, x = small_heads(), torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    logits = heads(x)
    assert logits.shape == (3, 9, 5)
    assert logits.abs().max() <= 1 + 1e-6
    with torch.no_grad():
        heads.direction.mul_(7)
        heads.gain.mul_(2)
    torch.testing.assert_close(heads(x), 2 * logits)


def test_autocast_keeps_both_paths_together() -> None:
    heads, x = small_heads(), torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    exact = heads(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        looped, batched = heads._looped(x), heads._batched(x)
    assert (looped.dtype, batched.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(looped.float(), exact, atol=0.03, rtol=0)
    torch.testing.assert_close(batched.float(), exact, atol=0.03, rtol=0)


def test_parameter_lists_name_the_right_tensors() -> None:
    heads = small_heads()
    assert [id(p) for p in heads.last_layer_parameters()] == [id(heads.direction), id(heads.gain)]
    assert [id(p) for p in heads.bias_parameters()] == [id(heads.hidden_bias), id(heads.bottleneck_bias)]


def test_tensors_round_trip_and_are_copies() -> None:
    heads = small_heads()
    tensors = heads.to_tensors()
    shapes = {name: values.shape for name, values in tensors.items()}
    assert shapes == {
        "hidden_weight": (3, 16, 6),
        "hidden_bias": (3, 16),
        "bottleneck_weight": (3, 4, 16),
        "bottleneck_bias": (3, 4),
        "direction": (3, 5, 4),
        "gain": (3, 5),
    }
    assert {values.dtype for values in tensors.values()} == {np.dtype(np.float32)}
    for values in tensors.values():
        values.setflags(write=False)
    again = ClusterHeads.from_tensors(tensors)
    x = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again(x), heads(x))
    with torch.no_grad():
        heads.gain.zero_()
    assert (tensors["gain"] == 1).all()


def test_select_head() -> None:
    heads, x = small_heads(), torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    one = heads.select_head(2)
    assert one.num_heads == 1
    torch.testing.assert_close(one(x)[0], heads(x)[2])


@pytest.mark.parametrize("damage", ["missing", "left over", "shape"])
def test_wrong_tensors(damage: str) -> None:
    tensors = small_heads().to_tensors()
    if damage == "missing":
        del tensors["gain"]
    elif damage == "left over":
        tensors["more"] = np.zeros(1, np.float32)
    else:
        tensors["direction"] = np.zeros((2, 5, 4), np.float32)
    with pytest.raises(CorruptArtifactError, match="no cluster heads"):
        ClusterHeads.from_tensors(tensors)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_accelerator_agrees_with_the_cpu() -> None:
    heads, x = small_heads(), torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    expected = heads(x)
    torch.testing.assert_close(heads.cuda()(x.cuda()).cpu(), expected, atol=1e-4, rtol=1e-3)
