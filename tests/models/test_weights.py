import dataclasses
import hashlib
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
from elfs.models.published import PUBLISHED, Published
from elfs.models.weights import find_weights, pretrained_model, published_weights

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


def test_no_network_fails_within_seconds_and_says_what_to_do(hub: Path) -> None:
    started = time.monotonic()
    with pytest.raises(
        InputDataError, match=r"'resnet10t' are not in the Hugging Face cache .* cannot be reached"
    ) as error:
        pretrained_model(NAME)
    assert time.monotonic() - started < 30  # seconds on a busy machine, too
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
    with pytest.raises(InputDataError, match=r"'resnet10t' could not be fetched \("):
        pretrained_model(NAME)
    with pytest.raises(InputDataError, match=r"'dino_vits16' could not be fetched \(.*timm/vit_small_patch16"):
        published_weights("dino_vits16")


CONTENT = b"weights " * 1000


class OneFile(BaseHTTPRequestHandler):
    """A server of one file; of what is called ``cut`` it sends half."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if "cut" in self.path else CONTENT)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def torch_cache(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch.hub's cache, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def published(torch_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Takes the name of a file and the digest that its publisher states, returns the name of an encoder."""
    with HTTPServer(("127.0.0.1", 0), OneFile) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setattr(Published, "is_address", True)

        def publish(file_name: str, sha256: str = "") -> str:
            source = f"http://127.0.0.1:{server.server_port}/{file_name}"
            entry = dataclasses.replace(PUBLISHED["swav_resnet50"], source=source, sha256=sha256)
            monkeypatch.setitem(PUBLISHED, "mine", entry)
            return "mine"

        yield publish
        server.shutdown()
        thread.join()


def test_file_is_fetched_once(published: Callable[..., str], torch_cache: Path) -> None:
    name = published("a.pth", hashlib.sha256(CONTENT).hexdigest()[:8])
    assert find_weights(name) is None
    path = published_weights(name)
    assert (path, path.read_bytes()) == (torch_cache / "a.pth", CONTENT)
    assert find_weights(name) == path
    before = path.stat().st_mtime_ns
    assert published_weights(name).stat().st_mtime_ns == before
    assert list(torch_cache.iterdir()) == [path]


@pytest.mark.parametrize(
    ("file_name", "sha256", "reason"),
    [
        ("cut.pth", "", r"only 4,000 of 8,000 bytes arrived"),
        ("a.pth", "01234567", r"invalid hash value"),
    ],
)
def test_file_that_does_not_arrive_whole_leaves_nothing(
    file_name: str, sha256: str, reason: str, published: Callable[..., str], torch_cache: Path
) -> None:
    name = published(file_name, sha256)
    with pytest.raises(InputDataError, match=rf"'mine' could not be fetched \({reason}.*http://127.*{file_name}"):
        published_weights(name)
    assert list(torch_cache.iterdir()) == []


def test_cached_file_that_is_another(published: Callable[..., str], torch_cache: Path) -> None:
    torch_cache.mkdir(parents=True)
    (torch_cache / "a.pth").write_bytes(b"something else")
    with pytest.raises(InputDataError, match=r"a\.pth' is not the file that was published: .* with 01234567\. Delete"):
        published_weights(published("a.pth", "01234567"))


@pytest.mark.usefixtures("hub")
def test_no_network_and_no_file_names_both(torch_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = dataclasses.replace(PUBLISHED["swav_resnet50"], source="https://127.0.0.1:9/swav.pth.tar")
    monkeypatch.setitem(PUBLISHED, "swav_resnet50", entry)
    expected = (
        rf"'swav_resnet50' are not in torch's cache \({torch_cache}/swav\.pth\.tar\), and https://127\.0\.0\.1:9 "
        r"cannot be reached\. .*--weights FILE.*Or fetch https://127\.0\.0\.1:9/swav\.pth\.tar elsewhere"
    )
    with pytest.raises(InputDataError, match=expected):
        find_weights("swav_resnet50")
    with pytest.raises(
        InputDataError, match=r"'dino_vitb16' are not in the Hugging Face cache .*timm/vit_base_patch16"
    ):
        find_weights("dino_vitb16")
