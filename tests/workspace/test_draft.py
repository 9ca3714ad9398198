import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elfs
from elfs.errors import CorruptArtifactError, MissingUpstreamError, StorageError
from elfs.workspace.draft import REQUEST_NAME, open_draft
from elfs.workspace.manifest import TensorInfo
from elfs.workspace.tensors import save_tensors
from elfs.workspace.workspace import Workspace

KEY = "sha256:" + "0123456789abcdef" * 4


def names(path: Path) -> list[str]:
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def test_commit_writes_what_the_manifest_says(builder: Any) -> None:
    workspace: Workspace = builder.workspace
    draft = open_draft(workspace, "embed", KEY)
    draft.save("samples", {"split": np.zeros(4, np.uint8), "offsets": np.arange(5)})
    draft.save("embeddings", {"embeddings": np.ones((4, 2), np.float16)})
    (draft.directory / "checkpoint.bin").write_bytes(b"scratch")
    facts = builder.provenance("embed", source_root="/images", metadata={"embeddings": {"encoder": "pixels"}}, seed=3)
    facts["inputs"] = {"external:source": "digits"}
    draft.commit("embed", **facts)

    assert names(workspace.path) == ["embeddings.safetensors", "manifest.json", "samples.safetensors"]
    assert not (workspace.path / "partial").exists()
    manifest = Workspace.open(workspace.path).manifest
    assert manifest == workspace.manifest
    assert manifest.source_root == "/images"
    assert manifest.runs == {"embed": {"seconds": 1.5, "host": "here"}}
    record = manifest.records["embed"]
    assert record.outputs == ("embeddings", "samples")
    assert (record.stage, record.config, record.seed, record.smoke) == ("embed", {"option": 1}, 3, False)
    assert record.inputs == {"external:source": "digits"}
    assert record.versions["elfs"] == elfs.__version__
    assert record.versions["numpy"] == np.__version__
    artifact = manifest.artifacts["embeddings"]
    assert artifact.metadata == {"encoder": "pixels"}
    assert artifact.tensors == {"embeddings": TensorInfo("float16", (4, 2))}
    assert artifact.files[0].num_bytes == (workspace.path / "embeddings.safetensors").stat().st_size


def test_source_root_stays_where_it_is_not_given(builder: Any) -> None:
    builder.workspace.set_source_root("/images")
    builder.commit("label", "pseudo_labels", {"x": np.zeros(1)})
    assert builder.workspace.manifest.source_root == "/images"


def test_shards_become_one_artifact(builder: Any) -> None:
    workspace: Workspace = builder.workspace
    draft = open_draft(workspace, "embed", KEY)
    for index in (2, 0, 1):
        draft.save("neighbors", {"indices": np.full((index + 1, 2), index)}, shard=(index, 3))
    draft.commit("embed", **builder.provenance("embed"))
    assert names(workspace.path) == ["manifest.json", *(f"neighbors-0000{n}-of-00003.safetensors" for n in (1, 2, 3))]
    assert workspace.manifest.artifacts["neighbors"].tensors == {"indices": TensorInfo("int64", (6, 2))}
    rows = workspace.tensors("neighbors")["indices"]
    assert rows.shape == (6, 2)


def test_a_selection_has_a_directory_of_its_own(builder: Any) -> None:
    workspace: Workspace = builder.workspace
    draft = open_draft(workspace, "select/a-0.1", KEY)
    draft.save("selections/a-0.1", {"indices": np.arange(3)})
    draft.save_bytes("selections/a-0.1", "selections/a-0.1/selection.csv", b"rank,id\n")
    draft.commit("select/a-0.1", **builder.provenance("select"))
    folder = workspace.path / "selections" / "a-0.1"
    assert names(folder) == ["indices.safetensors", "selection.csv"]
    assert workspace.contents("selections/a-0.1") == b"rank,id\n"
    workspace.remove("select/a-0.1")
    assert names(workspace.path) == ["manifest.json"]
    assert not (workspace.path / "selections").exists()


