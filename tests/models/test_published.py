"""The table of published encoders: every row builds, has the width that it states, and takes the original's weights."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from elfs.models.checkpoints import LAYOUTS, fitted_weights
from elfs.models.encoders import build_architecture
from elfs.models.published import PUBLISHED
from tests.models.reference_networks import ClipResNet, ClipTransformer, EfficientNet, VisionTransformer

SIZES = {"small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16)}
"""Width, depth and heads of the vision transformers of Dosovitskiy et al. (2021) and Touvron et al. (DeiT, 2021)."""


def vit(patch: int, size: str) -> Callable[[], nn.Module]:
    return partial(VisionTransformer, patch, *SIZES[size], 224)


def dinov2(size: str, registers: int) -> Callable[[], nn.Module]:
    width, depth, heads = SIZES.get(size, (1536, 40, 24))  # giant: DINOv2, table 17
    gated = size == "giant"
    return partial(VisionTransformer, 14, width, depth, heads, 518, scaled=True, gated=gated, registers=registers)


def resnet50() -> nn.Module:
    network: nn.Module = torchvision.models.resnet50(weights=None)
    return network


ORIGINALS: dict[str, Callable[[], nn.Module]] = {
    # OpenAI's CLIP: Radford et al. (2021), tables 19 and 20
    "clip_RN50": partial(ClipResNet, (3, 4, 6, 3), 64, 224, 1024),
    "clip_ViT-B/16": partial(ClipTransformer, 16, 768, 12, 12, 224, 512),
    "clip_ViT-B/32": partial(ClipTransformer, 32, 768, 12, 12, 224, 512),
    "clip_ViT-L/14": partial(ClipTransformer, 14, 1024, 24, 16, 224, 768),
    **{f"convnext_{size}": getattr(torchvision.models, f"convnext_{size}") for size in SIZES},
    "dino_resnet50": resnet50,
    "swav_resnet50": resnet50,
    **{f"dino_vit{size[0]}{patch}": vit(patch, size) for size in ("small", "base") for patch in (8, 16)},
    **{f"dinov2_vit{size[0]}14": dinov2(size, 0) for size in (*SIZES, "giant")},
    **{f"dinov2_vit{size[0]}14_reg": dinov2(size, 4) for size in (*SIZES, "giant")},
    "lite": partial(EfficientNet, squeeze=False),
    "mae_vit_base": vit(16, "base"),
    "mae_vit_large": vit(16, "large"),
    "mae_vit_huge": partial(VisionTransformer, 14, 1280, 32, 16, 224),
    "mocov3_vit_base": vit(16, "base"),
    "mocov3_vit_small": partial(VisionTransformer, 16, 384, 12, 12, 224),  # facebookresearch/moco-v3, vits.py: 12 heads
    **{f"msn_vit_{size}": vit(16, size) for size in SIZES},
}
"""What the makers of the weights trained, in full size."""


def heads(original: Any) -> int:
    """Attention heads, which no shape tells."""
    clip = isinstance(original, ClipTransformer)
    return int(original.transformer["resblocks"][0].attn.num_heads if clip else original.blocks[0].heads)


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Networks without numbers: full size in a tenth of a second."""
    monkeypatch.setattr(torch, "linspace", partial(torch.linspace, device="cpu"))  # timm 1.0.20 reads from it
    with torch.device("meta"):
        yield


def test_every_published_encoder_has_its_original() -> None:
    assert ORIGINALS.keys() == PUBLISHED.keys()


@pytest.mark.slow
@pytest.mark.usefixtures("no_memory")
@pytest.mark.parametrize("name", PUBLISHED)
def test_full_size(name: str) -> None:
    entry = PUBLISHED[name]
    network, original = build_architecture(entry).eval(), ORIGINALS[name]()
    assert network(torch.empty(1, 3, entry.input_size, entry.input_size)).shape == (1, entry.dim)
    prefix = "visual." if entry.layout == "clip" else ""
    weights: dict[str, Tensor] = {prefix + key: value for key, value in original.state_dict().items()}
    if name.startswith("dinov2"):
        weights["mask_token"] = torch.empty(1, entry.dim)
    found = fitted_weights(weights, network, LAYOUTS[entry.layout], Path("original.pth"))
    assert found.keys() == network.state_dict().keys()
    if isinstance(original, ClipTransformer | VisionTransformer):
        assert all(
            block.get_submodule("attn").num_heads == heads(original)
            for block in network.get_submodule("blocks").children()
        )


@pytest.mark.parametrize("name", [name for name, entry in PUBLISHED.items() if entry.source.startswith("timm/")])
def test_source_is_where_timm_keeps_the_weights(name: str) -> None:
    entry = PUBLISHED[name]
    tag = entry.source.rpartition(".")[2]
    config = timm.get_pretrained_cfg(f"{entry.architecture}.{tag}")
    assert config.hf_hub_id == entry.source
    assert (config.mean, config.std, config.interpolation) == (entry.mean, entry.std, "bicubic")


@pytest.mark.parametrize("size", ["Small", "Base", "Large"])
def test_source_is_where_torchvision_keeps_the_weights(size: str) -> None:
    entry = PUBLISHED[f"convnext_{size.lower()}"]
    assert entry.source == torchvision.models.get_weight(f"ConvNeXt_{size}_Weights.IMAGENET1K_V1").url
    assert entry.sha256 in entry.source  # torch.hub's convention: the file is named after its digest


def test_lite_is_prepared_as_its_twin_in_timm() -> None:
    entry, config = PUBLISHED["lite"], timm.get_pretrained_cfg("tf_efficientnet_lite0")
    assert (config.mean, config.std, config.interpolation) == (entry.mean, entry.std, "bicubic")
    assert (config.crop_pct, config.input_size) == (entry.crop_share, (3, entry.input_size, entry.input_size))


def test_addresses_are_distinct_files() -> None:
    files = [entry.source.rpartition("/")[2] for entry in PUBLISHED.values() if entry.is_address]
    assert len(set(files)) == len(files) == 10
    assert all(entry.layout in LAYOUTS for entry in PUBLISHED.values())
