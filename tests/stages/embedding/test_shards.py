"""Shards that know nothing of each other, and the merge: the bytes of an embed in one go."""

import itertools
import json
import os
import shutil
import signal
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import torch

import elfs
from elfs.config import EmbedConfig
from elfs.errors import CorruptArtifactError, DeviceError, InputDataError, MissingUpstreamError, UsageError
from elfs.models.pixels import PixelEncoder
from elfs.parallel.runtime import Runtime
from elfs.stages.embedding import encoder as pool_encoder
from elfs.stages.embedding import reuse as known_rows
from elfs.stages.embedding import rows as embedding_rows
from elfs.stages.embedding.batches import encode_rows
from elfs.stages.embedding.shards import ShardReport, make_shard, merge, shard_run
from elfs.workspace.workspace import Workspace
from tests.chain import NUM_PICTURES, artifacts_of, config, make_embeddings, make_pictures, run_stage
from tests.ranks import SERVER

pytestmark = pytest.mark.usefixtures("few_atoms")

OPTIONS: dict[str, Any] = {"source": "folder", "batch_size": 4}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_pictures(tmp_path / "pictures", corrupt=True)


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_rows, "SHARD_ROWS", 9)


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows that were encoded."""
    rows: list[int] = []

    def watched(reader: Any, wanted: Any, *others: Any, **options: Any) -> Any:
        rows.extend(wanted.tolist())
        return encode_rows(reader, wanted, *others, **options)

    monkeypatch.setattr(embedding_rows, "encode_rows", watched)
    return rows


def settings(**changes: Any) -> EmbedConfig:
    found = config("embed", **OPTIONS, **changes)
    assert isinstance(found, EmbedConfig)
    return found


def shard(workspace: Path, root: Path, number: int, count: int = 3, **changes: Any) -> ShardReport:
    return make_shard(workspace, settings(**changes), Runtime(devices="cpu"), (number, count), root)


def merged(workspace: Path, **wanted: Any) -> None:
    assert merge(workspace, Runtime(devices="cpu"), wanted).ran


def straight(workspace: Path, root: Path, **changes: Any) -> Path:
    run_stage("embed", workspace, root=root, **OPTIONS, **changes)
    return workspace


def assert_same(one: Path, other: Path) -> None:
    assert artifacts_of(one) == artifacts_of(other)
    ours, theirs = (Workspace.open(path).manifest for path in (one, other))
    assert (ours.artifacts, ours.records) == (theirs.artifacts, theirs.records)
    assert not Workspace.open(one).verify()


@pytest.mark.parametrize("num_rows", [1, 2, 59, 1000])
@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_runs_of_shards_lie_end_to_end(num_rows: int, count: int) -> None:
    runs = [shard_run(number, count, num_rows) for number in range(1, count + 1)]
    assert [start for start, _ in runs] == [0, *(stop for _, stop in runs[:-1])]
    assert runs[-1][1] == num_rows
    assert {stop - start for start, stop in runs} <= {num_rows // count, -(-num_rows // count)}


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["pixels", "patches", "patches+pixels"])
@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_merged_shards_are_an_embed_in_one_go(
    pictures: Path, tmp_path: Path, workspace: Path, encoder: str, order: tuple[int, ...]
) -> None:
    reports = [shard(workspace, pictures, number, encoder=encoder) for number in order]
    assert [report.num_finished for report in reports] == [20, 40, 60]
    assert [report.num_left_out for report in reports] == [int(number == 2) for number in order]
    assert reports[1].next_command.endswith(f"--shard {order[2]}/3")
    assert reports[2].next_command == f"elfs embed --workspace {workspace} --merge"
    assert Workspace.open(workspace).manifest.records == {}
    merged(workspace)
    assert_same(workspace, straight(tmp_path / "straight", pictures, encoder=encoder))
    assert not (workspace / "partial").exists()


def test_what_is_there_is_not_made_again(pictures: Path, workspace: Path, looked_at: list[int]) -> None:
    assert shard(workspace, pictures, 2).num_made == 20
    assert shard(workspace, pictures, 2).num_made == 0
    report = shard(workspace, pictures, 1, 2)
    assert (report.start, report.stop, report.num_made, report.num_finished) == (0, 30, 20, 40)
    assert looked_at == [*range(20, 40), *range(20)]


def test_a_learned_encoder_is_learned_once(pictures: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard(workspace, pictures, 1, encoder="patches")
    monkeypatch.setattr(pool_encoder, "transformed_sample", None)
    shard(workspace, pictures, 2, encoder="patches")


def test_more_shards_than_rows(tmp_path: Path, pictures: Path, workspace: Path) -> None:
    reports = [shard(workspace, pictures, number, 5, limit=3) for number in range(1, 6)]
    assert [report.num_made for report in reports] == [0, 1, 0, 1, 1]
    merged(workspace)
    assert_same(workspace, straight(tmp_path / "straight", pictures, limit=3))


def test_a_plain_embed_goes_on_from_shards(
    pictures: Path, tmp_path: Path, workspace: Path, looked_at: list[int]
) -> None:
    shard(workspace, pictures, 3)
    looked_at.clear()
    straight(workspace, pictures)
    assert looked_at == list(range(40))
    assert_same(workspace, straight(tmp_path / "straight", pictures))


def test_nothing_is_done_again_once_all_is_published(pictures: Path, workspace: Path, looked_at: list[int]) -> None:
    straight(workspace, pictures)
    looked_at.clear()
    report = shard(workspace, pictures, 2)
    assert (report.is_published, report.num_made, report.num_left_out, looked_at) == (True, 0, 1, [])
    assert report.next_command == f"elfs cluster --workspace {workspace}"
    assert not (workspace / "partial").exists()
    forced = make_shard(workspace, settings(), Runtime(devices="cpu"), (2, 3), force=True)
    assert (forced.num_made, looked_at) == (20, list(range(20, 40)))


def test_known_images_are_taken_over(
    pictures: Path, tmp_path: Path, workspace: Path, looked_at: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    straight(workspace, pictures)
    (pictures / "b" / "000.png").write_bytes((pictures / "a" / "01.png").read_bytes())
    looked_at.clear()
    shard(workspace, pictures, 1)
    monkeypatch.setattr("elfs.stages.embedding.reuse._are_sound", None)  # the first has read all files in full
    shard(workspace, pictures, 2)
    shard(workspace, pictures, 3)
    assert looked_at == [21]  # after b/00.png
    monkeypatch.undo()
    monkeypatch.setattr(embedding_rows, "SHARD_ROWS", 9)
    merged(workspace)
    assert_same(workspace, straight(tmp_path / "straight", pictures))


def test_nothing_is_taken_over_from_what_is_replaced_meanwhile(
    pictures: Path, workspace: Path, looked_at: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another embed publishes between the look at the manifest and that at the embeddings: a shard holds no lock."""
    straight(workspace, pictures)
    (pictures / "c" / "01.png").unlink()
    positions = known_rows._positions

    def late(*arguments: Any) -> Any:
        straight(workspace, pictures, encoder="patches")
        looked_at.clear()
        return positions(*arguments)

    monkeypatch.setattr(known_rows, "_positions", late)
    shard(workspace, pictures, 1)
    assert looked_at == list(range(19))


