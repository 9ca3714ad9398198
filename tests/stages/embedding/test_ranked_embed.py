"""An embed over ranks: the bytes of one process, whatever was there before and whoever goes on."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elfs.config import EmbedConfig
from elfs.errors import DeviceError, InputDataError, RankLostError, StorageError
from elfs.models.pixels import PixelEncoder
from elfs.parallel.ranks import Ranks
from elfs.parallel.runtime import Runtime
from elfs.stages.embedding import rows as embedding_rows
from elfs.stages.embedding.batches import encode_rows
from elfs.stages.embedding.listing import prepare, read_listing, write_listing
from elfs.stages.embedding.rows import require_all
from elfs.stages.embedding.shards import make_shard, merge
from elfs.workspace.pieces import Pieces
from elfs.workspace.workspace import Workspace
from tests.chain import NUM_PICTURES, artifacts_of, config, make_embeddings, make_pictures, run_stage
from tests.ranks import in_ranks

pytestmark = pytest.mark.slow

FILE_ROWS = 9


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As each rank has: sums over several threads round differently."""
    monkeypatch.setattr(embedding_rows, "SHARD_ROWS", FILE_ROWS)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_pictures(tmp_path / "pictures", corrupt=True)


def embed(ranks: Ranks, *calls: tuple[Path, dict[str, Any]]) -> list[list[int]]:
    """Embed several pools one after the other; return the rows that this rank has encoded for each."""
    looked_at: list[list[int]] = []

    def watched(reader: Any, wanted: Any, *others: Any, **options: Any) -> Any:
        looked_at[-1].extend(wanted.tolist())
        return encode_rows(reader, wanted, *others, **options)

    embedding_rows.SHARD_ROWS = FILE_ROWS
    setattr(embedding_rows, "encode_rows", watched)  # noqa: B010
    for workspace, options in calls:
        looked_at.append([])
        run_stage("embed", workspace, runtime=Runtime(devices="cpu", ranks=ranks), **options)
    return looked_at


def assert_same(one: Path, other: Path) -> None:
    assert artifacts_of(one) == artifacts_of(other)
    ours, theirs = (Workspace.open(path).manifest for path in (one, other))
    assert (ours.artifacts, ours.records) == (theirs.artifacts, theirs.records)


def change(pictures: Path) -> None:
    shutil.copy(pictures / "a" / "01.png", pictures / "b" / "000.png")
    shutil.copy(pictures / "a" / "02.png", pictures / "d.png")


@pytest.mark.parametrize("size", [2, 3])
def test_bytes_of_one_process(size: int, pictures: Path, tmp_path: Path) -> None:
    """Encoders that learn and those that do not, pools below the size of a file, own embeddings, and images added."""
    names = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    (tmp_path / "ids.txt").write_text("".join(f"{name}\n" for name in names))
    own = {"embeddings": str(make_embeddings(tmp_path / "own.npy")), "encoder": None}
    calls: list[dict[str, Any]] = [
        {"source": "folder", "root": pictures, "batch_size": 4},
        {"source": "folder", "root": pictures, "encoder": "patches+pixels", "neighbors": 3},
        {"source": "folder", "root": pictures, "limit": 5},
        {"source": "digits", "limit": 30, "encoder": "patches"},
        {"source": "folder", "root": pictures, "ids": str(tmp_path / "ids.txt"), **own},
        {"source": "embeddings", **own},
    ]
    alone, together = ([(tmp_path / kind / str(i), call) for i, call in enumerate(calls)] for kind in "at")
    first = in_ranks(size, embed, *together)
    for (one, options), (other, _) in zip(alone, together, strict=True):
        run_stage("embed", one, **options)
        assert_same(other, one)
    for number, call in enumerate(calls[:3]):
        done = [rank[number] for rank in first]
        num_usable = call.get("limit", NUM_PICTURES)
        assert sorted(row for rows in done for row in rows) == list(range(num_usable))
        assert max(map(len, done)) - min(map(len, done)) <= 1
    change(pictures)
    (workspace, options), (other, _) = together[0], alone[0]
    again = in_ranks(size, embed, (workspace, options))
    assert sorted(row for (rows,) in again for row in rows) == [21, 61]
    shutil.rmtree(other)
    run_stage("embed", other, **options)
    assert_same(workspace, other)


def starved(ranks: Ranks, workspace: Path, options: dict[str, Any], num_passes: int) -> str:
    """Run out of memory after some passes of this rank; return what it says."""
    passes = iter(range(num_passes))

    def starve(self: PixelEncoder, batch: torch.Tensor) -> torch.Tensor:
        if next(passes, None) is None:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return batch.flatten(1)

    embedding_rows.SHARD_ROWS = FILE_ROWS
    PixelEncoder.encode = starve  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match=r"^cpu has not enough memory") as info:
        run_stage("embed", workspace, runtime=Runtime(devices="cpu", ranks=ranks), **options)
    return str(info.value)


