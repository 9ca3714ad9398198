"""When a stage runs and when it does not; what it refuses to build on; where the images are."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from elfs.catalog import STAGES
from elfs.config import EmbedConfig, SelectConfig
from elfs.errors import (
    CorruptArtifactError,
    DeviceError,
    InputDataError,
    MissingUpstreamError,
    StaleUpstreamError,
    StorageError,
    UsageError,
    WorkspaceLockedError,
)
from elfs.parallel.runtime import Runtime
from elfs.pipeline.recorded_config import portable
from elfs.workspace.lock import writer_lock
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, bytes_of, make_pictures, run_chain, run_stage

pytestmark = pytest.mark.usefixtures("few_atoms")


def rerun(path: Path, **embed: Any) -> dict[str, bool]:
    return {stage: outcome.ran for stage, outcome in run_chain(path, **embed).items()}


DIGITS: dict[str, Any] = {"source": "digits", "limit": 200}


def test_rerun_does_nothing(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    before = bytes_of(workspace)
    outcomes = run_chain(workspace, **DIGITS)
    assert not any(outcome.ran for outcome in outcomes.values())
    assert bytes_of(workspace) == before
    records = Workspace.open(workspace).manifest.records
    for stage, outcome in outcomes.items():
        record = "select/aum-0.2" if stage == "select" else stage
        assert (outcome.stage, outcome.record, outcome.seconds) == (stage, record, 0.0)
        assert outcome.summary == records[record].summary
        assert outcome.headline == records[record].summary["headline"] != ""


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("cluster", {"seed": 1}),
        ("cluster", {"beta": 0.5}),
        ("label", {"head": 0}),
        ("dynamics", {"learning_rate": 0.05}),
        ("score", {"window": 1}),
    ],
)
def test_changed_setting_reruns_the_stage_and_makes_what_follows_stale(
    digits: Finished, workspace: Path, stage: str, changes: dict[str, Any]
) -> None:
    digits.copy(workspace)
    assert run_stage(stage, workspace, **changes).ran
    assert not run_stage(stage, workspace, **changes).ran
    found = Workspace.open(workspace)
    changed = {record: found.stale_reason(record) for record in found.manifest.records}
    later = set(STAGES[STAGES.index(stage) + 1 : -1])
    same = found.manifest.artifacts == Workspace.open(digits.path).manifest.artifacts
    assert {record for record, reason in changed.items() if reason is not None} == (set() if same else later)


@pytest.mark.slow
def test_stale_upstream_is_refused_with_the_commands_that_mend_it(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    run_stage("embed", workspace, **DIGITS, encoder="patches")
    before = bytes_of(workspace)
    flags = "--clusters 3 --heads 2 --epochs 6 --batch-size 32 --warmup-epochs 1 --hidden 16 --bottleneck 8"
    commands = [
        f"elfs cluster {flags} --workspace {workspace}",
        f"elfs label --workspace {workspace}",
        f"elfs dynamics --recipe small --epochs 3 --batch-size 32 --workspace {workspace}",
        f"elfs score --window 2 --workspace {workspace}",
    ]
    for position, stage in enumerate(("label", "dynamics", "score", "select"), 1):
        with pytest.raises(
            StaleUpstreamError, match=r" is stale: .*embeddings were rebuilt after it \(embed\)"
        ) as caught:
            run_stage(stage, workspace)
        assert caught.value.hint == " && ".join(commands[:position])
        assert caught.value.exit_code == 4
    assert bytes_of(workspace) == before
    assert rerun(workspace, **DIGITS, encoder="patches") == {stage: stage != "embed" for stage in STAGES}


@pytest.mark.parametrize("stage", STAGES[1:])
def test_missing_workspace_is_refused_and_not_made(workspace: Path, stage: str) -> None:
    with pytest.raises(MissingUpstreamError, match=r"^there is no workspace at .*") as caught:
        run_stage(stage, workspace)
    assert caught.value.hint == f"elfs embed SOURCE --workspace {workspace}"
    assert not workspace.exists()


def test_missing_upstream_is_refused_with_the_commands_that_make_it(workspace: Path) -> None:
    run_stage("embed", workspace, **DIGITS)
    before = bytes_of(workspace)
    with pytest.raises(
        MissingUpstreamError, match=r"^score needs pseudo_labels, which label has not made in .* yet\.$"
    ) as caught:
        run_stage("score", workspace)
    place = f"--workspace {workspace}"
    assert caught.value.hint == f"elfs cluster {place} && elfs label {place} && elfs dynamics {place}"
    with pytest.raises(MissingUpstreamError, match=r"^select needs scores, which score has not made"):
        run_stage("select", workspace)
    assert bytes_of(workspace) == before


def test_random_selection_needs_what_embed_makes(workspace: Path) -> None:
    run_stage("embed", workspace, **DIGITS)
    outcome = run_stage("select", workspace, method="random", budget="7")
    assert (outcome.record, outcome.summary["count"]) == ("select/random-7", 7)
    assert Workspace.open(workspace).manifest.records["select/random-7"].inputs.keys() == {
        "samples",
        "embeddings",
        "neighbors",
    }


def test_force_reruns_and_gives_the_same(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    assert run_stage("cluster", workspace, force=True).ran
    found = Workspace.open(workspace)
    assert found.manifest.artifacts == Workspace.open(digits.path).manifest.artifacts
    assert all(found.stale_reason(record) is None for record in found.manifest.records)


@pytest.mark.slow
def test_smoke_is_handed_down(workspace: Path) -> None:
    assert run_stage("embed", workspace, smoke=True, **DIGITS).smoke
    assert run_stage("cluster", workspace).smoke
    assert Workspace.open(workspace).manifest.records["cluster"].smoke
    assert run_stage("cluster", workspace).smoke  # fresh
    run_stage("embed", workspace, **DIGITS, force=True)
    assert not run_stage("cluster", workspace, force=True).smoke


def test_run_facts_stay_outside_the_record(digits: Finished) -> None:
    manifest = json.loads((digits.path / "manifest.json").read_text())
    assert set(manifest["runs"]["cluster"]) == {"started", "seconds", "host", "device"}
    assert manifest["runs"]["cluster"]["device"] == "cpu"
    assert manifest["records"]["cluster"]["seed"] == 0
    assert manifest["records"]["label"]["seed"] is None


def test_two_selections_live_side_by_side(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    first = bytes_of(workspace / "selections" / "aum-0.2")
    assert run_stage("select", workspace, budget="5", key="el2n").record == "select/el2n-5"
    assert bytes_of(workspace / "selections" / "aum-0.2") == first
    assert (workspace / "selections" / "el2n-5" / "selection.csv").is_file()


class TestWhereTheImagesAre:
    """The recorded folder: kept for the same source, moved by ``--root``, forgotten for another source."""

    @pytest.fixture
    def moved(self, folder: Finished, workspace: Path, tmp_path: Path) -> Path:
        """A finished workspace whose images have moved away; the new place."""
        folder.copy(workspace)
        assert folder.root is not None
        shutil.copytree(folder.root, tmp_path / "moved")
        found = Workspace.open(workspace)
        found.set_source_root(str(tmp_path / "gone"))
        return tmp_path / "moved"

    def test_moved_folder_stays_fresh(self, moved: Path, workspace: Path, folder: Finished) -> None:
        before = Workspace.open(workspace).manifest
        outcomes = run_chain(workspace, root=moved, source="folder")
        assert not any(outcome.ran for outcome in outcomes.values())
        after = Workspace.open(workspace).manifest
        assert after.source_root == str(moved)
        assert (after.records, after.artifacts, after.runs) == (before.records, before.artifacts, before.runs)

    def test_images_are_read_from_the_new_place(self, moved: Path, workspace: Path) -> None:
        with pytest.raises(InputDataError, match=r"^the folder of the images is not there: .*gone\.$"):
            run_stage("dynamics", workspace, force=True)
        run_stage("embed", workspace, root=moved, source="folder")
        assert run_stage("dynamics", workspace, force=True).ran

    def test_embed_without_a_folder_takes_the_recorded_one(self, folder: Finished, workspace: Path) -> None:
        folder.copy(workspace)
        assert not run_stage("embed", workspace, source="folder").ran
        assert run_stage("embed", workspace, source="folder", neighbors=4).ran
        assert Workspace.open(workspace).manifest.source_root == str(folder.root)

    def test_first_embed_of_a_folder_needs_one(self, workspace: Path) -> None:
        with pytest.raises(InputDataError, match=r"^the folder of images is not known\.$"):
            run_stage("embed", workspace, source="folder")
        assert not workspace.exists()

    def test_another_source_forgets_the_folder(self, folder: Finished, workspace: Path) -> None:
        folder.copy(workspace)
        run_chain(workspace, **DIGITS)
        assert Workspace.open(workspace).manifest.source_root is None
        with pytest.raises(InputDataError, match=r"^the folder of images is not known\.$"):
            run_stage("embed", workspace, source="folder")

    def test_another_folder_replaces_the_first(self, folder: Finished, workspace: Path, tmp_path: Path) -> None:
        folder.copy(workspace)
        other = make_pictures(tmp_path / "other")
        (other / "a" / "extra.png").write_bytes((other / "a" / "00.png").read_bytes())
        assert run_stage("embed", workspace, source="folder", root=other).ran
        found = Workspace.open(workspace)
        assert found.manifest.source_root == str(other)
        assert found.stale_reason("cluster") == "embeddings were rebuilt after it (embed)"


class TestRefusals:
    """A refusal leaves everything as it was."""

    def test_device_is_looked_for_before_anything_is_made(self, workspace: Path, tmp_path: Path) -> None:
        with pytest.raises(DeviceError, match=r"^GPU 99 does not exist"):
            run_stage("embed", workspace, runtime=Runtime(devices="99"), **DIGITS)
        assert not workspace.exists()

    def test_device_counts_even_where_nothing_is_computed_on_it(self, digits: Finished, workspace: Path) -> None:
        digits.copy(workspace)
        before = bytes_of(workspace)
        for force in (False, True):
            with pytest.raises(DeviceError, match=r"^GPU 99 does not exist"):
                run_stage("score", workspace, runtime=Runtime(devices="99"), force=force)
        assert bytes_of(workspace) == before

    def test_second_writer_is_refused(self, digits: Finished, workspace: Path) -> None:
        digits.copy(workspace)
        with writer_lock(workspace), pytest.raises(WorkspaceLockedError, match=str(workspace)):
            run_stage("cluster", workspace, force=True)

    def test_corrupt_upstream_is_named_and_nothing_stays(self, digits: Finished, workspace: Path) -> None:
        digits.copy(workspace)
        target = workspace / "embeddings.safetensors"
        target.write_bytes(target.read_bytes()[:-9])
        before = bytes_of(workspace)
        with pytest.raises(CorruptArtifactError, match=r"embeddings\.safetensors") as caught:
            run_stage("cluster", workspace, force=True)
        again = f"elfs embed digits --encoder pixels --neighbors 5 --limit 200 --workspace {workspace} --force"
        assert caught.value.hint == again
        assert bytes_of(workspace) == before

    def test_row_8_a_full_disk_keeps_the_draft(
        self, digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        digits.copy(workspace)

        def full(*_: Any) -> None:
            raise StorageError("no space left on the device.")

        monkeypatch.setattr("elfs.stages.label._label", full)
        with pytest.raises(StorageError, match="no space left"):
            run_stage("label", workspace, force=True)
        assert list((workspace / "partial").iterdir())
        monkeypatch.undo()
        assert run_stage("label", workspace, force=True).ran
        assert not (workspace / "partial").exists()

    @pytest.mark.parametrize("name", ["../up", "a/b", "a\\b", ".hidden", "c:d", "line\nbreak"])
    def test_selection_needs_a_plain_name(self, digits: Finished, workspace: Path, name: str) -> None:
        digits.copy(workspace)
        before = bytes_of(workspace)
        with pytest.raises(UsageError, match=r"^--name is .*, expected a plain folder name"):
            run_stage("select", workspace, name=name)
        assert bytes_of(workspace) == before


def test_manifest_names_files_without_their_folders() -> None:
    config = EmbedConfig(weights="/a/w.pth", embeddings="/b/e.npy", ids="/c/i.txt", data_root="/d", download=True)
    stored = portable(config)
    assert stored == EmbedConfig(weights="w.pth", embeddings="e.npy", ids="i.txt")
    assert portable(SelectConfig()) == SelectConfig()
