import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import elfs
from elfs.cli.app import run
from elfs.errors import InputDataError, MissingUpstreamError, UsageError
from tests.chain import artifacts_of, make_pictures

OPTIONS: dict[str, Any] = {
    "encoder": "pixels",
    "neighbors": 5,
    "clusters": 3,
    "cluster_method": "kmeans",
    "recipe": "small",
    "dynamics_epochs": 3,
    "dynamics_batch_size": 32,
    "window": 2,
    "budget": 0.2,
    "seed": 4,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat folder and the workspace that the command makes of it."""
    folder = tmp_path_factory.mktemp("verbs")
    make_pictures(folder / "photos", corrupt=True)
    flags = [part for name, value in OPTIONS.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    words = ["run", str(folder / "photos"), "-w", str(folder / "command"), "--devices", "cpu", "-q", *flags]
    assert run(words) == 0
    return folder


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_run_makes_what_the_command_makes(photos: Path) -> None:
    made = elfs.run(photos / "photos", workspace=photos / "run", devices="cpu", **OPTIONS)
    assert artifacts_of(photos / "run") == artifacts_of(photos / "command")
    assert made.name == "aum-0.2-seed4"
    again = elfs.run(workspace=photos / "run", devices="cpu", budget=0.2, seed=4)
    assert again.ids == made.ids


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_six_verbs_one_by_one_do_too(photos: Path) -> None:
    place: dict[str, Any] = {"workspace": str(photos / "verbs"), "devices": "cpu"}
    assert elfs.embed(photos / "photos", encoder="pixels", neighbors=5, seed=4, **place).ran
    assert elfs.cluster(clusters=3, method="kmeans", seed=4, **place).ran
    assert elfs.label(**place).ran
    assert elfs.dynamics(recipe="small", epochs=3, batch_size=32, seed=4, **place).ran
    assert elfs.score(window=2, seed=4, **place).stage == "score"
    made = elfs.open_workspace(photos / "verbs").select(0.2, seed=4)
    assert artifacts_of(photos / "verbs") == artifacts_of(photos / "command")
    assert len(made) == 12
    assert not elfs.embed(root=photos / "photos", **place).ran


def test_errors_are_those_of_the_commands(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingUpstreamError, match="there is no workspace"):
        elfs.cluster(workspace=tmp_path / "none")
    with pytest.raises(UsageError, match=r"unknown setting 'cluters'\. Did you mean 'clusters'"):
        elfs.cluster(workspace=photos / "command", cluters=3)
    with pytest.raises(UsageError, match=r"unknown option 'bugdet'\. Did you mean 'budget'"):
        elfs.run(photos / "photos", workspace=tmp_path / "w", bugdet=3)
    with pytest.raises(UsageError, match="no such folder"):
        elfs.embed(tmp_path / "photoz", workspace=tmp_path / "w")
    with pytest.raises(UsageError, match="from Python one device at a time"):
        elfs.label(workspace=photos / "command", devices="cpu:2")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputDataError, match="no image"):
        elfs.embed(tmp_path / "empty", workspace=tmp_path / "w", devices="cpu")


def test_other_images_take_force(photos: Path) -> None:
    with pytest.raises(UsageError, match=r"photos, and SOURCE is digits\. Give another workspace, or force=True"):
        elfs.embed("digits", workspace=photos / "command", devices="cpu")


def test_warnings_are_warnings_of_python(photos: Path) -> None:
    opened = elfs.open_workspace(photos / "command")
    lists = photos / "gone.txt"
    lists.write_text("a/00.png\ngone.png\n")
    with pytest.warns(UserWarning, match="1 of 2 images are not in the pool"):
        opened.select(5, method="random", exclude=str(lists), name="warned")


@pytest.mark.slow
def test_import_costs_nothing() -> None:
    code = (
        "import sys, elfs; assert not {'numpy', 'torch'} & set(sys.modules); elfs.scores; "
        "assert {'open_workspace', 'select'} <= set(dir(elfs)); assert 'torch' in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(elfs.__file__).parents[1], env=os.environ
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'elfs' has no attribute 'no_verb'"):
        elfs.__getattr__("no_verb")


def test_the_stub_names_what_is_there() -> None:
    stub = Path(elfs.__file__).with_suffix(".pyi").read_text()
    named = {line.split(" as ")[1] for line in stub.splitlines() if " as " in line}
    assert named == set(elfs.__all__)  # type: ignore[attr-defined]
    assert all(f"from {getattr(elfs, name).__module__} import {name} as {name}" in stub for name in named)


@pytest.mark.parametrize(
    ("options", "kind", "match"),
    [
        ({"budget": 400}, UsageError, r"--budget is 400 images, and there are \d+ at most in "),
        ({"budget": 5, "limit": 4}, UsageError, "--budget is 5 images, and there are 4 at most in "),
        ({"holdout": 400}, UsageError, "--holdout is 400 images, "),
        ({"method": "margin"}, MissingUpstreamError, "margin asks what a classifier of the annotations is unsure of"),
        ({"exclude": "gone.txt"}, InputDataError, "--exclude gone.txt: there is no such file"),
    ],
)
def test_run_refuses_before_the_first_stage(
    photos: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], kind: type[Exception], match: str
) -> None:
    monkeypatch.setattr("elfs.api.verbs.call", pytest.fail)
    with pytest.raises(kind, match=match):
        elfs.run(photos / "photos", workspace=photos / "none", **options)
