import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.errors import CorruptArtifactError, MissingUpstreamError, StorageError, UsageError
from elfs.workspace import workspace as module
from elfs.workspace.draft import open_draft
from elfs.workspace.files import digest_json
from elfs.workspace.freshness import changed_inputs
from elfs.workspace.lock import writer_lock
from elfs.workspace.tensors import RowArray, save_tensors
from elfs.workspace.workspace import Workspace
from tests.damage import edited_manifest

KEY = digest_json(0)


def test_create_then_open(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ws \u00e9"
    made = Workspace.create(path)
    made.set_source_root("/images")
    assert Workspace.open(path).manifest.source_root == "/images"
    assert Workspace.create(path).manifest.source_root == "/images"
    assert os.listdir(path) == ["manifest.json"]


def test_create_in_an_empty_or_locked_directory(tmp_path: Path) -> None:
    (tmp_path / "manifest.json.tmp-1-00000000").write_bytes(b"left by a crash")
    with writer_lock(tmp_path):
        assert Workspace.create(tmp_path).manifest.records == {}


def test_create_refuses_a_file_and_a_full_directory(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(UsageError, match=r"photo\.jpg is a file, expected a directory"):
        Workspace.create(tmp_path / "photo.jpg")
    with pytest.raises(UsageError, match=r"is no workspace but holds other things, such as 'photo\.jpg'") as info:
        Workspace.create(tmp_path)
    assert info.value.hint == f"elfs embed SOURCE --workspace {tmp_path}/elfs-workspace"
    assert os.listdir(tmp_path) == ["photo.jpg"]


def test_open_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path, tmp_path / "gone", tmp_path / "file"):
        with pytest.raises(MissingUpstreamError, match=f"there is no workspace at {path}") as info:
            Workspace.open(path)
        assert info.value.hint == f"elfs embed SOURCE --workspace {path}"


def test_open_a_spoilt_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b'{"format": "elfs-workspace", "format_version": 2}')
    with pytest.raises(CorruptArtifactError, match="newer than 1, the newest that this elfs reads; upgrade elfs"):
        Workspace.open(tmp_path)
    with pytest.raises(CorruptArtifactError, match="upgrade elfs"):
        Workspace.create(tmp_path)


def test_a_directory_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", fail)
    with pytest.raises(StorageError, match=r"cannot read .*: Permission denied"):
        Workspace.create(tmp_path)
    monkeypatch.setattr(Path, "is_file", fail)
    with pytest.raises(StorageError, match=r"cannot read .*: Permission denied"):
        Workspace.open(tmp_path)


def test_round_trip(builder: Any) -> None:
    values = np.arange(8, dtype=np.float16).reshape(4, 2)
    builder.commit("embed", "embeddings", {"embeddings": values})
    workspace = Workspace.open(builder.workspace.path)
    assert workspace.has("embeddings")
    assert not workspace.has("heads")
    loaded = workspace.tensors("embeddings")["embeddings"]
    assert isinstance(loaded, np.memmap)
    np.testing.assert_array_equal(loaded, values)


def test_row_22_a_workspace_can_be_moved(builder: Any, tmp_path: Path) -> None:
    builder.commit("embed", "embeddings", {"x": np.zeros(1)})
    builder.workspace.path.rename(tmp_path / "moved")
    assert Workspace.open(tmp_path / "moved").verify() == []
    assert str(tmp_path) not in (tmp_path / "moved" / "manifest.json").read_text()


def commit_shards(builder: Any, sizes: list[int]) -> None:
    draft = open_draft(builder.workspace, "embed", KEY)
    start = 0
    for index, size in enumerate(sizes):
        draft.save("embeddings", {"embeddings": np.arange(start, start + size)}, shard=(index, len(sizes)))
        start += size
    draft.commit("embed", **builder.provenance("embed"))


def test_three_shards_read_as_one(builder: Any) -> None:
    commit_shards(builder, [4, 1, 5])
    rows = builder.workspace.tensors("embeddings")["embeddings"]
    assert isinstance(rows, RowArray)
    np.testing.assert_array_equal(rows.read(3, 6), [3, 4, 5])
    np.testing.assert_array_equal(rows.take([9, 0, 4, 0]), [9, 0, 4, 0])
    np.testing.assert_array_equal(builder.workspace.arrays("embeddings")["embeddings"], np.arange(10))