class TestRefusals:
    def test_own_embeddings(self, tmp_path: Path, workspace: Path) -> None:
        own = str(make_embeddings(tmp_path / "own.npy"))
        with pytest.raises(UsageError, match=r"^--shard makes embeddings, --embeddings brings them: leave one"):
            make_shard(workspace, EmbedConfig(source="embeddings", embeddings=own), Runtime(devices="cpu"), (1, 2))
        assert not workspace.exists()

    def test_broken_images_count_within_the_shard(self, pictures: Path, workspace: Path) -> None:
        shard(workspace, pictures, 1, max_broken=0.04)
        with pytest.raises(InputDataError, match=r"^1 of 20 images cannot be used, --max-broken allows 4%\..*b/19"):
            shard(workspace, pictures, 2, max_broken=0.04)
        assert shard(workspace, pictures, 3, max_broken=0.04).num_finished >= 40

    def test_other_device_or_versions(self, pictures: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shard(workspace, pictures, 1)
        monkeypatch.setattr("elfs.stages.embedding.reuse.__version__", "99")
        with pytest.raises(
            InputDataError, match=rf"^the other shards are .*: elfs {elfs.__version__} there, 99 here\."
        ):
            shard(workspace, pictures, 2)

    def test_a_plain_embed_with_other_versions_makes_all_rows(
        self, pictures: Path, workspace: Path, looked_at: list[int]
    ) -> None:
        shard(workspace, pictures, 1)
        note = next(workspace.rglob("encoder.json"))
        facts = json.loads(note.read_bytes())
        facts["made_with"]["torch"] = "0"
        facts["key"] = "0" * 64
        note.write_text(json.dumps(facts))
        for piece in workspace.rglob("*-000000000000-*"):
            piece.rename(piece.with_name("0" * 16 + piece.name[16:]))
        looked_at.clear()
        said: list[str] = []
        runtime = Runtime(devices="cpu", warn=said.append)
        run_stage("embed", workspace, root=pictures, runtime=runtime, **OPTIONS)
        assert set(range(9)) <= set(looked_at)
        assert [text.startswith("what --shard has made does not count") for text in said] == [True, False]
        assert said[1].startswith("1 image is left out: ")

    def test_other_weights(self, pictures: Path, workspace: Path) -> None:
        shard(workspace, pictures, 1)
        note = next(workspace.rglob("encoder.json"))
        facts = json.loads(note.read_bytes())
        note.write_text(json.dumps(facts | {"fingerprint": "0" * 64}))
        with pytest.raises(InputDataError, match=r"^the encoder pixels on .* is not the one that the rest of the pool"):
            shard(workspace, pictures, 2)
        with pytest.raises(InputDataError, match=r"^the encoder pixels on"):
            straight(workspace, pictures)
        assert next(workspace.rglob("*-000000000000-*")).is_file(), "a refusal must not cost what shards have made"


class TestMerge:
    def test_no_shard(self, pictures: Path, workspace: Path) -> None:
        with pytest.raises(MissingUpstreamError, match="there is no workspace"):
            merged(workspace)
        straight(workspace, pictures)
        with pytest.raises(MissingUpstreamError, match=r"^no shard waits in .*workspace\.$") as info:
            merged(workspace)
        assert info.value.hint == f"elfs embed SOURCE --workspace {workspace} --shard 1/8"

    def test_missing_rows(self, pictures: Path, workspace: Path) -> None:
        shard(workspace, pictures, 2)
        before = sorted(workspace.rglob("*"))
        with pytest.raises(
            MissingUpstreamError, match=r"^rows 0 to 19, 40 to 59 of 60 are missing: shards 1, 3 of 3\."
        ):
            merged(workspace)
        assert [path for path in sorted(workspace.rglob("*")) if path.name != ".lock"] == [
            path for path in before if path.name != ".lock"
        ]
        shard(workspace, pictures, 1)
        with pytest.raises(MissingUpstreamError, match="shards 3 of 3") as info:
            merged(workspace)
        options = "--encoder pixels --neighbors 5 --batch-size 4"
        assert info.value.hint is not None
        assert sorted(info.value.hint.split()) == sorted(
            f"elfs embed folder:{pictures} {options} --workspace {workspace} --shard 3/3".replace("folder:", "").split()
        )

    def test_nobody_got_as_far_as_an_encoder(self, pictures: Path, workspace: Path) -> None:
        shard(workspace, pictures, 1)
        next(workspace.rglob("encoder.json")).unlink()
        with pytest.raises(MissingUpstreamError, match=r"^rows 0 to 59 of 60 are missing: shards 1, 2, 3 of 3\."):
            merged(workspace)

    def test_damaged_piece(self, pictures: Path, tmp_path: Path, workspace: Path) -> None:
        for number in (1, 2, 3):
            shard(workspace, pictures, number)
        piece = next(workspace.rglob("*-000000000020-*.safetensors"))
        piece.write_bytes(piece.read_bytes()[:-1] + b"?")
        with pytest.raises(CorruptArtifactError, match=rf"^{piece.name} in .* were damaged .*: shards 2 of 3") as info:
            merged(workspace)
        assert str(info.value.hint).endswith("--shard 2/3")
        assert shard(workspace, pictures, 2).num_made == 7  # rows 20 to 26
        merged(workspace)
        assert_same(workspace, straight(tmp_path / "straight", pictures))

    def test_damaged_piece_in_a_plain_embed(self, pictures: Path, tmp_path: Path, workspace: Path) -> None:
        shard(workspace, pictures, 1)
        piece = next(workspace.rglob("*-000000000000-*.safetensors"))
        piece.write_bytes(piece.read_bytes()[:-1] + b"?")
        said: list[str] = []
        runtime = Runtime(devices="cpu", warn=said.append)
        run_stage("embed", workspace, root=pictures, runtime=runtime, **OPTIONS)
        assert said[0] == f"{piece.name} is damaged: its images are embedded again."
        assert [text.partition(": ")[0] for text in said[1:]] == ["1 image is left out"]
        assert_same(workspace, straight(tmp_path / "straight", pictures))

    def test_several_pools(self, pictures: Path, tmp_path: Path, workspace: Path) -> None:
        """Neither a shard nor an embed of another config removes what shards have made."""
        for encoder in ("pixels", "patches"):
            for number in (1, 2, 3):
                shard(workspace, pictures, number, encoder=encoder)
        straight(workspace, pictures, neighbors=2)
        with pytest.raises(UsageError, match=r"^shards of 2 pools wait: elfs embed .*; elfs embed .*Name SOURCE and"):
            merged(workspace)
        with pytest.raises(UsageError, match=r"^no shards with these options wait, but those of elfs embed"):
            merged(workspace, neighbors=9)
        merged(workspace, encoder="patches", source="folder")
        expected = artifacts_of(straight(tmp_path / "straight", pictures, encoder="patches"))
        found = {name: data for name, data in artifacts_of(workspace).items() if not name.startswith("partial")}
        assert found == expected
        merged(workspace)
        assert_same(workspace, straight(tmp_path / "pixels", pictures))

    def test_changed_source(self, pictures: Path, workspace: Path) -> None:
        for number in (1, 2, 3):
            shard(workspace, pictures, number)
        (pictures / "c" / "01.png").unlink()
        with pytest.raises(
            InputDataError, match=r"^the images, or the files that were named, have changed since"
        ) as info:
            merged(workspace)
        assert str(info.value.hint).endswith("--shard 1/3")
        assert len(list(workspace.rglob("*-0000000000*-*.json"))) > 0

    def test_moved_source(self, pictures: Path, tmp_path: Path, workspace: Path) -> None:
        for number in (1, 2, 3):
            shard(workspace, pictures, number)
        shutil.move(pictures, tmp_path / "moved")
        merge(workspace, Runtime(devices="cpu"), None, tmp_path / "moved")
        assert Workspace.open(workspace).manifest.source_root == str(tmp_path / "moved")

    def test_other_version(self, pictures: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shard(workspace, pictures, 1)
        version = elfs.__version__
        monkeypatch.setattr("elfs.__version__", "99")
        with pytest.raises(InputDataError, match=rf"^the shards in .* were made by elfs {version}, this is 99\.$"):
            merged(workspace)


def make_shard_and_die(workspace: Path, root: Path, number: int, count: int, passes: int) -> None:
    """Make a shard in a process of its own, which is killed after so many passes."""
    embedding_rows.SHARD_ROWS, encode, done = 9, PixelEncoder.encode, itertools.count(1)

    def counted(self: PixelEncoder, batch: torch.Tensor) -> torch.Tensor:
        if next(done) > passes:
            os.kill(os.getpid(), signal.SIGKILL)
        return encode(self, batch)

    PixelEncoder.encode = counted  # type: ignore[method-assign]
    shard(workspace, root, number, count)


def started(workspace: Path, root: Path, number: int, count: int, passes: int = 1000) -> ForkServerProcess:
    process = SERVER.Process(target=make_shard_and_die, args=(workspace, root, number, count, passes))
    process.start()
    return process


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.slow
def test_shards_at_the_same_time_killed_and_repeated(pictures: Path, tmp_path: Path, workspace: Path) -> None:
    """Two of them make the same shard, a third is killed in the middle, and its rows are made by others."""
    running = [started(workspace, pictures, 1, 2), started(workspace, pictures, 1, 2)]
    killed = started(workspace, pictures, 2, 2, passes=5)
    for process in (*running, killed):
        process.join()
    assert [process.exitcode for process in (*running, killed)] == [0, 0, -signal.SIGKILL]
    report = shard(workspace, pictures, 3, 4)
    assert 30 <= report.num_finished - report.num_made < 60
    shard(workspace, pictures, 4, 4)
    merged(workspace)
    assert_same(workspace, straight(tmp_path / "straight", pictures))


def test_out_of_memory_keeps_what_is_finished(pictures: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = iter(range(6))

    def starve(self: PixelEncoder, batch: torch.Tensor) -> torch.Tensor:
        if next(passes, None) is None:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return batch.flatten(1)

    with monkeypatch.context() as patch:
        patch.setattr(PixelEncoder, "encode", starve)
        with pytest.raises(DeviceError, match=r"^cpu has not enough memory"):
            shard(workspace, pictures, 1, 1)
    assert shard(workspace, pictures, 1, 1).num_made == NUM_PICTURES - 18
