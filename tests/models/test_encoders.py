import dataclasses
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from elfs.errors import InputDataError, UsageError
from elfs.models.encoders import NetworkEncoder, build_encoder, cast_once, weights_available
from elfs.models.pixels import PixelEncoder
from elfs.models.published import PUBLISHED

pytestmark = pytest.mark.usefixtures("few_atoms")

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


@pytest.mark.slow
@pytest.mark.parametrize("name", [VIT, RESNET])
def test_timm_path_equals_plain_timm(name: str, tmp_path: Path) -> None:
    reference = random_model(name, num_classes=0)
    with torch.no_grad():
        for parameter in reference.parameters():  # timm starts layer scales and last norms near zero
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    save_file(reference.state_dict(), tmp_path / "weights.safetensors")
    config = timm.data.resolve_model_data_config(reference)
    expected_input = timm.data.create_transform(**config, is_training=False)(photo())

    encoder = build_encoder(name, weights=tmp_path / "weights.safetensors", image_size=240, channels=3)
    inputs = torch.stack([encoder.transform(photo())])
    mean, deviation = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    assert torch.equal((inputs[0].float() / 255 - mean) / deviation, expected_input)
    with torch.no_grad():
        expected = reference.eval()(expected_input[None])
    embeddings = encoder.to(torch.device("cpu")).encode(inputs)
    torch.testing.assert_close(embeddings, expected, atol=1e-5 * float(expected.std()), rtol=1e-5)
    assert inputs.dtype == torch.uint8
    assert embeddings.std() > 0.01
    assert (embeddings.dtype, embeddings.shape) == (torch.float32, (1, encoder.dim))
    assert (encoder.name, encoder.needs_fit) == (name, False)


@pytest.mark.slow
def test_transform_can_be_pickled(tmp_path: Path, vit_state: dict[str, Tensor]) -> None:
    torch.save(vit_state, tmp_path / "weights.pth")
    encoder = build_encoder(VIT, weights=tmp_path / "weights.pth", image_size=32, channels=3)
    copy = pickle.loads(pickle.dumps(encoder.transform))
    torch.testing.assert_close(copy(photo()), encoder.transform(photo()))


@pytest.mark.slow
def test_fit_of_a_timm_encoder_changes_nothing(tmp_path: Path, vit_state: dict[str, Tensor]) -> None:
    torch.save(vit_state, tmp_path / "weights.pth")
    encoder = build_encoder(VIT, weights=tmp_path / "weights.pth", image_size=32, channels=3)
    assert isinstance(encoder, NetworkEncoder)
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
    with pytest.raises(UsageError, match=r"unknown encoder 'dino_vitb17'\. Did you mean 'dino_vitb16'\?") as error:
        build_encoder("patches+dino_vitb17", weights=None, image_size=32, channels=3)
    assert error.value.hint == "elfs embed --list-encoders"
    with pytest.raises(UsageError, match=r"Did you mean 'vit_base_patch16_224\.dino'\?"):
        weights_available("vit_base_patch16_224.dinoo")


@pytest.mark.parametrize("name", ["patches", "pixels", "patches+pixels"])
def test_weights_for_an_encoder_without_any(name: str) -> None:
    with pytest.raises(UsageError, match=rf"encoder '{re.escape(name)}' has no weights, but --weights is 'x\.pth'"):
        build_encoder(name, weights=Path("x.pth"), image_size=32, channels=3)


def test_weights_for_several_encoders() -> None:
    expected = r"--weights 'x\.pth' is one file, but 2 encoders of '.*' have weights: dino_vits16, clip_RN50\. Leave it"
    with pytest.raises(UsageError, match=expected):
        build_encoder("dino_vits16+pixels+clip_RN50", weights=Path("x.pth"), image_size=32, channels=3)


@pytest.mark.slow
def test_weights_go_to_the_one_part_that_takes_them(tmp_path: Path, vit_state: dict[str, Tensor]) -> None:
    torch.save(vit_state, tmp_path / "weights.pth")
    alone = build_encoder(VIT, weights=tmp_path / "weights.pth", image_size=32, channels=3)
    joint = build_encoder(f"pixels+timm_{VIT}", weights=tmp_path / "weights.pth", image_size=32, channels=3)
    assert (joint.name, joint.dim, joint.needs_fit) == (f"pixels+{VIT}", 3 * 32 * 32 + alone.dim, False)
    embedding = joint.encode(torch.stack([joint.transform(photo())]))
    expected = alone.encode(torch.stack([alone.transform(photo())]))
    torch.testing.assert_close(embedding[:, 3 * 32 * 32 :], expected / expected.norm())


