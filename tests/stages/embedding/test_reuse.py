"""A second embed looks at new and changed images alone, and ends with the bytes of one that looked at all."""

import itertools
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from elfs.data.samples import Outcome, SampleTable
from elfs.errors import DeviceError
from elfs.models.pixels import PixelEncoder
from elfs.parallel.runtime import Runtime
from elfs.stages.embedding import reuse as known_rows
from elfs.stages.embedding import rows as embedding_rows
from elfs.stages.embedding.batches import encode_rows
from elfs.workspace.workspace import Workspace
from tests.chain import CORRUPT, NUM_PICTURES, artifacts_of, make_pictures, run_stage
from tests.ranks import SERVER

pytestmark = pytest.mark.usefixtures("few_atoms")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = make_pictures(tmp_path / "pictures", corrupt=True)
    for name in ("a/moving.gif", "c/moving.gif"):
        frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
        frames[0].save(folder / name, save_all=True, append_images=frames[1:])
    return folder


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows that were encoded."""
    rows: list[int] = []

    def watched(reader: Any, wanted: Any, *others: Any, **options: Any) -> Any:
        rows.extend(wanted.tolist())
        return encode_rows(reader, wanted, *others, **options)

    monkeypatch.setattr(embedding_rows, "encode_rows", watched)
    return rows


def ids(workspace: Path, rows: list[int]) -> list[str]:
    return SampleTable.from_tensors(Workspace.open(workspace).arrays("samples")).ids(rows)


def picture(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def change(pictures: Path) -> list[str]:
    """Add, delete, change and damage images; return those that must be looked at."""
    picture(pictures / "a" / "000.png", 1)
    picture(pictures / "d.png", 2)
    picture(pictures / "b" / "07.png", 3)
    (pictures / "c" / "11.png").write_bytes(b"")
    (pictures / "a" / "05.png").unlink()
    (pictures / "c" / "moving.gif").unlink()
    return ["a/000.png", "b/07.png", "c/11.png", "d.png"]


@pytest.mark.slow
@pytest.mark.parametrize("shard_rows", [9, 100])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_only_new_and_changed_images_are_embedded(
    pictures: Path,
    tmp_path: Path,
    workspace: Path,
    looked_at: list[int],
    monkeypatch: pytest.MonkeyPatch,
    shard_rows: int,
    num_workers: int,
) -> None:
    monkeypatch.setattr(embedding_rows, "SHARD_ROWS", shard_rows)
    runtime = Runtime(devices="cpu", num_workers=num_workers)
    options: dict[str, Any] = {"source": "folder", "root": pictures, "batch_size": 4, "runtime": runtime}
    run_stage("embed", workspace, **options)
    expected = change(pictures)
    looked_at.clear()
    run_stage("embed", workspace, **options)
    assert ids(workspace, looked_at) == expected
    run_stage("embed", tmp_path / "whole", **options)
    assert artifacts_of(workspace) == artifacts_of(tmp_path / "whole")
    ours, theirs = (Workspace.open(path).manifest for path in (workspace, tmp_path / "whole"))
    assert (ours.artifacts, ours.records) == (theirs.artifacts, theirs.records)
    summary = ours.records["embed"].summary
    assert (summary["images"], summary["broken"], summary["several_frames"]) == (NUM_PICTURES + 2, 2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050"])
def test_bytes_of_a_network_do_not_depend_on_what_else_is_embedded(
    name: str, pictures: Path, tmp_path: Path, workspace: Path
) -> None:
    """In smaller batches these networks round differently on a CPU; all passes have one size."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(timm.create_model(name).state_dict(), tmp_path / "weights.safetensors")
    weights = str(tmp_path / "weights.safetensors")
    options: dict[str, Any] = {"source": "folder", "root": pictures, "encoder": name, "weights": weights}
    options |= {"batch_size": 8}
    run_stage("embed", workspace, **options)
    picture(pictures / "d.png", 2)
    run_stage("embed", workspace, **options)
    run_stage("embed", tmp_path / "whole", **options)
    assert artifacts_of(workspace) == artifacts_of(tmp_path / "whole")