def test_one_shard_reads_as_an_array(builder: Any) -> None:
    commit_shards(builder, [4])
    assert isinstance(builder.workspace.tensors("embeddings")["embeddings"], np.ndarray)
    assert isinstance(builder.workspace.arrays("embeddings")["embeddings"], np.memmap)


def test_json_artifacts(builder: Any) -> None:
    draft = open_draft(builder.workspace, "cluster", KEY)
    draft.save_bytes("clusters", "clusters.json", b'{"loss": [1.5]}')
    draft.save_bytes("broken", "broken.json", b'{"loss": NaN}')
    draft.save_bytes("two", "two.json", b"1")
    draft.save_bytes("two", "three.json", b"1")
    draft.commit("cluster", **builder.provenance("cluster"))
    workspace: Workspace = builder.workspace
    assert workspace.json("clusters") == {"loss": [1.5]}
    assert workspace.tensors("clusters") == {}
    with pytest.raises(CorruptArtifactError, match=r"broken\.json is not valid JSON: NaN") as info:
        workspace.json("broken")
    assert info.value.hint == f"elfs cluster --workspace {workspace.path} --force"
    with pytest.raises(ValueError, match="artifact 'two' has 2 files to choose from"):
        workspace.contents("two")
    (workspace.path / "clusters.json").write_bytes(b"{}")
    with pytest.raises(CorruptArtifactError, match=r"clusters\.json has 2 bytes, expected 15"):
        workspace.json("clusters")
    (workspace.path / "clusters.json").write_bytes(b'{"loss": [2.5]}')
    with pytest.raises(CorruptArtifactError, match=r"clusters\.json has digest .*, expected sha256:") as info:
        workspace.json("clusters")
    assert info.value.hint == f"elfs cluster --workspace {workspace.path} --force"


def test_what_nobody_made(builder: Any) -> None:
    workspace: Workspace = builder.workspace
    for read in (workspace.tensors, workspace.contents, workspace.json):
        with pytest.raises(MissingUpstreamError, match="holds no artifact 'heads'"):
            read("heads")
    for act in (workspace.stale_reason, workspace.remove):
        with pytest.raises(MissingUpstreamError, match="holds no record 'select/x'") as info:
            act("select/x")
        assert info.value.hint == "elfs select"


def chain(builder: Any) -> Workspace:
    builder.commit("embed", "embeddings", {"x": np.zeros(3)})
    builder.commit("cluster", "heads", {"x": np.zeros(3)}, ("embeddings",))
    builder.commit("label", "pseudo_labels", {"x": np.zeros(3)}, ("heads", "embeddings"))
    builder.commit("select/x", "selections/x", {"x": np.zeros(3)}, ("pseudo_labels",))
    workspace: Workspace = builder.workspace
    return workspace


def test_nothing_is_stale_at_first(builder: Any) -> None:
    workspace = chain(builder)
    assert [workspace.stale_reason(record) for record in workspace.manifest.records] == [None] * 4


def test_a_rebuilt_input_makes_all_after_it_stale(builder: Any) -> None:
    workspace = chain(builder)
    builder.commit("embed", "embeddings", {"x": np.ones(3)})
    reason = "embeddings were rebuilt after it (embed)"
    assert workspace.stale_reason("embed") is None
    assert workspace.stale_reason("cluster") == reason
    assert workspace.stale_reason("label") == reason
    assert changed_inputs(workspace.manifest, "label") == ["embeddings", "heads"]
    builder.commit("cluster", "heads", {"x": np.ones(3)}, ("embeddings",))
    assert workspace.stale_reason("cluster") is None
    assert workspace.stale_reason("label") == reason


def test_a_selection_is_never_stale_and_says_what_has_changed(builder: Any) -> None:
    workspace = chain(builder)
    assert changed_inputs(workspace.manifest, "select/x") == []
    builder.commit("embed", "embeddings", {"x": np.ones(3)})
    assert (workspace.stale_reason("select/x"), changed_inputs(workspace.manifest, "select/x")) == (
        None,
        ["pseudo_labels"],
    )
    workspace.remove("label")
    assert (workspace.stale_reason("select/x"), changed_inputs(workspace.manifest, "select/x")) == (
        None,
        ["pseudo_labels"],
    )


