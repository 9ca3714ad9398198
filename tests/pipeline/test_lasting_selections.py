"""A finished selection is a fact: nothing that happens upstream takes it away."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from elfs.catalog import EXPORT_FORMATS
from elfs.delivery.export import ExportOptions, prepare_export
from elfs.delivery.report import render_report
from elfs.parallel.runtime import Runtime
from elfs.pipeline.job import Outcome
from elfs.pipeline.selections import read_images
from elfs.pipeline.status import states
from elfs.workspace.workspace import Workspace
from tests.chain import bytes_of, make_pictures, run_chain, run_stage
from tests.damage import edited_manifest

pytestmark = pytest.mark.usefixtures("no_drawing")

NAMES = ("aum-0.2", "chance", "even", "round2")
"""By scores, by chance, with a share of each cluster, and a round after another one."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures and a workspace with four selections."""
    place = tmp_path_factory.mktemp("fact")
    path = place / "ws"
    run_chain(path, root=make_pictures(place / "pictures"), source="folder")
    run_stage("select", path, method="random", budget="9", name="chance")
    run_stage("select", path, budget="9", balance="cluster", hard_rate=0.1, name="even")
    run_stage("select", path, budget="9", exclude="selections/chance,selections/even", name="round2")
    return place


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change; the workspace goes by the copy of the pictures."""
    copy = shutil.copytree(finished, tmp_path / "copy")
    Workspace.open(copy / "ws").set_source_root(str(copy / "pictures"))
    return Path(copy)


def everything(path: Path, out: Path) -> dict[str, Any]:
    """Return all that annotators and programs get of each selection."""
    found: dict[str, Any] = {}
    for name in NAMES:
        found[f"{name}, files"] = bytes_of(path / "selections" / name)
        for form in EXPORT_FORMATS:
            export = prepare_export(path, name, ExportOptions(format=form))
            if export.is_directory:
                export.write(out / name, force=True)
                found[f"{name}, {form}"] = bytes_of(out / name)
            else:
                found[f"{name}, {form}"] = export.document()
    return found


def add_pictures(place: Path) -> Outcome:
    for number in range(5):
        pixels = np.full((8, 8, 3), 40 * number, np.uint8)
        Image.fromarray(pixels).save(place / f"pictures/a/0{number}-new.png")
    return run_stage("embed", place / "ws", root=place / "pictures", source="folder")


CHANGES: dict[str, Callable[[Path], Outcome]] = {
    "embed with more images": add_pictures,
    "another encoder": lambda place: run_stage("embed", place / "ws", source="folder", encoder="patches"),
    "cluster": lambda place: run_stage("cluster", place / "ws", seed=1),
    "label": lambda place: run_stage("label", place / "ws", head=1),
    "dynamics": lambda place: run_stage("dynamics", place / "ws", learning_rate=0.001),
    "score": lambda place: run_stage("score", place / "ws", window=3),
}


@pytest.mark.slow
def test_every_change_upstream_leaves_every_list_and_every_export(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elfs.delivery.figures._svg", lambda *given: "<svg></svg>")  # pages without their figures
    path = place / "ws"
    before, artifacts = everything(path, tmp_path / "before"), Workspace.open(path).manifest.artifacts
    for number, (change, make) in enumerate(CHANGES.items()):
        assert make(place).ran, change
        assert everything(path, tmp_path / f"after{number}") == before, change
        found = Workspace.open(path)
        for name in NAMES:
            assert found.manifest.artifacts[f"selections/{name}"] == artifacts[f"selections/{name}"], change
            assert found.stale_reason(f"select/{name}") is None, change
            assert name in render_report(path, name).html
        assert found.verify() == []
    standing = {state.record: state.state for state in states(path) if state.stage == "select"}
    assert set(standing.values()) == {"kept"}
    said: list[str] = []
    runtime = Runtime(devices="cpu", warn=said.append)
    outcome = run_stage("select", path, runtime=runtime)
    assert outcome.record == "select/aum-0.2-2"
    assert everything(path, tmp_path / "last") == before


def test_rounds_go_on_after_every_change(place: Path) -> None:
    path = place / "ws"
    annotated = {image.id for name in NAMES for image in read_images(Workspace.open(path), name)}
    add_pictures(place)
    said: list[str] = []
    run_stage(
        "select",
        path,
        method="random",
        budget="1.0",
        exclude=",".join(f"selections/{name}" for name in NAMES),
        name="rest",
        runtime=Runtime(devices="cpu", note=said.append),
    )
    rest = {image.id for image in read_images(Workspace.open(path), "rest")}
    assert len(said) == len(NAMES)
    assert not rest & annotated
    run_stage("select", path, method="random", budget="30", include="selections/chance", name="more")
    more = [image.id for image in read_images(Workspace.open(path), "more")]
    assert more[:9] == [image.id for image in read_images(Workspace.open(path), "chance")]


@pytest.mark.parametrize("form", ["selections/chance", "list.csv"])
def test_images_that_are_gone_are_counted_and_named_and_block_nothing(place: Path, tmp_path: Path, form: str) -> None:
    path = place / "ws"
    first, *others = (image.id for image in read_images(Workspace.open(path), "chance"))
    copied = tmp_path / "list.csv"
    shutil.copy(path / "selections/chance/selection.csv", copied)
    (place / "pictures" / first).unlink()
    run_stage("embed", path, source="folder")
    named = form if form.startswith("selections/") else str(copied)
    for option in ("include", "exclude"):
        said: list[str] = []
        run_stage(
            "select",
            path,
            method="random",
            budget="20",
            name=option,
            runtime=Runtime(devices="cpu", warn=said.append, note=said.append),
            **cast("Any", {option: named}),
        )
        assert len(said) == 1
        assert repr(first) in said[0]
        assert "1 of " in said[0]
    assert [image.id for image in read_images(Workspace.open(path), "include")][:8] == others
    assert not {*others, first} & {image.id for image in read_images(Workspace.open(path), "exclude")}


def test_a_workspace_of_another_version_keeps_its_selections(place: Path) -> None:
    path = place / "ws"
    with edited_manifest(path) as manifest:
        for record in manifest["records"].values():
            record["versions"]["elfs"] = "0.0.1"
            record["config"]["of_another_time"] = True
    assert prepare_export(path, "even", ExportOptions(format="json")).document()
    assert {state.state for state in states(path)} == {"fresh"}
    files = bytes_of(path / "selections")
    run_stage("select", path)
    assert {name: data for name, data in bytes_of(path / "selections").items() if name in files} == files
