import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elfs.catalog import STAGES
from elfs.cli.app import run
from elfs.config import CONFIGS, StageConfig, as_json, from_json
from elfs.parallel.runtime import Runtime
from elfs.pipeline.graph import STAGES as TABLE
from elfs.pipeline.graph import record_name
from elfs.pipeline.job import Outcome
from elfs.pipeline.source_facts import SourceFacts
from elfs.workspace.draft import open_draft
from elfs.workspace.files import digest_json
from elfs.workspace.workspace import Workspace

SAMPLES = asdict(SourceFacts("folder", channels=3, mirror=True, num_classes=None, has_images=True, image_side=8))

SUMMARIES: dict[str, dict[str, Any]] = {
    "embed": {
        "headline": "digits, patches encoder   1,797 x 64",
        "images": 1797,
        "train": 1430,
        "test": 360,
        "missing": 0,
        "broken": 7,
    },
    "cluster": {"headline": "TEMI, 16 heads, 10 clusters   head 7 chosen"},
    "label": {"headline": "10 clusters, 96% confident"},
    "dynamics": {"headline": "resnet8, 30 epochs   agreement 0.93"},
    "score": {"headline": "aum forgetting el2n"},
    "select": {
        "headline": "144 of 1,437 by aum",
        "method": "auto",
        "key": "aum",
        "name": "r1",
        "count": 144,
        "eligible": 1437,
        "share": 0.100209,
        "clusters": 10,
        "clusters_covered": 9,
        "fewest_per_cluster": 0,
        "most_per_cluster": 21,
        "without_score": 2,
    },
}


@dataclass(frozen=True)
class Ran:
    """What a command line came to."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Call:
    """One call of a stage."""

    stage: str
    workspace: Path
    config: StageConfig
    runtime: Runtime
    options: dict[str, Any]


@pytest.fixture(autouse=True)
def _clean_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, without variables that change what a command does or how it looks."""
    for name in list(os.environ):
        if name.startswith("ELFS_") or name in ("NO_COLOR", "FORCE_COLOR", "CI", "TERM", "GITHUB_ACTIONS"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def elfs(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command line in this process."""

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        code = run(arguments)
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return call


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Replace the stages by ones that only note how they were called."""
    calls: list[Call] = []

    def execute(stage: str, path: Path, config: StageConfig, runtime: Runtime, **options: Any) -> Outcome:
        calls.append(Call(stage, path, config, runtime, options))
        record = record_name(stage, config)
        return Outcome(stage, record, True, 38.2, SUMMARIES[stage], options["smoke"])

    monkeypatch.setattr("elfs.pipeline.execution.execute", execute)
    monkeypatch.setattr("elfs.pipeline.known.known", lambda *_: None)
    monkeypatch.setattr(Runtime, "device", lambda runtime: torch.device("cpu"))
    monkeypatch.setattr("elfs.stages.estimates.chain.chain_costs", lambda *_, **__: {})
    return calls


class Builder:
    """Makes records of the six stages, so that each test says only what matters to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def commit(self, stage: str, config: dict[str, Any] | None = None, *, smoke: bool = False, version: int = 0) -> str:
        """Publish one record from what is there; another `version` has other contents."""
        workspace = Workspace.create(self.path)
        checked = from_json(CONFIGS[stage], config or {})
        record = record_name(stage, checked)
        draft = open_draft(workspace, record, digest_json([stage, config, version]))
        makes = [f"selections/{record.partition('/')[2]}"] if stage == "select" else TABLE[stage].makes
        for artifact in makes:
            draft.save(artifact, {"values": np.full(3, version, np.int64)})
        draft.commit(
            record,
            stage=stage,
            config=as_json(checked),
            inputs={name: workspace.manifest.artifacts[name].digest for name in TABLE[stage].needs},
            seed=0,
            smoke=smoke,
            summary=SUMMARIES[stage],
            metadata={"samples": SAMPLES} if stage == "embed" else {},
            run={"started": f"2025-01-0{1 + STAGES.index(stage)}T00:00:00+00:00"},
        )
        return record

    def commit_all(self) -> None:
        """Publish all six."""
        self.commit("embed", {"source": "digits"})
        for stage in STAGES[1:]:
            self.commit(stage)


@pytest.fixture
def builder(tmp_path: Path) -> Builder:
    return Builder(tmp_path / "elfs-workspace")