def test_other_neighbours_need_no_image(pictures: Path, workspace: Path, looked_at: list[int]) -> None:
    run_stage("embed", workspace, source="folder", root=pictures)
    looked_at.clear()
    outcome = run_stage("embed", workspace, source="folder", root=pictures, neighbors=3)
    assert (outcome.ran, outcome.summary["neighbors"], looked_at) == (True, 3, [])


@pytest.mark.slow
def test_an_encoder_that_learns_from_the_pool_embeds_a_changed_pool_anew(
    pictures: Path, tmp_path: Path, workspace: Path, looked_at: list[int]
) -> None:
    options: dict[str, Any] = {"source": "folder", "root": pictures, "encoder": "patches"}
    run_stage("embed", workspace, **options)
    looked_at.clear()
    run_stage("embed", workspace, **options, neighbors=3)
    assert looked_at == []
    picture(pictures / "d.png", 2)
    run_stage("embed", workspace, **options)
    assert len(looked_at) == NUM_PICTURES + 3
    run_stage("embed", tmp_path / "whole", **options)
    assert artifacts_of(workspace) == artifacts_of(tmp_path / "whole")


def damage(workspace: Path) -> None:
    path = workspace / "embeddings.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("changes", "prepare", "said"),
    [
        ({"batch_size": 32}, None, []),
        ({"max_pixels": 10**6}, None, []),
        ({"force": True}, None, []),
        ({"neighbors": 3}, damage, ["embeddings.safetensors has digest sha256:"]),
    ],
    ids=["batch-size", "max-pixels", "force", "damaged"],
)
def test_everything_is_embedded_again(
    changes: dict[str, Any],
    prepare: Callable[[Path], None] | None,
    said: list[str],
    pictures: Path,
    workspace: Path,
    looked_at: list[int],
) -> None:
    run_stage("embed", workspace, source="folder", root=pictures)
    if prepare is not None:
        prepare(workspace)
    looked_at.clear()
    heard: list[str] = []
    runtime = Runtime(devices="cpu", warn=heard.append)
    run_stage("embed", workspace, runtime=runtime, source="folder", root=pictures, **changes)
    assert len(looked_at) == NUM_PICTURES + 2
    *heard, left_out = heard
    assert left_out.startswith("1 image is left out: ")
    assert len(heard) == len(said)
    assert all(text in warning for text, warning in zip(said, heard, strict=True))
    assert all(warning.endswith("All images are embedded again.") for warning in heard)
    assert not Workspace.open(workspace).verify()


def test_images_that_lie_elsewhere_are_others(
    pictures: Path, tmp_path: Path, workspace: Path, looked_at: list[int]
) -> None:
    run_stage("embed", workspace, source="folder", root=pictures)
    shutil.copytree(pictures, tmp_path / "elsewhere")
    looked_at.clear()
    run_stage("embed", workspace, source="folder", root=tmp_path / "elsewhere", neighbors=3)
    assert len(looked_at) == NUM_PICTURES + 2


