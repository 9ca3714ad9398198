"""Tiny pools, small settings and the chain of stages, for tests that need real workspaces."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from elfs.catalog import STAGES
from elfs.config import CONFIGS, StageConfig, from_json
from elfs.parallel.runtime import Runtime, Silence
from elfs.pipeline.execution import execute
from elfs.pipeline.job import Outcome
from tests.everything import finish

ROOT = Path(__file__).parents[1]
"""The repository's folder: subprocesses that import `tests` start there."""

STRIDE = int(os.environ.get("FAULT_STRIDE", "101"))
"""Of faults without number, every so manieth is tried; 1 is all of them. It is odd, so that kinds in turn all occur."""

NUM_PICTURES = 60
CORRUPT = "b/19.png"

SMALL: dict[str, dict[str, Any]] = {
    "embed": {"encoder": "pixels", "neighbors": 5},
    "cluster": {
        "clusters": 3,
        "heads": 2,
        "epochs": 6,
        "batch_size": 32,
        "warmup_epochs": 1,
        "hidden": 16,
        "bottleneck": 8,
    },
    "label": {},
    "dynamics": {"recipe": "small", "epochs": 3, "batch_size": 32},
    "score": {"window": 2},
    "select": {"budget": "0.2"},
}
"""Settings with which a stage takes a moment."""


def make_pictures(folder: Path, *, corrupt: bool = False) -> Path:
    """Write 60 noisy pictures of 8x8 pixels in three colours, one folder a colour; `corrupt` cuts one of them off."""
    random = np.random.default_rng(0)
    for channel, name in enumerate("abc"):
        (folder / name).mkdir(parents=True)
        for number in range(NUM_PICTURES // 3):
            pixels = random.integers(0, 80, (8, 8, 3))
            pixels[..., channel] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:02d}.png")
    if corrupt:
        (folder / CORRUPT).write_bytes((folder / CORRUPT).read_bytes()[:60])
    return folder


def make_embeddings(path: Path, num_rows: int = NUM_PICTURES, *, num_dims: int = 6) -> Path:
    """Write embeddings in three well separated groups of equal size, in row order."""
    values = np.random.default_rng(1).normal(0, 0.3, (num_rows, num_dims))
    values[np.arange(num_rows), np.arange(num_rows) * 3 // num_rows] += 5
    np.save(path, values.astype(np.float32))
    return path


def config(stage: str, **changes: Any) -> StageConfig:
    """Return the small settings of a stage, with changes."""
    return from_json(CONFIGS[stage], SMALL[stage] | changes)


def run_stage(
    stage: str,
    workspace: Path,
    *,
    root: Path | None = None,
    runtime: Runtime | None = None,
    force: bool = False,
    smoke: bool = False,
    **changes: Any,
) -> Outcome:
    """Run one stage with small settings on the CPU."""
    given = runtime or Runtime(devices="cpu")
    return execute(stage, workspace, config(stage, **changes), given, force=force, smoke=smoke, source_root=root)


def run_chain(
    workspace: Path, *, root: Path | None = None, stages: tuple[str, ...] = STAGES, seed: int = 0, **embed: Any
) -> dict[str, Outcome]:
    """Run several stages, all with one seed; `embed` holds settings of the first."""
    outcomes = {}
    for stage in stages:
        changes = embed if stage == "embed" else {}
        if "seed" in {field for field in CONFIGS[stage].__dataclass_fields__}:
            changes = changes | {"seed": seed}
        outcomes[stage] = run_stage(stage, workspace, root=root if stage == "embed" else None, **changes)
    return outcomes


def bytes_of(path: Path) -> dict[str, bytes | None]:
    """Return every file below a folder with its contents, and every folder with None; empty if there is nothing."""
    found = sorted(path.rglob("*"))
    return {entry.relative_to(path).as_posix(): entry.read_bytes() if entry.is_file() else None for entry in found}


def artifacts_of(workspace: Path) -> dict[str, bytes | None]:
    """Return the contents of every file of a workspace but the manifest and the lock's."""
    files = bytes_of(workspace)
    return {name: data for name, data in files.items() if name != "manifest.json" and not name.startswith(".")}


@dataclass
class Interruption(Silence):
    """A progress display that acts like Ctrl-C once a piece of work has advanced so far."""

    label: str
    after: int
    current: str = ""
    done: int = 0

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator["Interruption"]:
        self.current, self.done = label, 0
        yield self

    def advance(self, count: int = 1, note: str = "") -> None:
        self.done += count
        if self.current == self.label and self.done >= self.after:
            raise KeyboardInterrupt

    def resume(self, count: int, note: str = "") -> None:
        self.advance(count, note)


@dataclass(frozen=True)
class Finished:
    """A workspace in which every stage has run, to be read or copied, never changed; and the folder of its images.

    Of ``everything``, `path` is a folder with the workspace ``w`` and what people gave.
    """

    path: Path
    root: Path | None

    def copy(self, target: Path) -> Path:
        """Return a copy that a test may change."""
        return Path(shutil.copytree(self.path, target))


def finished(kind: str, places: pytest.TempPathFactory) -> Finished:
    """Return a finished workspace of ``folder``, ``digits``, ``embeddings`` or ``everything``.

    The first of pytest-xdist's workers that asks for it makes it; each has a copy of its own, so that no two meet at
    the lock of a workspace. Pictures are only read, and are there once.
    """
    ours = places.getbasetemp()
    common = ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours
    place, copy = common / f"finished-{kind}", ours / f"copy-{kind}"
    root = place / "pictures" if kind == "folder" else None
    with FileLock(common / f"finished-{kind}.lock"):
        if not (place / "whole").exists():
            shutil.rmtree(place, ignore_errors=True)  # of a worker that failed half-way
            _make(kind, place, root)
            (place / "whole").touch()
        if not copy.exists():
            shutil.copytree(place / "workspace", copy)
    return Finished(copy, root)


def _make(kind: str, place: Path, root: Path | None) -> None:
    place.mkdir()
    options: dict[str, Any] = {"source": kind}
    if root is not None:
        make_pictures(root, corrupt=True)
    elif kind in ("digits", "everything"):
        options |= {"source": "digits", "limit": 200}
    else:
        options |= {"embeddings": str(make_embeddings(place / "own.npy")), "encoder": None}
    if kind != "everything":
        run_chain(place / "workspace", root=root, **options)
        return
    run_chain(place / "workspace" / "w", **options)
    finish(place / "workspace")
