"""Settings and fixtures that every test shares."""

import gc
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker has a core, not all of them

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.chain import Finished, finished


def pytest_xdist_auto_num_workers() -> int:
    """Return one worker more than there are cores: some tests wait for processes that hang."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among modules and tests, which stay: that takes a quarter of the time of collecting them."""
    gc.disable()
    found = yield
    gc.freeze()
    gc.enable()
    return found


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_disks() -> Iterator[None]:
    """Let files be written when the system likes: what a power cut leaves is not tested, and a kill loses nothing.

    Tests that count these operations, or let them fail, put their own in this place.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold long walks, so that no worker is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the settings of whoever runs the tests out of them, and those that a meeting of ranks leaves behind."""
    before = dict(os.environ)
    for name in before:
        if name.startswith("ELFS_"):
            monkeypatch.delenv(name)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture
def few_atoms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the dictionaries of ``patches`` be smaller: it learns in a tenth of the time, and is tested as well.

    For tests that are not about how good its embeddings are, and whose processes all begin here.
    """
    monkeypatch.setattr("elfs.models.shape_features.NUM_ATOMS", 40)


@pytest.fixture
def three_threads() -> Iterator[None]:
    """Let torch compute on three threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def few_penalties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the linear classifier of annotated images be cross-validated with two penalties instead of five."""
    monkeypatch.setattr("elfs.ops.linear_classifier._PENALTIES", (0.1, 0.01))


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the report and compare have empty figures: drawing one takes longer than training a network does in tests."""
    monkeypatch.setattr("elfs.delivery.figures._svg", lambda name, *_: f'<svg data-name="{name}"></svg>')
    monkeypatch.setattr("elfs.evaluation.compare.accuracy_figure", lambda _: b"<svg/>")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished("folder", tmp_path_factory)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished("digits", tmp_path_factory)


@pytest.fixture(scope="session")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished("embeddings", tmp_path_factory)


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished("everything", tmp_path_factory)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"