@pytest.mark.slow
def test_prefix_resolves_to_timm(tmp_path: Path, vit_state: dict[str, Tensor]) -> None:
    torch.save(vit_state, tmp_path / "weights.pth")
    encoder = build_encoder(f"timm_{VIT}", weights=tmp_path / "weights.pth", image_size=32, channels=3)
    assert encoder.name == VIT
    with pytest.raises(InputDataError, match="do not fit the encoder"):
        build_encoder("dino_vits16", weights=tmp_path / "weights.pth", image_size=32, channels=3)


def test_published_weights_are_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"embed_dim": 16, "depth": 1, "num_heads": 2}
    monkeypatch.setitem(PUBLISHED, "dino_vits16", dataclasses.replace(PUBLISHED["dino_vits16"], options=sizes))
    state = random_model("vit_small_patch16_224", num_classes=0, **sizes).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    monkeypatch.setattr("elfs.models.encoders.published_weights", {"dino_vits16": tmp_path / "weights.pth"}.__getitem__)
    fetched = build_encoder("dino_vits16", weights=None, image_size=32, channels=3)
    given = build_encoder("dino_vits16", weights=tmp_path / "weights.pth", image_size=32, channels=3)
    images = torch.stack([fetched.transform(photo())])
    assert (fetched.name, fetched.dim) == ("dino_vits16", 16)
    assert torch.equal(fetched.encode(images), given.encode(images))


def test_no_weights_needed() -> None:
    assert weights_available("patches")
    assert weights_available("patches+pixels")


def test_one_part_without_weights_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert not weights_available("patches+dino_vits16")


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


@pytest.mark.slow
def test_fingerprint_knows_all_that_decides_an_embedding(tmp_path: Path) -> None:
    """The same encoder made twice has the same; each of the others has its own."""
    states = [random_model(RESNET).state_dict() for _ in range(2)]
    states[1]["conv1.0.weight"] = states[1]["conv1.0.weight"] * (1 + 1e-6)
    for number, state in enumerate(states):
        save_file(state, tmp_path / f"{number}.safetensors")

    def made(name: str, weights: str | None = None, size: int = 240, channels: int = 3, seed: int = 0) -> str:
        path = None if weights is None else tmp_path / f"{weights}.safetensors"
        encoder = build_encoder(name, weights=path, image_size=size, channels=channels)
        if encoder.needs_fit:
            images = torch.rand(40, channels, 32, 32, generator=torch.Generator().manual_seed(seed))
            encoder.fit(images, torch.Generator().manual_seed(0))
        return encoder.fingerprint

    options: list[dict[str, Any]] = [
        {"name": RESNET, "weights": "0"},
        {"name": RESNET, "weights": "1"},
        {"name": RESNET, "weights": "0", "size": 100},
        {"name": "pixels"},
        {"name": "pixels", "channels": 1},
        {"name": "pixels", "size": 16},
        {"name": "patches"},
        {"name": "patches", "seed": 1},
        {"name": "pixels+pixels"},
        {"name": f"pixels+{RESNET}", "weights": "0"},
    ]
    found = [made(**option) for option in options]
    assert len(set(found)) == len(options)
    assert found == [made(**option) for option in options]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        (VIT, {"img_size": 64}),
        (RESNET, {}),
        ("tf_efficientnet_lite0", {}),
        ("test_convnext", {}),
        ("resnetv2_50d_gn", {}),
    ],
)
def test_weights_that_are_rounded_once_compute_what_autocast_does(name: str, options: dict[str, Any]) -> None:
    """On the CPU, whose autocast rounds as that of a GPU does; layers derived from a convolution stay as they are."""
    network = random_model(name, num_classes=0, **options).eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    images = images.contiguous(memory_format=torch.channels_last)

    def embedded() -> Tensor:
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            found: Tensor = network(images)
        return found

    expected = embedded()
    cast_once(network, torch.bfloat16)
    assert torch.equal(embedded(), expected)
    dtypes = {type(module).__name__: module.weight.dtype for module in network.modules() if hasattr(module, "weight")}
    kinds = {"Linear": torch.bfloat16, "Conv2d": torch.bfloat16}
    assert dtypes == {kind: kinds.get(kind, torch.float32) for kind in dtypes}
    assert set(kinds) & set(dtypes)