def test_artifacts_with_odd_names_keep_them(builder: Any) -> None:
    draft = open_draft(builder.workspace, "train/x", KEY)
    for artifact in ("models/a%2Fb", "models/a b"):
        draft.save(artifact, {"x": np.zeros(1)})
    draft.commit("train/x", **builder.provenance("train"))
    assert set(builder.workspace.manifest.artifacts) == {"models/a%2Fb", "models/a b"}
    assert names(builder.workspace.path / "models") == ["a b.safetensors", "a%2Fb.safetensors"]


def test_equal_runs_are_byte_equal(tmp_path: Path, make_builder: Any) -> None:
    contents = []
    for number in range(2):
        builder = make_builder(tmp_path / str(number))
        builder.commit("embed", "embeddings", {"b": np.arange(3), "a": np.ones(2)}, run={})
        builder.commit("cluster", "heads", {"w": np.ones(2)}, ("embeddings",), run={})
        path = builder.workspace.path
        contents.append({name: (path / name).read_bytes() for name in names(path)})
    assert contents[0] == contents[1]
    assert len(contents[0]) == 3


def test_wall_clock_facts_change_no_digest(tmp_path: Path, make_builder: Any) -> None:
    manifests = []
    for number in range(2):
        builder = make_builder(tmp_path / str(number))
        builder.commit("embed", "embeddings", {"a": np.ones(2)}, run={"seconds": number})
        manifests.append(builder.workspace.manifest)
    assert manifests[0].artifacts == manifests[1].artifacts
    assert manifests[0].records == manifests[1].records
    assert manifests[0].runs != manifests[1].runs


def test_finished_files_outlive_the_process(builder: Any) -> None:
    draft = open_draft(builder.workspace, "embed", KEY)
    draft.save("embeddings", {"x": np.arange(3)}, shard=(1, 2))
    leftover = draft.directory / "artifacts" / "embeddings" / "embeddings-00001-of-00002.safetensors.tmp-1-00000000"
    leftover.write_bytes(b"half")
    again = open_draft(Workspace.open(builder.workspace.path), "embed", KEY)
    assert again.directory == draft.directory
    assert again.has_shard("embeddings", (1, 2))
    assert not again.has_shard("embeddings", (0, 2))
    assert not again.has_shard("embeddings")
    np.testing.assert_array_equal(again.load("embeddings", (1, 2))["x"], [0, 1, 2])
    with pytest.raises(MissingUpstreamError, match=r"draft of 'embed' holds no embeddings-00001-of-00002\.safetensors"):
        again.load("embeddings", (0, 2))
    again.save("embeddings", {"x": np.arange(3)}, shard=(0, 2))
    again.commit("embed", **builder.provenance("embed"))
    assert builder.workspace.path.joinpath("embeddings-00001-of-00002.safetensors").is_file()
    assert not leftover.exists()


def test_another_key_starts_afresh(builder: Any) -> None:
    workspace: Workspace = builder.workspace
    old = open_draft(workspace, "embed", KEY)
    old.save("embeddings", {"x": np.arange(3)})
    other = open_draft(workspace, "cluster", KEY)
    new = open_draft(workspace, "embed", "sha256:" + "f" * 64)
    assert new.directory == workspace.path / "partial" / "embed" / ("f" * 16)
    assert not new.has_shard("embeddings")
    assert not old.directory.exists()
    assert other.directory.exists()
    assert (
        open_draft(workspace, "select/x", KEY).directory == workspace.path / "partial" / "select-x" / "0123456789abcdef"
    )


@pytest.mark.parametrize(("record", "key"), [("../x", KEY), ("", KEY), ("embed", ""), ("embed", "../../../../../..")])
def test_draft_refuses_names(builder: Any, record: str, key: str) -> None:
    with pytest.raises(ValueError, match="expected a plain relative path and a digest"):
        open_draft(builder.workspace, record, key)


@pytest.mark.parametrize("shard", [(-1, 2), (2, 2), (0, 0), (0, 100_000)])
def test_save_refuses_shards(builder: Any, shard: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"shard {shard[0]} of {shard[1]}: expected an index from 0"):
        open_draft(builder.workspace, "embed", KEY).save("embeddings", {"x": np.zeros(1)}, shard=shard)


