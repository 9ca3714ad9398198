from pathlib import Path

import pytest

from tests.chain import Finished, finished


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished("folder", tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished("digits", tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished("embeddings", tmp_path_factory.getbasetemp())


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "workspace"
