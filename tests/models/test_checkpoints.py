import argparse
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from elfs.errors import InputDataError
from elfs.models.checkpoints import LAYOUTS, fitted_weights, load_weights

NAME = "resnet10t"


def random_model(seed: int = 0, **options: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model(NAME, pretrained=False, **options)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Weights of a whole model, classifier included."""
    weights: dict[str, Tensor] = random_model().state_dict()
    return weights


def loaded(path: Path) -> dict[str, Tensor]:
    model = random_model(seed=1, num_classes=0)
    load_weights(model, path)
    weights: dict[str, Tensor] = model.state_dict()
    return weights


def prefixed(prefix: str) -> Callable[[dict[str, Tensor]], Any]:
    return lambda state: {prefix + key: value for key, value in state.items()}


WRAPPINGS: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": prefixed("module.")(state)},
    "model": lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    "teacher": lambda state: {"student": {}, "teacher": prefixed("module.backbone.")(state)},
    "module": prefixed("module."),
    "backbone": prefixed("backbone."),
    "nested prefixes": prefixed("module.model."),
    "teacher.backbone": lambda state: {
        **prefixed("teacher.backbone.")(state),
        **prefixed("student.backbone.")({key: value + 1 for key, value in state.items()}),
    },
    "no batch counts": lambda state: {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")},
    "mask token": lambda state: {"teacher": prefixed("backbone.")({**state, "mask_token": torch.zeros(1, 2)})},
    "projection head": lambda state: {**state, "head.mlp.0.weight": torch.zeros(2)},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_wrappers_and_prefixes(wrapping: str, tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(WRAPPINGS[wrapping](state), tmp_path / "weights.pth")
    for key, values in loaded(tmp_path / "weights.pth").items():
        assert torch.equal(values, state[key]), key


def test_safetensors(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state, tmp_path / "weights.safetensors")
    assert torch.equal(loaded(tmp_path / "weights.safetensors")["conv1.0.weight"], state["conv1.0.weight"])


def test_classifier_by_the_name_that_timm_gives(tmp_path: Path) -> None:
    whole = timm.create_model("mobilenetv3_small_050", pretrained=False)
    assert any(key.startswith("classifier.") for key in whole.state_dict())
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    model = timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=0)
    load_weights(model, tmp_path / "weights.pth")
    assert torch.equal(model.state_dict()["conv_stem.weight"], whole.state_dict()["conv_stem.weight"])


def test_mismatch_names_the_keys_and_changes_nothing(tmp_path: Path, state: dict[str, Tensor]) -> None:
    damaged = {key: value for key, value in state.items() if not key.startswith("layer4.")}
    damaged |= {"prototypes.weight": torch.zeros(2), "bn1.weight": torch.zeros(3)}
    torch.save(damaged, tmp_path / "weights.pth")
    model = random_model(seed=1, num_classes=0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    expected = (
        r"do not fit the encoder: \d\d missing \(layer4\.0\.conv1\.weight, [^,]+, [^,]+, \.\.\.\), "
        r"1 unexpected \(prototypes\.weight\), 1 of another shape \(bn1\.weight\)"
    )
    with pytest.raises(InputDataError, match=expected):
        load_weights(model, tmp_path / "weights.pth")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_other_names_alone_are_told_from_another_network(tmp_path: Path, state: dict[str, Tensor]) -> None:
    renamed = {f"net_{key}": value for key, value in state.items()}
    torch.save(renamed, tmp_path / "weights.pth")
    expected = (
        r"weights\.pth' have the shapes of the encoder's and other names: \d+ theirs \(net_conv1\.0\.weight, [^)]+\), "
        r"\d+ of the encoder \(conv1\.0\.weight, [^)]+\)\. If they are of the same network, rename them\.$"
    )
    with pytest.raises(InputDataError, match=expected):
        loaded(tmp_path / "weights.pth")
    torch.save(renamed | {"net_conv1.0.weight": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(InputDataError, match=r"do not fit the encoder: \d+ missing \(conv1\.0\.weight, "):
        loaded(tmp_path / "weights.pth")


class Payload:
    """Would leave a file behind if its pickle were executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("file_name", ["weights.pth", "weights.bin", "weights.ckpt"])
def test_code_in_a_pickle_is_refused_and_not_run(file_name: str, tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save({"state_dict": state, "hook": Payload(tmp_path / "executed")}, tmp_path / file_name)
    with pytest.raises(InputDataError, match=r"holds code \([\w.]+\), which elfs never runs\. Save its weights alone"):
        loaded(tmp_path / file_name)
    assert not (tmp_path / "executed").exists()


def test_harmless_classes_are_named_too(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save({"model": state, "args": argparse.Namespace(lr=0.1)}, tmp_path / "weights.pth")
    with pytest.raises(InputDataError, match=r"holds code \(argparse\.Namespace\)"):
        loaded(tmp_path / "weights.pth")


def test_plain_pickle(tmp_path: Path) -> None:
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps({"hook": Payload(tmp_path / "executed")}))
    with pytest.raises(InputDataError, match="holds code or is no checkpoint"):
        loaded(tmp_path / "weights.pkl")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("file_name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello world, this is no checkpoint", b"PK\x03\x04" + bytes(40)])
def test_damaged_file(file_name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / file_name).write_bytes(content)
    with pytest.raises(InputDataError, match=r"cannot be read as weights|holds code or is no checkpoint"):
        loaded(tmp_path / file_name)


def test_pickle_renamed_to_safetensors(tmp_path: Path) -> None:
    torch.save({"hook": Payload(tmp_path / "executed")}, tmp_path / "weights.safetensors")
    with pytest.raises(InputDataError, match="cannot be read as weights"):
        loaded(tmp_path / "weights.safetensors")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {}}, {1: torch.zeros(2)}])
