import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from elfs.errors import InputDataError, UsageError
from elfs.models.encoders import ALIASES, PixelEncoder, TimmEncoder, build_encoder, weights_available

VIT, RESNET = "vit_tiny_patch16_224", "resnet10t"


def random_model(name: str, **options: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(name, pretrained=False, **options)


def photo(width: int = 300, height: int = 240) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (height // 10, width // 10, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def vit_state() -> dict[str, Tensor]:
    state: dict[str, Tensor] = random_model(VIT).state_dict()
    return state


@pytest.mark.parametrize("name", [VIT, RESNET])
def test_timm_path_equals_plain_timm(name: str, tmp_path: Path) -> None:
    reference = random_model(name, num_classes=0)
    with torch.no_grad():
        for parameter in reference.parameters():  # timm starts layer scales and last norms near zero
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    save_file(reference.state_dict(), tmp_path / "weights.safetensors")
    config = timm.data.resolve_model_data_config(reference)
    expected_input = timm.data.create_transform(**config, is_training=False)(photo())

    encoder = build_encoder(name, weights=tmp_path / "weights.safetensors", image_size=32, channels=3)
    inputs = torch.stack([encoder.transform(photo())])
    torch.testing.assert_close(inputs[0], expected_input)
    with torch.no_grad():
        expected = reference.eval()(inputs)
    embeddings = encoder.to(torch.device("cpu")).encode(inputs)
    torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=0)
    assert embeddings.std() > 0.01
    assert (embeddings.dtype, embeddings.shape) == (torch.float32, (1, encoder.dim))
    assert (encoder.name, encoder.needs_fit) == (name, False)


def test_transform_can_be_pickled(tmp_path: Path, vit_state: dict[str, Tensor]) -> None:
    torch.save(vit_state, tmp_path / "weights.pth")
    encoder = build_encoder(VIT, weights=tmp_path / "weights.pth", image_size=32, channels=3)
    copy = pickle.loads(pickle.dumps(encoder.transform))
    torch.testing.assert_close(copy(photo()), encoder.transform(photo()))


def test_fit_of_a_timm_encoder_changes_nothing(tmp_path: Path, vit_state: dict[str, Tensor]) -> None:
    torch.save(vit_state, tmp_path / "weights.pth")
    encoder = build_encoder(VIT, weights=tmp_path / "weights.pth", image_size=32, channels=3)
    assert isinstance(encoder, TimmEncoder)
    x = torch.ones(1, 3, 224, 224)
    before = encoder.encode(x)
    encoder.fit(x, torch.Generator())
    assert torch.equal(encoder.encode(x), before)


def test_pixels() -> None:
    gray = Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).convert("RGB")
    encoder = build_encoder("pixels", weights=None, image_size=8, channels=1)
    batch = torch.stack([encoder.transform(gray)] * 2)
    encoder.fit(batch, torch.Generator())
    embeddings = encoder.to(torch.device("cpu")).encode(batch)
    assert (encoder.dim, encoder.needs_fit, encoder.name) == (64, False, "pixels")
    torch.testing.assert_close(embeddings, torch.arange(64).expand(2, 64) / 255)
    assert PixelEncoder(400, 3).dim == 3 * 32 * 32


def test_unknown_encoder() -> None:
    with pytest.raises(UsageError, match=r"unknown encoder 'resnet10u'\. Did you mean 'resnet10t'\? Available: patch"):
        build_encoder("resnet10u", weights=None, image_size=32, channels=3)
    with pytest.raises(UsageError, match=r"Did you mean 'vit_base_patch16_224\.dino'\?"):
        weights_available("vit_base_patch16_224.dinoo")


@pytest.mark.parametrize("name", ["patches", "pixels"])
def test_weights_for_an_encoder_without_any(name: str) -> None:
    with pytest.raises(UsageError, match=rf"encoder '{name}' has no weights, but --weights is 'x\.pth'"):
        build_encoder(name, weights=Path("x.pth"), image_size=32, channels=3)


def test_aliases_name_published_models() -> None:
    published = timm.list_pretrained()
    assert [name for name in ALIASES.values() if name not in published] == []


def test_alias_and_prefix_resolve(tmp_path: Path, vit_state: dict[str, Tensor]) -> None:
    torch.save(vit_state, tmp_path / "weights.pth")
    encoder = build_encoder(f"timm_{VIT}", weights=tmp_path / "weights.pth", image_size=32, channels=3)
    assert encoder.name == VIT
    with pytest.raises(InputDataError, match="do not fit the encoder"):
        build_encoder("dino_vits16", weights=tmp_path / "weights.pth", image_size=32, channels=3)


def test_no_weights_needed() -> None:
    assert weights_available("patches")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_within_bfloat16(tmp_path: Path, vit_state: dict[str, Tensor]) -> None:
    torch.save(vit_state, tmp_path / "weights.pth")
    encoder = build_encoder(VIT, weights=tmp_path / "weights.pth", image_size=32, channels=3)
    batch = torch.stack([encoder.transform(photo())])
    expected = encoder.encode(batch)
    embeddings = encoder.to(torch.device("cuda")).encode(batch)
    assert (embeddings.device.type, embeddings.dtype) == ("cpu", torch.float32)
    assert torch.cosine_similarity(embeddings, expected).min() > 0.99
