import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elfs.config import CONFIGS, as_json, from_json
from elfs.data.samples import Outcome, SampleTable
from elfs.data.sources import open_source
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.pipeline.source_facts import SourceFacts
from elfs.workspace.draft import open_draft
from elfs.workspace.files import digest_json
from elfs.workspace.workspace import Workspace

NAMES = [f"{folder}/{number:02d}.png" for folder in ("a", "b") for number in range(10)]
"""Ten pictures in each of two folders, with the same names in both."""


class Workshop:
    """A folder of pictures and a workspace over it: row i has score i (aum, so lower is harder) and cluster i % 3."""

    def __init__(self, place: Path) -> None:
        self.path = place / "ws"
        self.root = place / "photos"

    def draw(self, names: list[str], size: tuple[int, int] = (12, 8)) -> None:
        """Write pictures; each has a colour of its own."""
        for number, name in enumerate(names):
            file = self.root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, (number, 100, 200)).save(file, format="JPEG" if name.endswith("jpg") else "PNG")

    def commit(
        self,
        stage: str,
        tensors: Mapping[str, Mapping[str, np.ndarray]],
        *,
        inputs: tuple[str, ...] = (),
        config: dict[str, Any] | None = None,
        smoke: bool = False,
        **facts: Any,
    ) -> None:
        """Publish one record with these artifacts."""
        workspace = Workspace.create(self.path)
        draft = open_draft(workspace, stage, digest_json([stage, config]))
        for artifact, arrays in tensors.items():
            draft.save(artifact, arrays)
        metadata = dataclasses.asdict(SourceFacts("folder", 3, True, None, True, None)) | facts
        draft.commit(
            stage,
            stage=stage,
            config=as_json(from_json(CONFIGS[stage], config or {})),
            inputs={name: workspace.manifest.artifacts[name].digest for name in inputs},
            seed=None,
            smoke=smoke,
            summary={"headline": f"{stage} done   well"},
            metadata={"samples": metadata} if stage == "embed" else dict.fromkeys(tensors, facts) if facts else {},
            run={"started": "2025-01-01T00:00:00+00:00", "seconds": 1.25, "device": "cpu"},
            source_root=str(self.root),
        )

    def embed(self, table: SampleTable | None = None, **facts: Any) -> SampleTable:
        """Publish samples: those of the folder unless a table is given."""
        if table is None:
            table = open_source("folder", self.root, download=False, max_pixels=1 << 30).list()
        source = str(facts.get("source", "folder"))
        self.commit("embed", {"samples": table.tensors()}, config={"source": source}, **facts)
        return table

    def label(self, num_rows: int, *, smoke: bool = False, first: int = 0, names: Sequence[str] | None = None) -> None:
        """Publish pseudo-labels that go round from `first` on, with names where they were learned from people."""
        labels = (np.arange(num_rows, dtype=np.int64) + first) % 3
        tensors, inputs = {"pseudo_labels": {"pseudo_labels": labels}}, ("samples",)
        if names is None:
            self.commit("label", tensors, inputs=inputs, smoke=smoke)
            return
        self.commit("label", tensors, inputs=(*inputs, "annotations"), names=list(names))

    def score(self, values: np.ndarray) -> None:
        self.commit("score", {"scores": {"aum": values.astype(np.float32)}}, inputs=("samples",))

    def select(self, **config: Any) -> str:
        """Run the real stage; no embeddings are published, so it cannot look for copies."""
        settings = from_json(CONFIGS["select"], {"dedup": "off"} | config)
        outcome = execute("select", self.path, settings, Runtime(devices="cpu"))
        return outcome.record.partition("/")[2]

    def workspace(self) -> Workspace:
        return Workspace.open(self.path)


@pytest.fixture
def empty(tmp_path: Path) -> Workshop:
    """Nothing yet."""
    return Workshop(tmp_path)


@pytest.fixture
def shop(empty: Workshop) -> Workshop:
    """Twenty pictures, and a quarter of them selected: ranks 1 to 5 are rows 8 to 12."""
    empty.draw(NAMES)
    empty.embed()
    empty.label(20)
    empty.score(np.arange(20))
    empty.select(method="elfs", budget="0.25", hard_rate=0.4, name="quarter")
    return empty


@pytest.fixture
def odd(empty: Workshop) -> Callable[..., Workshop]:
    """Make a workspace over pictures with these names, all of them selected."""

    def make(*names: bytes) -> Workshop:
        empty.draw([os.fsdecode(name) for name in names])
        table = empty.embed()
        empty.label(len(table))
        empty.score(np.arange(len(table)))
        empty.select(method="elfs", budget="1.0", hard_rate=0.0, name="all")
        return empty

    return make


@pytest.fixture
def broken(empty: Workshop) -> Workshop:
    """Twenty pictures, two of which cannot be used; one has no score."""
    empty.draw(NAMES)
    table = open_source("folder", empty.root, download=False, max_pixels=1 << 30).list()
    outcome = np.zeros(20, np.uint8)
    outcome[[3, 4]] = Outcome.BROKEN, Outcome.TOO_LARGE
    empty.embed(table.with_outcomes(outcome, {3: "damaged <b>header</b>", 4: "9 x 9 pixels"}))
    empty.label(20)
    scores = np.arange(20, dtype=np.float32)
    scores[19] = np.nan
    empty.score(scores)
    empty.select(method="elfs", budget="4", hard_rate=0.5, name="four")
    return empty


@pytest.fixture
def sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave figures empty, for tests that look at the rest of a page: to draw them takes most of its time."""
    monkeypatch.setattr("elfs.delivery.figures._svg", lambda *given: "<svg></svg>")