def test_a_rerun_with_equal_results_makes_nothing_stale(builder: Any) -> None:
    workspace = chain(builder)
    builder.commit("embed", "embeddings", {"x": np.zeros(3)}, config={"option": 2}, run={"seconds": 9})
    assert [workspace.stale_reason(record) for record in workspace.manifest.records] == [None] * 4


def test_a_removed_input_makes_it_stale(builder: Any) -> None:
    workspace = chain(builder)
    workspace.remove("cluster")
    assert workspace.stale_reason("label") == "heads were removed after it"
    assert changed_inputs(workspace.manifest, "label") == ["heads"]
    assert sorted(os.listdir(workspace.path)) == [
        "embeddings.safetensors",
        "manifest.json",
        "pseudo_labels.safetensors",
        "selections",
    ]


def test_one_selection_is_singular(builder: Any) -> None:
    workspace = chain(builder)
    builder.commit("train/x", "model", {"x": np.zeros(3)}, ("selections/x",))
    builder.commit("select/x", "selections/x", {"x": np.ones(3)}, ("pseudo_labels",))
    assert workspace.stale_reason("train/x") == "selections/x was rebuilt after it (select/x)"


def test_external_inputs_are_not_looked_for(builder: Any) -> None:
    draft = open_draft(builder.workspace, "embed", KEY)
    draft.save("embeddings", {"x": np.zeros(3)})
    draft.commit("embed", **builder.provenance("embed") | {"inputs": {"external:weights": "sha256:abc"}})
    assert builder.workspace.stale_reason("embed") is None


def test_a_circle_in_the_manifest_ends(builder: Any) -> None:
    workspace = chain(builder)
    with edited_manifest(workspace.path) as document:
        document["records"]["embed"]["inputs"] = {"heads": document["artifacts"]["heads"]["digest"]}
    workspace.reload()
    assert workspace.stale_reason("label") is None


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_verify_finds_one_flipped_byte_anywhere(builder: Any) -> None:
    builder.commit("embed", "embeddings", {"x": np.zeros(3)})
    workspace: Workspace = builder.workspace
    path = workspace.path / "embeddings.safetensors"
    assert workspace.verify() == []
    for position in range(path.stat().st_size):
        flip(path, position)
        (finding,) = workspace.verify()
        assert (finding.artifact, finding.file, finding.hint) == (
            "embeddings",
            "embeddings.safetensors",
            f"elfs embed --workspace {workspace.path} --force",
        )
        assert "has digest sha256:" in finding.problem
        flip(path, position)


@pytest.mark.parametrize("size", [0, 7, 20, -1])
def test_row_13_a_truncated_file(builder: Any, size: int) -> None:
    builder.commit("embed", "embeddings", {"x": np.zeros(3)})
    workspace: Workspace = builder.workspace
    path = workspace.path / "embeddings.safetensors"
    data = path.read_bytes()[:size]
    path.write_bytes(data)
    message = f"embeddings.safetensors has {len(data)} bytes, expected"
    with pytest.raises(CorruptArtifactError, match=message) as info:
        workspace.tensors("embeddings")
    assert info.value.hint == f"elfs embed --workspace {workspace.path} --force"
    (finding,) = workspace.verify()
    assert message in finding.problem


def test_a_missing_file_a_directory_and_a_link_out(builder: Any, tmp_path: Path) -> None:
    builder.commit("embed", "embeddings", {"x": np.zeros(3)})
    workspace: Workspace = builder.workspace
    path = workspace.path / "embeddings.safetensors"
    path.rename(tmp_path / "outside")

    def check(message: str) -> None:
        with pytest.raises(CorruptArtifactError, match=message):
            workspace.tensors("embeddings")
        (finding,) = workspace.verify()
        assert message in finding.problem

    check("is missing, or not a file")
    path.mkdir()
    check("is missing, or not a file")
    path.rmdir()
    path.symlink_to(tmp_path / "outside")
    check("a link that leads out of the workspace")