@pytest.mark.parametrize(("artifact", "name"), [("../x", "x"), ("x", "../x"), ("x", "/x"), ("x", "a\\b")])
def test_save_refuses_names(builder: Any, artifact: str, name: str) -> None:
    with pytest.raises(ValueError, match="is not a plain relative path"):
        open_draft(builder.workspace, "embed", KEY).save_bytes(artifact, name, b"")


@pytest.mark.parametrize("name", ["manifest.json", ".lock", "partial/x"])
def test_commit_refuses_reserved_names(builder: Any, name: str) -> None:
    draft = open_draft(builder.workspace, "embed", KEY)
    draft.save_bytes("x", name, b"")
    before = (builder.workspace.path / "manifest.json").read_bytes()
    with pytest.raises(CorruptArtifactError, match="expected a name that is not reserved"):
        draft.commit("embed", **builder.provenance("embed"))
    assert (builder.workspace.path / "manifest.json").read_bytes() == before


def test_commit_refuses_an_empty_or_foreign_draft(builder: Any) -> None:
    draft = open_draft(builder.workspace, "embed", KEY)
    with pytest.raises(ValueError, match="nothing was saved in the draft of 'embed'"):
        draft.commit("embed", **builder.provenance("embed"))
    draft.save("x", {"x": np.zeros(1)})
    with pytest.raises(ValueError, match="this is the draft of 'embed', not of 'label'"):
        draft.commit("label", **builder.provenance("label"))
    with pytest.raises(ValueError, match=r"metadata for \['y'\], but only \['x'\] were saved"):
        draft.commit("embed", **builder.provenance("embed", metadata={"y": {}}))


def test_an_artifact_has_one_owner(builder: Any) -> None:
    builder.commit("embed", "embeddings", {"x": np.zeros(1)})
    with pytest.raises(ValueError, match="artifact 'embeddings' belongs to 'embed', not to 'label'"):
        builder.commit("label", "embeddings", {"x": np.zeros(1)})


@pytest.mark.parametrize("shards", [[(0, 3), (2, 3)], [(0, 2), (0, 3), (1, 3), (2, 3)], [(0, 1), None], [(1, 2)]])
def test_commit_refuses_missing_or_mixed_shards(builder: Any, shards: list[tuple[int, int] | None]) -> None:
    draft = open_draft(builder.workspace, "embed", KEY)
    for shard in shards:
        draft.save("x", {"x": np.zeros(1)}, shard=shard)
    with pytest.raises(ValueError, match=r"artifact 'x' has shards \[.*\], expected all of one numbering"):
        draft.commit("embed", **builder.provenance("embed"))


def test_commit_refuses_two_tensor_files_that_are_no_shards(builder: Any, tmp_path: Path) -> None:
    save_tensors(tmp_path / "y", {"x": np.zeros(1)})
    draft = open_draft(builder.workspace, "embed", KEY)
    draft.save("x", {"x": np.zeros(1)})
    draft.save_bytes("x", "y.safetensors", (tmp_path / "y").read_bytes())
    with pytest.raises(ValueError, match=r"artifact 'x' has shards \[\]"):
        draft.commit("embed", **builder.provenance("embed"))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"y": np.zeros(2)}, "the shards of 'x' hold different tensors"),
        ({"x": np.array(1.0)}, "the shards of 'x' hold different tensors"),
        ({"x": np.zeros(2, np.float32)}, "the shards of 'x' differ in 'x'"),
        ({"x": np.zeros((2, 2))}, "the shards of 'x' differ in 'x'"),
    ],
)
def test_commit_refuses_shards_that_do_not_fit(builder: Any, second: dict[str, np.ndarray], message: str) -> None:
    draft = open_draft(builder.workspace, "embed", KEY)
    draft.save("x", {"x": np.zeros(2)}, shard=(0, 2))
    draft.save("x", second, shard=(1, 2))
    with pytest.raises(ValueError, match=message):
        draft.commit("embed", **builder.provenance("embed"))


