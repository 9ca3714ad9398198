"""``elfs train --dry-run``, and what `compare --dry-run` adds: what would be trained, and how long that takes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elfs.config import cheaper
from elfs.evaluation import comparison_forecast, train_plan
from tests.chain import Finished, bytes_of
from tests.cli.conftest import Ran

Elfs = Callable[..., Ran]

MLP = ("--network", "mlp", "--iterations", "4", "--devices", "cpu")


@pytest.fixture
def used(digits: Finished, tmp_path: Path) -> Path:
    return digits.copy(tmp_path / "elfs-workspace")


def take(seconds: float | None) -> Callable[[Any], Callable[[int], float | None]]:
    return lambda trainer: lambda images: seconds


def test_what_would_be_trained(elfs: Elfs, used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = bytes_of(used)
    monkeypatch.setattr(train_plan, "seconds_by_images", take(30.0))
    ran = elfs("train", *MLP, "--seeds", "2", "-n")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "train/aum-0.2  run",
        "  mlp, learns from 32 images, tested on 40 images",
        "  2 trainings of 4 steps, about 1:02",
    ]
    assert bytes_of(used) == before
    assert elfs("train", *MLP).code == 0
    kept = elfs("train", *MLP, "-n")
    assert kept.out.splitlines() == ["train/aum-0.2  keep", "  mlp, learns from 32 images, tested on 40 images"]
    assert json.loads(elfs("train", *MLP, "-n", "--json").out)["seconds"] == 0


@pytest.mark.parametrize(
    ("command", "module"),
    [
        (("train", *MLP), train_plan),
        (("compare", "--methods", "random", "--budgets", "10", "--seeds", "1", *MLP), comparison_forecast),
    ],
)
@pytest.mark.parametrize(
    ("seconds", "said", "advised"),
    [(20.0, "about 0:", False), (601.0, "about ", True), (None, "time not known", False)],
)
def test_what_takes_long_says_what_takes_less(
    elfs: Elfs,
    used: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    module: Any,
    seconds: float | None,
    said: str,
    advised: bool,
) -> None:
    monkeypatch.setattr(module, "seconds_by_images", take(seconds))
    ran = elfs(*command, "-n")
    assert ran.code == 0
    assert said in ran.out + ran.err
    assert (cheaper.TRAINING in ran.err) == advised