def test_verify_goes_on_after_a_file_that_cannot_be_read(builder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    builder.commit("embed", "embeddings", {"x": np.zeros(3)})
    builder.commit("label", "pseudo_labels", {"x": np.zeros(3)})
    (builder.workspace.path / "pseudo_labels.safetensors").unlink()
    opened = Path.open

    def refuse(path: Path, *arguments: Any) -> Any:
        if path.name == "embeddings.safetensors":
            raise OSError(5, "Input/output error")
        return opened(path, *arguments)

    monkeypatch.setattr(Path, "open", refuse)
    problems = [finding.problem for finding in builder.workspace.verify()]
    assert "Input/output error" in problems[0]
    assert "is missing" in problems[1]


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"x": np.zeros(6, np.float32)}, r"tensor 'x' is float32 \(6,\), expected float64 \(3,\)"),
        ({"x": np.zeros(3, np.int64)}, r"tensor 'x' is int64 \(3,\), expected float64 \(3,\)"),
        ({"y": np.zeros(3)}, r"'embeddings' holds tensors \['y'\], expected \['x'\]"),
    ],
)
def test_a_sound_file_of_the_same_size_with_other_tensors(
    builder: Any, tensors: dict[str, np.ndarray], message: str
) -> None:
    builder.commit("embed", "embeddings", {"x": np.zeros(3)})
    workspace: Workspace = builder.workspace
    path = workspace.path / "embeddings.safetensors"
    size = path.stat().st_size
    save_tensors(path, tensors)
    assert path.stat().st_size == size
    with pytest.raises(CorruptArtifactError, match=message) as info:
        workspace.tensors("embeddings")
    assert info.value.hint == f"elfs embed --workspace {workspace.path} --force"


def edit(workspace: Workspace, field: str, value: Any) -> None:
    with edited_manifest(workspace.path) as document:
        document["artifacts"]["embeddings"][field] = value
    workspace.reload()


@pytest.mark.parametrize("shape", [[9], [10, 1], [], [3]])
def test_verify_holds_shapes_against_the_manifest(builder: Any, shape: list[int]) -> None:
    commit_shards(builder, [4, 1, 5])
    workspace: Workspace = builder.workspace
    edit(workspace, "tensors", {"embeddings": {"dtype": "int64", "shape": shape}})
    (finding,) = workspace.verify()
    assert finding.file == "embeddings-00001-of-00003.safetensors"
    assert "is int64 (10,), expected int64 (" in finding.problem


def test_tensors_without_a_file(builder: Any) -> None:
    draft = open_draft(builder.workspace, "embed", KEY)
    draft.save_bytes("embeddings", "embeddings.json", b"1")
    draft.commit("embed", **builder.provenance("embed"))
    edit(builder.workspace, "tensors", {"x": {"dtype": "int64", "shape": [1]}})
    with pytest.raises(CorruptArtifactError, match=r"holds tensors \[\], expected \['x'\]"):
        builder.workspace.tensors("embeddings")


def test_clean_leftovers_takes_only_what_dead_writers_left(builder: Any) -> None:
    workspace: Workspace = builder.workspace
    draft = open_draft(workspace, "embed", KEY)
    dead = draft.directory / "x.tmp-999999999-00000000"
    alive = workspace.path / f"x.tmp-{os.getpid()}-00000000"
    for path in (dead, alive):
        path.write_bytes(b"")
    workspace.clean_leftovers()
    assert not dead.exists()
    assert alive.exists()
    assert draft.directory.exists()


def test_remove_if_empty(builder: Any) -> None:
    workspace: Workspace = builder.workspace
    draft = open_draft(workspace, "embed", KEY)
    draft.save("embeddings", {"x": np.zeros(3)})
    with writer_lock(workspace.path):
        pass
    workspace.remove_if_empty()
    assert draft.has_shard("embeddings")
    draft.commit("embed", **builder.provenance("embed"))
    workspace.remove_if_empty()
    assert workspace.verify() == []
    workspace.remove("embed")
    workspace.remove_if_empty()
    assert not workspace.path.exists()


def test_reload_sees_another_writer(builder: Any, make_builder: Any) -> None:
    make_builder(builder.workspace.path).commit("embed", "embeddings", {"x": np.zeros(3)})
    assert not builder.workspace.has("embeddings")
    builder.workspace.reload()
    assert builder.workspace.has("embeddings")


def test_no_heavy_import() -> None:
    script = (
        f"import sys, {module.__name__}\n"
        "heavy = {'torch', 'torchvision', 'timm', 'faiss', 'safetensors', 'sklearn', 'scipy', 'typer', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
