import argparse
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from torch import Tensor

from elfs.errors import InputDataError
from elfs.models.weights import find_weights, load_weights, pretrained_model

NAME = "resnet10t"
HUB_ID = "timm/resnet10t.c3_in1k"


def random_model(seed: int = 0, **options: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model(NAME, pretrained=False, **options)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Weights of a whole model, classifier included."""
    weights: dict[str, Tensor] = random_model().state_dict()
    return weights


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a hub at a port where nobody listens."""
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "cache"


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


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"state_dict": {}}])
def test_no_weights_in_the_file(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(InputDataError, match="holds no weights: expected names with tensors"):
        loaded(tmp_path / "weights.pth")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"weights file '.*absent\.pth' does not exist"):
        loaded(tmp_path / "absent.pth")


def test_no_network_fails_within_seconds_and_says_what_to_do(hub: Path) -> None:
    started = time.monotonic()
    with pytest.raises(
        InputDataError, match=r"'resnet10t' are not in the Hugging Face cache .* cannot be reached"
    ) as error:
        pretrained_model(NAME)
    assert time.monotonic() - started < 5
    assert str(hub) in error.value.message
    assert "--weights FILE" in error.value.message
    assert error.value.hint == "elfs embed --encoder patches"


def test_offline_by_request_asks_nobody(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputDataError, match="HF_HUB_OFFLINE is set"):
        find_weights(NAME)


def test_model_without_published_weights(hub: Path) -> None:
    with pytest.raises(InputDataError, match="timm has no weights for 'coatnet_0_224'"):
        find_weights("coatnet_0_224")


def test_cached_weights_need_no_network(hub: Path, state: dict[str, Tensor]) -> None:
    repository = hub / f"models--{HUB_ID.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    (repository / "snapshots" / "abc").mkdir(parents=True)
    save_file(state, repository / "snapshots" / "abc" / "model.safetensors")
    weights = pretrained_model(NAME).state_dict()
    assert weights
    for key, values in weights.items():
        assert torch.equal(values, state[key]), key


class Nothing(BaseHTTPRequestHandler):
    """A hub that has nothing."""

    def do_HEAD(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def empty_hub(hub: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with HTTPServer(("127.0.0.1", 0), Nothing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + template)
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("empty_hub")
def test_download_that_fails() -> None:
    assert find_weights(NAME) is None
    with pytest.raises(InputDataError, match="the download failed"):
        pretrained_model(NAME)
