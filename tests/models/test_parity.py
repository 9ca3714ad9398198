"""Encoders against the networks that the checkpoints are from: the same weights, in each family's own file."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision import transforms
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.transforms import InterpolationMode

from elfs.models.encoders import NetworkEncoder, build_encoder
from elfs.models.published import PUBLISHED
from tests.models.reference_networks import ClipResNet, ClipTransformer, VisionTransformer, randomised

State = dict[str, Tensor]

SMALL: dict[str, Any] = {"img_size": 32, "embed_dim": 32, "depth": 2, "num_heads": 4}
"""A vision transformer as timm takes it; ``VIT`` as the reference does."""
VIT = (32, 2, 4, 32)


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


def others(state: State) -> State:
    return {key: value + 1 for key, value in state.items()}


def dino(state: State) -> Any:
    head = {"module.head.mlp.0.weight": torch.zeros(2)}
    teacher = prefixed("module.backbone.", state) | head
    return {"student": prefixed("module.backbone.", others(state)), "teacher": teacher, "epoch": 3}


def dinov2(state: State) -> Any:
    return state | {"mask_token": torch.zeros(1, 32)}


def mae(state: State) -> Any:
    return {"model": state | {"mask_token": torch.zeros(1, 1, 2), "decoder_blocks.0.norm1.weight": torch.zeros(2)}}


def msn(state: State) -> Any:
    projection = {"module.fc.fc1.weight": torch.zeros(2)}
    return {
        "encoder": prefixed("module.", others(state)) | projection,
        "target_encoder": prefixed("module.", state) | projection,
        "prototypes": torch.zeros(2, 2),
        "opt": {"state": {}},
    }


def mocov3(state: State) -> Any:
    weights = {
        **prefixed("module.base_encoder.", others(state)),
        **prefixed("module.momentum_encoder.", state),
        "module.momentum_encoder.head.0.weight": torch.zeros(2),
        "module.predictor.0.weight": torch.zeros(2),
    }
    return {"epoch": 300, "arch": "vit_small", "state_dict": weights}


def swav(state: State) -> Any:
    heads = {"projection_head.0.weight": torch.zeros(2), "prototypes.weight": torch.zeros(2)}
    return prefixed("module.", {key: value for key, value in state.items() if not key.startswith("fc.")} | heads)


def clip(state: State) -> Any:
    text = {"text_projection": torch.zeros(2), "logit_scale": torch.tensor(4.6), "input_resolution": torch.tensor(224)}
    return prefixed("visual.", state) | text | {"transformer.resblocks.0.ln_1.weight": torch.zeros(2)}


@dataclasses.dataclass(frozen=True)
class Case:
    """A published encoder, made small."""

    reference: Callable[[], nn.Module]
    checkpoint: Callable[[State], Any]
    changes: dict[str, Any]
    feature: Callable[[nn.Module, Tensor], Tensor] = lambda network, images: network(images)


def small_vit(**options: Any) -> dict[str, Any]:
    sizes = {**SMALL, **options}
    return {"options": sizes, "input_size": sizes["img_size"]}


def pooled_resnet(network: nn.Module, images: Tensor) -> Tensor:
    network.fc = nn.Identity()
    output: Tensor = network(images)
    return output


def pooled_convnext(network: nn.Module, images: Tensor) -> Tensor:
    maps: Tensor = network.get_submodule("features")(images)
    return maps.mean(dim=(2, 3))


RESNET = partial(ResNet, Bottleneck, [1, 1, 1, 1])
TINY_RESNET: dict[str, Any] = {"options": {"layers": (1, 1, 1, 1)}, "input_size": 64}
TINY_CLIP: dict[str, Any] = {"options": SMALL, "input_size": 32, "dim": 24}
CASES: dict[str, Case] = {
    "clip_RN50": Case(partial(ClipResNet, (3, 4, 6, 3), 64, 224, 1024), clip, {}),
    "clip_ViT-B/16": Case(partial(ClipTransformer, 16, 32, 2, 4, 32, 24), clip, TINY_CLIP),
    "convnext_small": Case(torchvision.models.convnext_tiny, dict, {"architecture": "convnext_tiny"}, pooled_convnext),
    "dino_resnet50": Case(RESNET, dict, TINY_RESNET, pooled_resnet),
    "dino_vits16": Case(partial(VisionTransformer, 16, *VIT), dino, small_vit()),
    "dinov2_vitg14": Case(
        partial(VisionTransformer, 14, 48, 2, 4, 28, scaled=True, gated=True),
        dinov2,
        small_vit(embed_dim=48, img_size=28),
    ),
    "dinov2_vits14_reg": Case(
        partial(VisionTransformer, 14, 32, 2, 4, 28, scaled=True, registers=4),
        dinov2,
        small_vit(img_size=28),
    ),
    "mae_vit_huge": Case(partial(VisionTransformer, 14, 32, 2, 4, 28), mae, small_vit(img_size=28)),
    "mocov3_vit_small": Case(partial(VisionTransformer, 16, *VIT), mocov3, small_vit()),
    "msn_vit_base": Case(partial(VisionTransformer, 16, *VIT), msn, small_vit()),
    "swav_resnet50": Case(RESNET, swav, TINY_RESNET, pooled_resnet),
}


def photo(side: int = 300) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (12, 15, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((side * 5 // 4, side), Image.Resampling.BICUBIC)


def normalised(pixels: Tensor, name: str) -> Tensor:
    """Return bytes as the original networks take them."""
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (PUBLISHED[name].mean, PUBLISHED[name].std))
    return (pixels.float() / 255 - mean) / deviation


def test_every_layout_and_pooling_has_a_case() -> None:
    kinds = {(entry.layout, entry.pooling, entry.library) for entry in PUBLISHED.values()}
    assert kinds == {(PUBLISHED[name].layout, PUBLISHED[name].pooling, PUBLISHED[name].library) for name in CASES}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_feature_is_that_of_the_original(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    entry = dataclasses.replace(PUBLISHED[name], **case.changes)
    monkeypatch.setitem(PUBLISHED, name, entry)
    network = randomised(case.reference)
    torch.save(case.checkpoint(network.state_dict()), tmp_path / "checkpoint.pth.tar")

    encoder = build_encoder(name, weights=tmp_path / "checkpoint.pth.tar", image_size=300, channels=3)
    inputs = torch.stack([encoder.transform(photo())])
    with torch.no_grad():
        expected = case.feature(network, normalised(inputs, name))
    embeddings = encoder.encode(inputs)
    assert embeddings.shape == (1, encoder.dim)
    assert expected.std() > 0.01
    torch.testing.assert_close(embeddings / expected.std(), expected / expected.std(), atol=1e-5, rtol=1e-5)


def test_openai_files_are_in_half_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        PUBLISHED, "clip_ViT-B/16", dataclasses.replace(PUBLISHED["clip_ViT-B/16"], **CASES["clip_ViT-B/16"].changes)
    )
    network = randomised(CASES["clip_ViT-B/16"].reference).half()
    save_file(clip(network.state_dict()), tmp_path / "clip.safetensors")
    encoder = build_encoder("clip_ViT-B/16", weights=tmp_path / "clip.safetensors", image_size=300, channels=3)
    inputs = torch.stack([encoder.transform(photo())])
    with torch.no_grad():
        expected = network.float()(normalised(inputs, "clip_ViT-B/16"))
    torch.testing.assert_close(encoder.encode(inputs), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("dino_vits16", [transforms.Resize(256, InterpolationMode.BICUBIC), transforms.CenterCrop(224)]),
        ("clip_ViT-B/16", [transforms.Resize(224, InterpolationMode.BICUBIC), transforms.CenterCrop(224)]),
    ],
)
def test_photos_are_prepared_as_by_the_original(
    name: str, steps: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = small_encoder(name, 300, tmp_path, monkeypatch)
    entry = PUBLISHED[name]
    normalise = [transforms.ToTensor(), transforms.Normalize(entry.mean, entry.std)]
    expected = transforms.Compose([*steps, *normalise])(photo())
    torch.testing.assert_close(normalised(encoder.transform(photo()), name), expected)


def test_small_images_are_seen_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    framed = Image.new("RGB", (32, 32), "white")
    framed.paste("black", (1, 1, 31, 31))
    whole = small_encoder("dino_vits16", 32, tmp_path, monkeypatch).transform(framed)
    cropped = small_encoder("dino_vits16", 224, tmp_path, monkeypatch).transform(framed)
    assert whole.shape == cropped.shape == (3, 224, 224)
    assert whole[0, 112, 0] > 200
    assert cropped[0, 112, 0] < 50


def small_encoder(name: str, image_size: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> NetworkEncoder:
    """Return an encoder that sees 224 pixels through two small blocks."""
    case = CASES[name]
    options = {**case.changes["options"], "img_size": 224}
    monkeypatch.setitem(
        PUBLISHED, name, dataclasses.replace(PUBLISHED[name], **case.changes | {"options": options, "input_size": 224})
    )
    torch.save(case.checkpoint(randomised(case.reference).state_dict()), folder / "weights.pth")
    encoder = build_encoder(name, weights=folder / "weights.pth", image_size=image_size, channels=3)
    assert isinstance(encoder, NetworkEncoder)
    return encoder