def test_other_versions_embed_everything_again(
    pictures: Path, workspace: Path, looked_at: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stage("embed", workspace, source="folder", root=pictures)
    looked_at.clear()
    monkeypatch.setattr(known_rows, "__version__", "99")
    run_stage("embed", workspace, source="folder", root=pictures, neighbors=3)
    assert len(looked_at) == NUM_PICTURES + 2


def test_outcomes_that_may_change_are_looked_at_again(
    pictures: Path, workspace: Path, looked_at: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged file stays damaged; a decoder may have been installed."""
    (pictures / "a" / "x.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    monkeypatch.setattr("elfs.data.decoding._has_decoder", lambda kind: kind != "heic")
    run_stage("embed", workspace, source="folder", root=pictures)
    looked_at.clear()
    run_stage("embed", workspace, source="folder", root=pictures, neighbors=3)
    assert ids(workspace, looked_at) == ["a/x.heic"]
    table = SampleTable.from_tensors(Workspace.open(workspace).arrays("samples"))
    assert {table.id(row): table.outcome[row] for row in table.reasons()} == {
        "a/x.heic": Outcome.UNSUPPORTED,
        CORRUPT: Outcome.BROKEN,
    }


def test_named_data_sets_need_no_sizes(workspace: Path, looked_at: list[int]) -> None:
    run_stage("embed", workspace, source="digits", limit=100)
    first = ids(workspace, list(range(100)))
    looked_at.clear()
    run_stage("embed", workspace, source="digits", limit=150)
    assert 0 < len(looked_at) == len(set(ids(workspace, list(range(150)))) - set(first)) < 150


def test_a_workspace_of_own_embeddings_is_no_help(
    pictures: Path, tmp_path: Path, workspace: Path, looked_at: list[int]
) -> None:
    own = np.random.default_rng(0).normal(size=(NUM_PICTURES + 2, 5)).astype(np.float32)
    np.save(tmp_path / "own.npy", own)
    names = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.*"))
    (tmp_path / "ids.txt").write_text("".join(f"{name}\n" for name in names))
    files: dict[str, Any] = {"embeddings": str(tmp_path / "own.npy"), "ids": str(tmp_path / "ids.txt")}
    run_stage("embed", workspace, source="folder", root=pictures, encoder=None, **files)
    assert looked_at == []
    run_stage("embed", workspace, source="folder", root=pictures)
    assert len(looked_at) == NUM_PICTURES + 2


def test_row_54_what_was_embedded_before_memory_ran_out_is_kept(
    pictures: Path, tmp_path: Path, workspace: Path, looked_at: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_rows, "SHARD_ROWS", 20)
    options: dict[str, Any] = {"source": "folder", "root": pictures, "batch_size": 4}

    passes = iter(range(8))

    def starve(self: PixelEncoder, batch: torch.Tensor) -> torch.Tensor:
        if next(passes, None) is None:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return batch.flatten(1)

    with monkeypatch.context() as patch:
        patch.setattr(PixelEncoder, "encode", starve)
        with pytest.raises(DeviceError, match=r"^cpu has not enough memory for the encoder pixels and one image"):
            run_stage("embed", workspace, **options)
    looked_at.clear()
    run_stage("embed", workspace, **options)
    assert looked_at == list(range(20, NUM_PICTURES + 2))
    run_stage("embed", tmp_path / "whole", **options)
    assert artifacts_of(workspace) == artifacts_of(tmp_path / "whole")


def embed_and_die(workspace: Path, root: Path, passes: int) -> None:
    """Embed in a process of its own, which is killed after so many passes."""
    embedding_rows.SHARD_ROWS, encode, done = 10, PixelEncoder.encode, itertools.count(1)

    def counted(self: PixelEncoder, batch: torch.Tensor) -> torch.Tensor:
        if next(done) > passes:
            os.kill(os.getpid(), signal.SIGKILL)
        return encode(self, batch)

    PixelEncoder.encode = counted  # type: ignore[method-assign]
    run_stage("embed", workspace, source="folder", root=root, batch_size=5)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("passes", "kept"), [(0, 0), (1, 0), (2, 10), (9, 40)])
@pytest.mark.slow
def test_rows_1_to_6_a_killed_run_loses_at_most_one_shard(
    pictures: Path,
    tmp_path: Path,
    workspace: Path,
    looked_at: list[int],
    monkeypatch: pytest.MonkeyPatch,
    passes: int,
    kept: int,
) -> None:
    """Shards of 10 rows, passes of 5; the kill comes with the pass after these."""
    killed = SERVER.Process(target=embed_and_die, args=(workspace, pictures, passes))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    monkeypatch.setattr(embedding_rows, "SHARD_ROWS", 10)
    options: dict[str, Any] = {"source": "folder", "root": pictures, "batch_size": 5}
    run_stage("embed", workspace, **options)
    assert looked_at == list(range(kept, NUM_PICTURES + 2))
    run_stage("embed", tmp_path / "whole", **options)
    assert artifacts_of(workspace) == artifacts_of(tmp_path / "whole")