def test_no_weights_in_the_file(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(InputDataError, match="holds no weights: expected names with tensors"):
        loaded(tmp_path / "weights.pth")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"weights file '.*absent\.pth' does not exist"):
        loaded(tmp_path / "absent.pth")


def tiny_vit(**options: Any) -> Any:
    sizes = {"embed_dim": 16, "depth": 1, "num_heads": 2, "img_size": 32, "num_classes": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model("vit_tiny_patch16_224", pretrained=False, **{**sizes, **options})


def test_torchscript_archive_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings(action="ignore"):  # TorchScript is deprecated
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "ViT-B-32.pt")
    with pytest.raises(InputDataError, match=r"ViT-B-32\.pt' is a TorchScript archive, .*torch\.jit\.load\(FILE\)"):
        loaded(tmp_path / "ViT-B-32.pt")


def test_half_precision_becomes_single(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save(
        {key: value.half() if value.is_floating_point() else value for key, value in state.items()}, tmp_path / "w"
    )
    found = loaded(tmp_path / "w")
    assert found["conv1.0.weight"].dtype == torch.float32
    torch.testing.assert_close(found["conv1.0.weight"], state["conv1.0.weight"], atol=1e-3, rtol=1e-3)


def test_position_embeddings_of_another_input_size_are_resampled(tmp_path: Path) -> None:
    source = tiny_vit(img_size=64)
    with torch.no_grad():  # a plane keeps its shape under any resampling, away from the borders
        ramp = torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 4, 16).reshape(1, 16, 16)
        source.pos_embed.copy_(torch.cat([torch.full((1, 1, 16), 9.0), ramp], dim=1))
    torch.save(source.state_dict(), tmp_path / "w")
    model = tiny_vit()
    load_weights(model, tmp_path / "w")
    assert (model.pos_embed[0, 0] == 9).all()
    grid = model.pos_embed[0, 1:].view(2, 2, 16)
    assert (grid[1] - grid[0] > 1).all()
    torch.testing.assert_close(grid.mean(), torch.tensor(1.5), atol=1e-4, rtol=0)


def test_patches_of_another_size_are_not_resampled() -> None:
    source = tiny_vit(patch_size=8)
    with pytest.raises(InputDataError, match=r"1 of another shape \(patch_embed\.proj\.weight\)"):
        fitted_weights(source.state_dict(), tiny_vit(), LAYOUTS["timm"], Path("w"))


def test_weights_that_timm_cannot_convert() -> None:
    weights = tiny_vit().state_dict() | {"patch_embed.proj.weight": torch.zeros(7)}
    with pytest.raises(InputDataError, match=r"'w' do not fit the encoder: timm cannot convert them \("):
        fitted_weights(weights, tiny_vit(), LAYOUTS["timm"], Path("w"))


FOREIGN = {
    "CLIP": {"visual.ln_post.weight": torch.zeros(2)},
    "MAE": {"decoder_embed.weight": torch.zeros(2)},
    "MoCo v3": {"module.momentum_encoder.cls_token": torch.zeros(2)},
    "SwAV": {"module.prototypes.weight": torch.zeros(2)},
    "torchvision": {"features.0.0.weight": torch.zeros(2)},
}


@pytest.mark.parametrize("family", FOREIGN)
def test_another_family_is_named(family: str, tmp_path: Path) -> None:
    torch.save({"state_dict": FOREIGN[family]}, tmp_path / "w")
    with pytest.raises(InputDataError, match=rf"missing .* Their names are those of {family}\.$"):
        loaded(tmp_path / "w")


def test_own_family_is_not_named() -> None:
    weights = {"visual.ln_post.weight": torch.zeros(2)}
    with pytest.raises(InputDataError, match=r"1 unexpected \(visual\.ln_post\.weight\), 0 of another shape\.$"):
        fitted_weights(weights, random_model(num_classes=0), LAYOUTS["clip"], Path("w"))


def test_the_norm_of_a_pooled_transformer_does_not_stand_in_for_another() -> None:
    weights = {
        key.replace("norm.", "fc_norm.") if key.startswith("norm.") else key: value
        for key, value in tiny_vit().state_dict().items()
    }
    with pytest.raises(InputDataError, match=r"2 missing \(norm\.weight, norm\.bias\), 0 unexpected"):
        fitted_weights({"model": weights}, tiny_vit(), LAYOUTS["mae"], Path("w"))