def test_another_number_of_ranks_goes_on(pictures: Path, tmp_path: Path, workspace: Path) -> None:
    """Three ranks stop with 8 rows each embedded, in passes of 4; two go on, after a shard has been made too."""
    options: dict[str, Any] = {"source": "folder", "root": pictures, "batch_size": 4}
    said = in_ranks(3, starved, workspace, options, 3)
    assert all(text.startswith("cpu has not enough memory") for text in said)
    pieces = Pieces(next((workspace / "partial" / "embed").iterdir()) / "pieces" / "embeddings", "*")
    assert [(piece.start, piece.stop) for piece in pieces.finished()] == [(0, 9), (20, 27), (40, 45)]
    settings = config("embed", source="folder", batch_size=4)
    assert isinstance(settings, EmbedConfig)
    report = make_shard(workspace, settings, Runtime(devices="cpu"), (6, 6), pictures)
    assert (report.num_made, report.num_finished) == (10, 31)
    found = in_ranks(2, embed, (workspace, options))
    assert sorted(row for (rows,) in found for row in rows) == [*range(9, 20), *range(27, 40), *range(45, 50)]
    run_stage("embed", tmp_path / "straight", **options)
    assert_same(workspace, tmp_path / "straight")


def merge_shards(ranks: Ranks, workspace: Path) -> None:
    embedding_rows.SHARD_ROWS = FILE_ROWS
    assert merge(workspace, Runtime(devices="cpu", ranks=ranks)).ran


def test_ranks_merge_shards(pictures: Path, tmp_path: Path, workspace: Path) -> None:
    settings = config("embed", source="folder", encoder="patches")
    assert isinstance(settings, EmbedConfig)
    for number in (2, 1):
        make_shard(workspace, settings, Runtime(devices="cpu"), (number, 2), pictures)
    in_ranks(2, merge_shards, workspace)
    run_stage("embed", tmp_path / "straight", source="folder", root=pictures, encoder="patches")
    assert_same(workspace, tmp_path / "straight")


def refused(ranks: Ranks, workspace: Path, options: dict[str, Any]) -> str:
    embedding_rows.SHARD_ROWS = FILE_ROWS
    expected = InputDataError if ranks.is_first else (InputDataError, RankLostError)
    with pytest.raises(expected, match=r"images|^rank 0 has given up") as info:
        run_stage("embed", workspace, runtime=Runtime(devices="cpu", ranks=ranks), **options)
    return str(info.value)


def test_more_ranks_than_images(workspace: Path) -> None:
    said = in_ranks(3, refused, workspace, {"source": "digits", "limit": 2})
    assert said[0] == "3 ranks for 2 images: every rank needs at least one. Use --devices for 2 or fewer."
    assert not workspace.exists()


def test_a_rank_that_has_seen_too_many_broken_images_stops_at_once(pictures: Path, workspace: Path) -> None:
    for number in range(20):
        (pictures / "a" / f"{number:02d}.png").write_bytes(b"")
        (pictures / "c" / f"{number:02d}.png").write_bytes(b"")
    options: dict[str, Any] = {"source": "folder", "root": pictures, "batch_size": 4}
    said = in_ranks(2, refused, workspace, options | {"max_broken": 0.1})
    first, second = (text.partition(" images")[0] for text in said)
    assert first == "9 of 60"
    assert second in ("15 of 60", "rank 0 has given up, and so has this one.")  # whichever it sees first


class TestJoin:
    """What another rank does instead of listing the source."""

    def listed(self, pictures: Path, directory: Path) -> EmbedConfig:
        settings = config("embed", source="folder")
        assert isinstance(settings, EmbedConfig)
        directory.mkdir()
        write_listing(prepare(settings, pictures), directory)
        return settings

    def test_the_listing_is_that_of_the_first_rank(self, pictures: Path, tmp_path: Path) -> None:
        settings = self.listed(pictures, tmp_path / "draft")
        (pictures / "a" / "new.png").write_bytes(b"")
        listing = read_listing(settings, pictures, tmp_path / "draft")
        assert len(listing.table) == NUM_PICTURES
        assert listing.table.id(59) == "c/19.png"
        assert listing.inputs.keys() == {"external:source"}
        np.testing.assert_array_equal(listing.reader.read(0), prepare(settings, pictures).reader.read(0))

    @pytest.mark.parametrize("exists", [False, True])
    def test_images_that_are_not_there(
        self, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool
    ) -> None:
        """As where a file system is not mounted: no folder, or an empty one."""
        settings = self.listed(pictures, tmp_path / "draft")
        if exists:
            (tmp_path / "elsewhere").mkdir()
        monkeypatch.setattr("platform.node", lambda: "node7")
        with pytest.raises(InputDataError, match=r"^node7 cannot see the images: none of 16 .* is there \(c/19\.png: "):
            read_listing(settings, tmp_path / "elsewhere", tmp_path / "draft")

    def test_a_source_that_is_not_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        settings = self.listed(make_pictures(tmp_path / "pictures"), tmp_path / "draft")
        monkeypatch.setattr("platform.node", lambda: "node7")
        with pytest.raises(InputDataError, match=r"^node7 cannot see the images: the folder of images is not known"):
            read_listing(settings, None, tmp_path / "draft")


def test_pieces_that_never_show_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_rows, "_PATIENCE_S", 0)
    pieces = Pieces(tmp_path, "mark")
    pieces.save((0, 5), {"x": np.zeros(5)})
    require_all(pieces, 5)
    message = rf"^rows 5 to 8 are finished, but not to be seen in {re.escape(str(tmp_path))}: all ranks have to write"
    with pytest.raises(StorageError, match=message):
        require_all(pieces, 9)
