"""Images of every kind of source go through the stages, and an export finds them again."""

import io
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.cli.app import run
from elfs.config import EmbedConfig
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError, UsageError
from elfs.stages.embedding.listing import prepare
from elfs.workspace.commands import command_line
from elfs.workspace.workspace import Workspace
from tests.chain import make_pictures, run_chain, run_stage


def write_list(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    root = make_pictures(tmp_path / "pictures")
    (tmp_path / "list.txt").write_text("".join(f"{path.relative_to(root)}\n" for path in root.rglob("*.png")))
    return root, {"source": "files", "files": str(tmp_path / "list.txt")}


def write_tar(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    pictures = make_pictures(tmp_path / "pictures")
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "0.tar", "w") as shard:
        for path in sorted(pictures.rglob("*.png")):
            data = path.read_bytes()
            member = tarfile.TarInfo(path.relative_to(pictures).as_posix())
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    shutil.rmtree(pictures)
    return tmp_path / "shards", {"source": "tar"}


def write_parquet(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pictures = make_pictures(tmp_path / "pictures")
    images = [path.read_bytes() for path in sorted(pictures.rglob("*.png"))]
    parquet.write_table(pa.table({"image": images}), tmp_path / "all.parquet", row_group_size=16)
    return tmp_path / "all.parquet", {"source": "parquet"}


SOURCES = {"files": write_list, "tar": write_tar, "parquet": write_parquet}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_gives_the_same_embeddings_and_can_move(kind: str, tmp_path: Path, workspace: Path) -> None:
    root, options = SOURCES[kind](tmp_path)
    run_stage("embed", tmp_path / "folder", source="folder", root=make_pictures(tmp_path / "same"))
    run_chain(workspace, root=root, stages=("embed", "cluster", "label"), **options)
    found, expected = Workspace.open(workspace), Workspace.open(tmp_path / "folder")
    np.testing.assert_array_equal(
        np.asarray(found.arrays("embeddings")["embeddings"]), np.asarray(expected.arrays("embeddings")["embeddings"])
    )
    assert found.manifest.source_root == str(root)
    assert found.manifest.artifacts["samples"].metadata["source"] == kind
    moved = root.with_name(f"moved{root.suffix}")
    root.rename(moved)
    with pytest.raises(InputDataError, match=r"the folder of the images is not there: "):
        run_stage("dynamics", workspace)
    assert not run_stage("embed", workspace, root=moved, **options).ran
    assert run_stage("dynamics", workspace).ran


def test_ids_of_a_list_are_those_of_the_folder(tmp_path: Path) -> None:
    root, options = write_list(tmp_path)
    tables: list[SampleTable] = [prepare(EmbedConfig(**given), root).table for given in (options, {"source": "folder"})]
    assert tables[0].names == tables[1].names


def test_a_list_for_another_source_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--files lists images below a folder, and the source is 'digits'\.$"):
        prepare(EmbedConfig(source="digits", files="list.txt"), None)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (EmbedConfig(source="files", files="list.txt"), "elfs embed /r --files list.txt"),
        (EmbedConfig(source="tar"), "elfs embed tar:/r"),
        (EmbedConfig(source="hf:.:test"), "elfs embed hf:/r:test"),
        (EmbedConfig(source="cinic10"), "elfs embed cinic10"),
    ],
)
def test_the_command_that_repeats_an_embedding(config: EmbedConfig, expected: str) -> None:
    assert command_line("embed", config, Path("elfs-workspace"), "/r") == expected


def test_a_list_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = make_pictures(tmp_path / "pictures")
    names = "\0".join(str(path) for path in pictures.rglob("*.png"))
    arguments = ["embed", "--files", "-", "--encoder", "pixels", "--devices", "cpu", "--neighbors", "5"]
    for place, extra in ((tmp_path, []), (tmp_path.parent, [str(tmp_path)])):
        monkeypatch.chdir(place)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names.encode())))
        assert run([*arguments, *extra, "--workspace", str(tmp_path / "workspace")]) == 0
    manifest = Workspace.open(tmp_path / "workspace").manifest
    assert manifest.source_root == str(tmp_path)
    table = SampleTable.from_tensors(Workspace.open(tmp_path / "workspace").arrays("samples"))
    assert table.id(0) == "pictures/a/00.png"
    monkeypatch.chdir(pictures)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(names.encode())))
    assert run([*arguments, str(pictures / "a"), "--workspace", str(tmp_path / "other")]) == 3


def test_another_list_from_standard_input_is_read_though_the_options_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = make_pictures(tmp_path / "pictures")
    arguments = ["embed", str(pictures), "--files", "-", "--encoder", "pixels", "--devices", "cpu", "--neighbors", "5"]
    names = [str(path) for path in sorted(pictures.rglob("*.png"))]
    for some in (names[:20], names[:20], names):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(some).encode())))
        assert run([*arguments, "--workspace", str(tmp_path / "workspace")]) == 0
        samples = Workspace.open(tmp_path / "workspace").manifest.artifacts["samples"]
        assert samples.tensors["split"].shape[0] == len(some)
