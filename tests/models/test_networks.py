import pytest
import torch
from torch import Tensor, nn

from elfs.catalog import EMBEDDING_NETWORKS, NETWORKS
from elfs.errors import UsageError
from elfs.models.networks import Network, build_network, has_batch_norm


def network(name: str, *, image_size: int = 16, seed: int = 0, dim: int | None = 12) -> Network:
    return build_network(name, num_classes=5, image_size=image_size, dim=dim, seed=seed)


def batch(name: str, image_size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(3, 12, generator=generator)
        if name in EMBEDDING_NETWORKS
        else torch.randn(3, 3, image_size, image_size, generator=generator)
    )


NAMES = [*NETWORKS, "resnet10t", "vit_tiny_patch16_224"]


@pytest.mark.parametrize(("name", "num_features"), list(zip(NAMES, [64, 512, 256, 12, 512, 192], strict=True)))
def test_features_lie_just_below_the_logits(name: str, num_features: int) -> None:
    built = network(name, image_size=32)
    assert built.training
    built.eval()
    x = batch(name, 32)
    features = built.features(x)
    assert features.shape == (3, num_features)
    assert built(x).shape == (3, 5)
    torch.testing.assert_close(built(x), built.classifier(features))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_weights_depend_on_the_seed_alone(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = network(name)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    second, other = network(name), network(name, seed=1)
    for key, values in first.state_dict().items():
        assert torch.equal(values, second.state_dict()[key])
    assert torch.equal(first.classifier.weight, other.classifier.weight) == (name == "linear")  # that starts at 0


@pytest.mark.parametrize(("name", "depth"), [("resnet8", 8), ("resnet18", 18)])
def test_resnets_have_the_depth_of_their_name(name: str, depth: int) -> None:
    layers = [m for m in network(name).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    shortcuts = [m for m in layers if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    assert len(layers) - len(shortcuts) == depth


@pytest.mark.parametrize("name", ["resnet8", "resnet18"])
def test_channels_last_is_the_same_network(name: str) -> None:
    """Logits, and gradients of all parameters within 1e-4 of the largest of each."""
    inputs, found = batch(name), []
    for layout in (torch.channels_last, torch.contiguous_format):
        built = network(name).to(memory_format=layout)
        logits = built(inputs.contiguous(memory_format=layout))
        logits.logsumexp(dim=1).sum().backward()
        found.append([logits.detach(), *(p.grad for p in built.parameters() if p.grad is not None)])
    assert len(found[0]) == len(list(built.parameters())) + 1
    for last, contiguous in zip(*found, strict=True):
        assert float((last - contiguous).abs().max()) <= 1e-4 * float(contiguous.abs().max())


def test_resnet18_has_the_parameters_of_the_cifar_form() -> None:
    built = build_network("resnet18", num_classes=10, image_size=32, dim=None, seed=0)
    assert sum(p.numel() for p in built.parameters()) == 11_173_962


def test_tiny_images_keep_a_map_before_pooling() -> None:
    sides: list[int] = []
    built = network("resnet8", image_size=8)
    pool = next(m for m in built.modules() if isinstance(m, nn.AdaptiveAvgPool2d))
    pool.register_forward_pre_hook(lambda module, inputs: sides.append(inputs[0].shape[-1]))
    built(batch("resnet8", 8))
    assert sides == [2]


def test_every_parameter_of_the_resnet_learns() -> None:
    built = network("resnet8")
    built(batch("resnet8")).logsumexp(dim=1).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in built.parameters())


def test_unknown_name() -> None:
    with pytest.raises(UsageError, match=r"unknown network 'resnet81'\. Did you mean 'resnet8'\? Available: resnet8,"):
        network("resnet81")


@pytest.mark.parametrize("name", sorted(EMBEDDING_NETWORKS))
def test_networks_on_embeddings_need_some(name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' works on embeddings"):
        network(name, dim=None)


def test_linear_starts_at_0_and_is_linear() -> None:
    """A convex problem: the seed decides nothing but the order of the batches."""
    built = network("linear")
    assert not any(bool(p.any()) for p in built.parameters())
    x = batch("linear")
    torch.testing.assert_close(built.features(x), x)
    nn.init.normal_(built.classifier.weight, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(built(2 * x) - built(x), built(x) - built(0 * x))


def test_image_size_that_a_model_cannot_take() -> None:
    with pytest.raises(UsageError, match="'vit_tiny_patch16_224' cannot take images of 8 pixels"):
        network("vit_tiny_patch16_224", image_size=8)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mlp", False), ("linear", False), ("resnet8", True), ("resnet10t", True), ("vit_tiny_patch16_224", False)],
)
def test_batch_norm_is_found(name: str, expected: bool) -> None:
    assert has_batch_norm(network(name, image_size=32)) is expected