def test_commit_refuses_a_directory_that_leads_out(builder: Any, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (builder.workspace.path / "selections").symlink_to(tmp_path / "outside")
    with pytest.raises(CorruptArtifactError, match="a link that leads out of the workspace"):
        builder.commit("select/x", "selections/x", {"indices": np.zeros(1)})
    assert list((tmp_path / "outside").iterdir()) == []
    assert builder.workspace.manifest.records == {}


def test_commit_refuses_what_json_cannot_hold_before_touching_anything(builder: Any) -> None:
    builder.commit("embed", "embeddings", {"x": np.zeros(1)})
    with pytest.raises(ValueError, match="Out of range float"):
        builder.commit("embed", "embeddings", {"x": np.ones(1)}, summary={"loss": float("nan")})
    again = Workspace.open(builder.workspace.path)
    assert again.verify() == []
    np.testing.assert_array_equal(again.tensors("embeddings")["x"], [0.0])


def test_commit_keeps_what_another_process_committed_meanwhile(builder: Any, make_builder: Any) -> None:
    draft = open_draft(builder.workspace, "embed", KEY)
    draft.save("embeddings", {"x": np.zeros(1)})
    make_builder(builder.workspace.path).commit("label", "pseudo_labels", {"x": np.zeros(1)})
    draft.commit("embed", **builder.provenance("embed"))
    assert set(builder.workspace.manifest.artifacts) == {"embeddings", "pseudo_labels"}


def test_an_open_map_survives_a_new_commit(builder: Any) -> None:
    builder.commit("embed", "embeddings", {"x": np.zeros(1000)})
    view = builder.workspace.tensors("embeddings")["x"]
    builder.commit("embed", "embeddings", {"x": np.ones(1000)})
    assert view.sum() == 0
    assert builder.workspace.tensors("embeddings")["x"].sum() == 1000


def test_a_full_disk_is_named(builder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise OSError(28, "No space left on device")

    draft = open_draft(builder.workspace, "embed", KEY)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=r"cannot .*: No space left on device; [\d,]+ bytes are free"):
        draft.save("embeddings", {"x": np.zeros(1)})
    assert not draft.has_shard("embeddings")


def test_discard_leaves_nothing(builder: Any) -> None:
    draft = open_draft(builder.workspace, "embed", KEY)
    other = open_draft(builder.workspace, "label", KEY)
    draft.save("embeddings", {"x": np.zeros(1)})
    draft.discard()
    assert other.directory.is_dir()
    other.discard()
    assert os.listdir(builder.workspace.path) == ["manifest.json"]


def test_versions_can_be_given(builder: Any) -> None:
    builder.commit("embed", "embeddings", {"x": np.zeros(1)}, versions={"elfs": "9"})
    assert builder.workspace.manifest.records["embed"].versions == {"elfs": "9"}


@pytest.mark.parametrize("links", [True, False])
def test_finished_file_becomes_a_shard_without_a_copy(
    builder: Any, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    draft = open_draft(builder.workspace, "embed", KEY)
    paths = [draft.directory / f"{number}.safetensors" for number in range(2)]
    for number, path in enumerate(paths):
        save_tensors(path, {"x": np.full(3, number)})
        draft.save("embeddings", {"x": np.full(3, 7)}, shard=(number, 2))  # of an interrupted run: replaced
        draft.link("embeddings", path, shard=(number, 2))
        draft.link("embeddings", path, shard=(number, 2))
    assert {path.stat().st_nlink for path in paths} == ({2} if links else {1})
    draft.commit("embed", **builder.provenance("embed"))
    found = Workspace.open(builder.workspace.path)
    np.testing.assert_array_equal(found.arrays("embeddings")["x"], [0, 0, 0, 1, 1, 1])
    assert not found.verify()
    with pytest.raises(StorageError, match=r"cannot (read|write) .*gone"):
        open_draft(builder.workspace, "embed", KEY).link("embeddings", draft.directory / "gone")


def test_draft_that_several_commands_fill_is_not_removed_for_another(builder: Any) -> None:
    workspace: Workspace = builder.workspace
    shared, plain = open_draft(workspace, "embed", KEY), "sha256:" + "f" * 64
    assert not shared.is_shared
    (shared.directory / REQUEST_NAME).write_text("{}")
    assert shared.is_shared
    first = open_draft(workspace, "embed", plain)
    open_draft(workspace, "embed", "sha256:" + "e" * 64, tidy=False)
    assert first.directory.is_dir()
    open_draft(workspace, "embed", "sha256:" + "d" * 64)
    assert (shared.directory.is_dir(), first.directory.is_dir()) == (True, False)
