"""A stage that is stopped goes on where it was, and ends with the bytes of one that was not."""

from pathlib import Path
from typing import Any

import pytest

from elfs.models.encoders import build_encoder
from elfs.parallel.runtime import Runtime
from elfs.stages import dynamics
from elfs.stages.embedding import encoder as pool_encoder
from elfs.stages.embedding import rows as embedding_rows
from elfs.stages.embedding.batches import encode_rows
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, Interruption, artifacts_of, make_pictures, run_chain, run_stage

pytestmark = pytest.mark.usefixtures("few_atoms")


def stopped(stage: str, path: Path, label: str, after: int, **options: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_stage(stage, path, runtime=Runtime(devices="cpu", progress=Interruption(label, after)), **options)


def files_in_draft(workspace: Path, stage: str) -> set[str]:
    return {path.name for path in (workspace / "partial" / stage).rglob("*") if path.is_file()}


class TestEmbed:
    """Seven files of embeddings, each finished or not."""

    @pytest.fixture(autouse=True)
    def _small_shards(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(embedding_rows, "SHARD_ROWS", 9)

    @pytest.fixture
    def pictures(self, tmp_path: Path) -> Path:
        return make_pictures(tmp_path / "pictures", corrupt=True)

    @pytest.mark.parametrize(
        ("after", "encoder"),
        [(1, "pixels"), (9, "pixels"), (20, "pixels"), (45, "pixels"), (60, "pixels"), (30, "patches")],
    )
    def test_row_1_an_interrupted_embed_ends_with_the_same_bytes(
        self, pictures: Path, tmp_path: Path, workspace: Path, after: int, encoder: str
    ) -> None:
        options: dict[str, Any] = {"source": "folder", "root": pictures, "batch_size": 4, "encoder": encoder}
        run_stage("embed", tmp_path / "straight", **options)
        stopped("embed", workspace, "embed", after, **options)
        assert Workspace.open(workspace).manifest.records == {}
        finished = sum(name.endswith(".json") for name in files_in_draft(workspace, "embed")) - 1  # that of the encoder
        assert finished == (after - 1) // 4 * 4 // 9
        done = Interruption("embed", 10**9)
        run_stage("embed", workspace, runtime=Runtime(devices="cpu", progress=done), **options)
        assert artifacts_of(workspace) == artifacts_of(tmp_path / "straight")
        assert Workspace.open(workspace).manifest.records == Workspace.open(tmp_path / "straight").manifest.records
        assert len(list(workspace.glob("embeddings-*-of-00007.safetensors"))) == 7

    def test_finished_files_are_not_made_again(
        self, pictures: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options: dict[str, Any] = {"source": "folder", "root": pictures, "batch_size": 3}
        stopped("embed", workspace, "embed", 20, **options)
        looked_at: list[int] = []

        def watched(reader: Any, rows: Any, *others: Any, **options: Any) -> Any:
            looked_at.extend(rows.tolist())
            return encode_rows(reader, rows, *others, **options)

        monkeypatch.setattr(embedding_rows, "encode_rows", watched)
        run_stage("embed", workspace, **options)
        assert looked_at == list(range(18, 60))

    def test_other_settings_start_anew(self, pictures: Path, tmp_path: Path, workspace: Path) -> None:
        options: dict[str, Any] = {"source": "folder", "root": pictures, "batch_size": 4}
        stopped("embed", workspace, "embed", 20, **options)
        run_stage("embed", workspace, **options, neighbors=3)
        run_stage("embed", tmp_path / "straight", **options, neighbors=3)
        assert artifacts_of(workspace) == artifacts_of(tmp_path / "straight")

    def test_shards_of_another_encoder_do_not_count(
        self, pictures: Path, tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What auto means may change between two runs: weights that were not to be had have come."""
        options: dict[str, Any] = {"source": "folder", "root": pictures, "encoder": None, "batch_size": 4}
        for name, folder, after in (("pixels", workspace, 30), ("patches", workspace, 40), ("pixels", workspace, 0)):
            encoder = build_encoder(name, weights=None, image_size=8, channels=3)
            monkeypatch.setattr(pool_encoder, "choose_encoder", lambda *others, encoder=encoder: encoder)
            if after:
                stopped("embed", folder, "embed", after, **options)
        run_stage("embed", workspace, **options)
        run_stage("embed", tmp_path / "straight", **options)
        assert artifacts_of(workspace) == artifacts_of(tmp_path / "straight")

    def test_broken_images_of_earlier_files_are_remembered(self, tmp_path: Path, workspace: Path) -> None:
        pictures = make_pictures(tmp_path / "more")
        (pictures / "a" / "03.png").write_bytes(b"")
        options: dict[str, Any] = {"source": "folder", "root": pictures, "batch_size": 4}
        stopped("embed", workspace, "embed", 40, **options)
        outcome = run_stage("embed", workspace, **options)
        assert (outcome.summary["broken"], outcome.summary["train"]) == (1, 59)

    def test_chain_on_several_files_equals_the_chain_on_one(
        self, pictures: Path, folder: Finished, workspace: Path
    ) -> None:
        run_chain(workspace, root=pictures, source="folder")
        ours, theirs = artifacts_of(workspace), artifacts_of(folder.path)
        same = [name for name in theirs if not name.startswith("embeddings")]
        assert [name for name in same if ours[name] != theirs[name]] == []


@pytest.mark.parametrize("after", [1, 5, 6, 17, 30])
def test_row_2_an_interrupted_cluster_ends_with_the_same_bytes(digits: Finished, workspace: Path, after: int) -> None:
    digits.copy(workspace)
    stopped("cluster", workspace, "cluster", after, force=True)
    assert Workspace.open(workspace).manifest == Workspace.open(digits.path).manifest
    assert (files_in_draft(workspace, "cluster") == {"checkpoint.safetensors"}) == (after > 5)
    run_stage("cluster", workspace, force=True)
    assert artifacts_of(workspace) == artifacts_of(digits.path)


@pytest.mark.parametrize("after", [1, 5, 6, 11, 15])
def test_row_4_interrupted_dynamics_end_with_the_same_bytes(digits: Finished, workspace: Path, after: int) -> None:
    digits.copy(workspace)
    stopped("dynamics", workspace, "dynamics", after, force=True)
    assert sum(name.startswith("epoch-") for name in files_in_draft(workspace, "dynamics")) == (after - 1) // 5
    run_stage("dynamics", workspace, force=True)
    assert artifacts_of(workspace) == artifacts_of(digits.path)


def test_dynamics_stopped_while_it_publishes(
    digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All epochs are done: the next run trains nothing and reports the same agreement."""
    digits.copy(workspace)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dynamics, "_publish", stop)
    with pytest.raises(KeyboardInterrupt):
        run_stage("dynamics", workspace, force=True)
    monkeypatch.undo()
    monkeypatch.setattr("elfs.train.classifier._FitState.step", stop)
    outcome = run_stage("dynamics", workspace, force=True)
    assert outcome.summary == Workspace.open(digits.path).manifest.records["dynamics"].summary
    assert artifacts_of(workspace) == artifacts_of(digits.path)


def test_interrupted_new_workspace_is_kept(workspace: Path) -> None:
    options: dict[str, Any] = {"source": "digits", "limit": 60, "batch_size": 10}
    stopped("embed", workspace, "embed", 20, **options)
    assert workspace.is_dir()
    assert run_stage("embed", workspace, **options).ran
    assert not (workspace / "partial").exists()


def test_damaged_checkpoint_is_thrown_away(digits: Finished, workspace: Path) -> None:
    """The run that finds it is refused; the one after it starts anew instead of being refused for ever."""
    digits.copy(workspace)
    stopped("cluster", workspace, "cluster", 17, force=True)
    path = next((workspace / "partial").rglob("checkpoint.safetensors"))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors"):
        run_stage("cluster", workspace, force=True)
    run_stage("cluster", workspace, force=True)
    assert artifacts_of(workspace) == artifacts_of(digits.path)
