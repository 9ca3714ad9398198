from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.workspace.draft import open_draft
from elfs.workspace.files import digest_json
from elfs.workspace.workspace import Workspace

KEY = digest_json({"key": 1})


class Builder:
    """Makes small records, so that each test says only what matters to it."""

    def __init__(self, path: Path) -> None:
        self.workspace = Workspace.create(path)

    def provenance(self, stage: str, inputs: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "stage": stage,
            "config": {"option": 1},
            "inputs": {name: self.workspace.manifest.artifacts[name].digest for name in inputs},
            "seed": 0,
            "smoke": False,
            "summary": {"rows": 4},
            "metadata": {},
            "run": {"seconds": 1.5, "host": "here"},
        }
        return facts | changes

    def commit(
        self, record: str, artifact: str, tensors: dict[str, np.ndarray], inputs: tuple[str, ...] = (), **changes: Any
    ) -> None:
        draft = open_draft(self.workspace, record, KEY)
        draft.save(artifact, tensors)
        draft.commit(record, **self.provenance(record.split("/")[0], inputs, **changes))


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path / "ws")


@pytest.fixture
def make_builder() -> Callable[[Path], Builder]:
    return Builder
