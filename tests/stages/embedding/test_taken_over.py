"""What other ranks and people are told of images that are taken over instead of being embedded."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from elfs.parallel.ranks import Ranks
from elfs.parallel.runtime import Runtime, Silence
from elfs.stages.embedding import rows as embedding_rows
from elfs.workspace.pieces import Pieces
from tests.chain import NUM_PICTURES, make_pictures, run_stage


@dataclass
class Counted(Silence):
    """A progress display that notes what is said of images that are embedded."""

    events: list[tuple[str, int]] = field(default_factory=list)
    label: str = ""

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator["Counted"]:
        self.label = label
        yield self

    def advance(self, count: int = 1, note: str = "") -> None:
        self.events += [("advance", count)] * (self.label == "embed")

    def resume(self, count: int, note: str = "") -> None:
        self.events += [("resume", count)] * (self.label == "embed")


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return those of embed; nine images are written at once."""
    monkeypatch.setattr(embedding_rows, "SHARD_ROWS", 9)
    root = make_pictures(tmp_path / "pictures")
    return {"source": "folder", "root": root, "runtime": Runtime(devices="cpu", num_workers=0), "batch_size": 1}


def add(root: Path, name: str) -> None:
    Image.new("RGB", (9, 9), "red").save(root / name)


def test_what_is_taken_over_counts_before_the_first_image_is_embedded(workspace: Path, options: dict[str, Any]) -> None:
    """Else the time left, and what is said of long stages, would be that of embedding it."""
    progress, told, clock = Counted(), list[str](), itertools.count(0.0, 11.0)
    run_stage("embed", workspace, **options)
    for name in ("000.png", "001.png", "002.png"):
        add(options["root"], name)
    runtime = Runtime(devices="cpu", num_workers=0, progress=progress, warn=told.append, clock=lambda: next(clock))
    run_stage("embed", workspace, **options | {"runtime": runtime})
    assert progress.events == [("resume", NUM_PICTURES)] + 3 * [("advance", 1)]
    assert told == []


def test_every_part_that_is_taken_over_is_a_sign_of_life(
    workspace: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To other ranks, for which one is hung that writes many known rows and does not beat."""
    run_stage("embed", workspace, **options)
    add(options["root"], "d.png")
    events: list[str] = []
    save = Pieces.save

    def saved(pieces: Pieces, *given: Any, **facts: Any) -> None:
        events.append(pieces.directory.name)
        save(pieces, *given, **facts)

    monkeypatch.setattr(Ranks, "beat", lambda ranks: events.append("beat"))
    monkeypatch.setattr(Pieces, "save", saved)
    run_stage("embed", workspace, **options)
    saves = [place for place, event in enumerate(events) if event == "embeddings"]
    assert len(saves) > 5
    assert {events[place + 1] for place in saves} == {"beat"}
