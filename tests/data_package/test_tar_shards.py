import gzip
import io
import pickle
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elfs.data.decoding import BadImageError
from elfs.data.loaders import load_images
from elfs.data.samples import SampleTable, Split
from elfs.data.sources import open_source, tar_damage
from elfs.data.sources.tar_shards import TarSource
from elfs.errors import InputDataError

LIMIT = 1_000_000
PHOTOS, MASKS = {"0": 10, "1": 11, "2": 12}, {"0": 20, "1": 21, "2": 22}
ENDINGS = {".JPG": 10, ".seg.png": 20, ".txt": 30}


def picture(level: int, image_format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (level, level, level)).save(file, image_format)
    return file.getvalue()


def write(path: Path, members: list[tuple[str, bytes]], image_format: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=image_format) as shard:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    return path


def ids(table: SampleTable) -> list[str]:
    return table.ids(range(len(table)))


def levels(source: TarSource, table: SampleTable) -> list[int]:
    reader = pickle.loads(pickle.dumps(source.reader(table)))
    return [int(np.asarray(reader.read(row))[0, 0, 0]) for row in range(len(table))]


def test_keys_are_the_ids_where_they_are_unique(tmp_path: Path) -> None:
    write(tmp_path / "b.tar", [("0003.jpg", picture(30, "JPEG")), ("0003.json", b"{}"), ("0003.cls", b"7")])
    write(tmp_path / "a.tar", [("x/0001.seg.png", picture(1)), ("./0002.webp", picture(2)), ("0002.txt", b"a")])
    source = TarSource(tmp_path, LIMIT)
    table = source.list()
    assert ids(table) == ["x/0001", "0002", "0003"]
    assert table.num_bytes[0] == len(picture(1))
    assert table.split.tolist() == [Split.TRAIN] * 3
    assert levels(source, table)[::2] == [1, 30]
    assert (source.name, source.channels, source.mirror, source.num_classes) == ("tar", 3, True, None)
    assert source.has_images


def test_repeated_keys_are_told_apart_by_the_shard(tmp_path: Path) -> None:
    for number in (0, 1):
        write(tmp_path / "s" / f"{number}.tar", [("000.png", picture(number)), ("001.png", picture(10 + number))])
    source = TarSource(tmp_path, LIMIT)
    table = source.list()
    assert ids(table) == ["s/0/000", "s/0/001", "s/1/000", "s/1/001"]
    assert levels(source, table) == [0, 10, 1, 11]


def test_several_images_of_a_sample_are_told_apart_by_the_whole_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    members = [("0.left.png", picture(1)), ("0.right.png", picture(2)), ("1.png", picture(3)), ("1.png", picture(4))]
    source = TarSource(write(tmp_path / "pairs.tar", members), LIMIT)
    table = source.list()
    assert ids(table) == ["0.left.png", "0.right.png", "1.png"]
    assert ids(TarSource(tmp_path, LIMIT).list()) == ["pairs/0.left.png", "pairs/0.right.png", "pairs/1.png"]
    assert levels(source, table) == [1, 2, 4]
    assert "1 members of tar files are replaced by later ones of the same name" in caplog.text


def test_a_part_of_the_rows_is_found_by_id(tmp_path: Path) -> None:
    source = TarSource(write(tmp_path / "a.tar", [(f"{level}.png", picture(level)) for level in range(9)]), LIMIT)
    table = source.list().take(np.array([7, 8, 2]))
    assert levels(source, table) == [7, 8, 2]
    write(tmp_path / "a.tar", [("7.png", picture(7))])
    source = TarSource(tmp_path, LIMIT)
    with pytest.raises(InputDataError, match="2 of 3 ids are unknown: '8', '2'; ids look like '7'"):
        source.reader(table)


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_are_ids_and_nothing_is_written(tmp_path: Path, tar_format: int) -> None:
    names = ["/etc/x.png", "../../up.png", "q\"'\n.png", "\u00e9.png", "d" * 60 + "/" + "e" * 90 + ".png"]
    if tar_format != tarfile.USTAR_FORMAT:
        names.append("f" * 200 + ".png")
    write(tmp_path / "s" / "a.tar", [(name, picture(5)) for name in names], tar_format)
    source = TarSource(tmp_path / "s", LIMIT)
    table = source.list()
    assert ids(table) == [name.removeprefix("../../").removeprefix("/").removesuffix(".png") for name in names]
    assert set(levels(source, table)) == {5}
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tar", "s"]


def test_only_regular_visible_members_with_an_images_extension_count(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for name, kind in (("d.png", tarfile.DIRTYPE), ("l.png", tarfile.SYMTYPE), ("p.png", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            shard.addfile(member)
        for name in ("x.PNG", "._x.png", "y.txt"):
            member = tarfile.TarInfo(name)
            member.size = len(picture(1))
            shard.addfile(member, io.BytesIO(picture(1)))
    assert ids(TarSource(tmp_path, LIMIT).list()) == ["x"]


def test_splits_follow_the_shards(tmp_path: Path) -> None:
    for name in ("train-0", "train-1", "val-0"):
        write(tmp_path / f"{name}.tar", [(f"{name}.png", picture(1))])
    assert TarSource(tmp_path, LIMIT).list().split.tolist() == [Split.TRAIN, Split.TRAIN, Split.TEST]


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz"])
def test_compressed_shards_are_refused(tmp_path: Path, name: str) -> None:
    plain = write(tmp_path / "plain.tar", [("a.png", picture(1))])
    packed = gzip.compress(plain.read_bytes())
    plain.unlink()
    (tmp_path / name).write_bytes(packed)
    for root in (tmp_path, tmp_path / name):
        with pytest.raises(InputDataError, match=r"a\.t.* is compressed: its images cannot be reached") as caught:
            TarSource(root, LIMIT).list()
        assert caught.value.hint == f"gunzip {tmp_path / name}"
    (tmp_path / name).rename(tmp_path / "disguised.tar")
    with pytest.raises(InputDataError, match=r"disguised\.tar is compressed") as caught:
        TarSource(tmp_path, LIMIT).list()
    assert caught.value.hint is None


def test_a_shard_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", [("a.png", picture(1)), ("b.png", bytes(5000))])
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputDataError, match=r"a\.tar is no tar file that can be read to its end: unexpected end"):
        TarSource(tmp_path, LIMIT).list()
    path.write_bytes(b"no tar file, but long enough for a header " * 20)
    with pytest.raises(InputDataError, match=r"a\.tar is no tar file that can be read to its end"):
        TarSource(tmp_path, LIMIT).list()


def test_a_shard_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.tar", [("a.png", picture(1))])

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tar_damage.Shard, "open", denied)
    with pytest.raises(InputDataError, match=r"a\.tar cannot be read: Permission denied \(EACCES\)"):
        TarSource(tmp_path, LIMIT).list()


def test_shards_without_images(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", [("a.txt", b"x")])
    with pytest.raises(InputDataError, match="no image in the 1 tar files of "):
        TarSource(tmp_path, LIMIT).list()


def test_row_44_a_shard_that_changes_later_leaves_its_images_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", [("a.png", picture(1)), ("b.png", picture(2))])
    source = TarSource(path, LIMIT)
    reader = source.reader(source.list())
    path.write_bytes(path.read_bytes()[:1600])
    with pytest.raises(BadImageError, match=r"^broken: the shard ends after \d+ of its \d+ bytes$"):
        reader.read(1)
    path.unlink()
    with pytest.raises(BadImageError, match=r"^missing: No such file or directory \(ENOENT\)$"):
        reader.read(0)


def test_row_29_a_member_too_long_for_its_pixels_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elfs.data.sources.folder._MAX_OVERHEAD_BYTES", 0)
    source = TarSource(write(tmp_path / "a.tar", [("a.png", bytes(65))]), 4)
    with pytest.raises(BadImageError, match=r"^too_large: a member of 65 bytes, expected at most 64$"):
        source.reader(source.list()).read(0)


@pytest.mark.slow
def test_worker_processes_read_shards(tmp_path: Path) -> None:
    import torch

    write(tmp_path / "a.tar", [(f"{level:03d}.png", picture(level)) for level in range(130)])
    source = open_source("tar", tmp_path)
    images = load_images(source.reader(source.list()), torch.arange(130), 4, num_workers=2)
    assert images[:, 0, 0, 0].tolist() == list(range(130))


def test_listing_keeps_no_object_for_each_member(tmp_path: Path) -> None:
    count = 3000
    write(tmp_path / "a.tar", [(f"{number:06d}.jpg", b"") for number in range(count)], tarfile.USTAR_FORMAT)
    source = TarSource(tmp_path, LIMIT)
    source.list()
    tracemalloc.start()
    table = source.list()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(table) == count
    assert peak < 200 * count + 100_000


def test_row_18_names_that_lead_out_of_the_archive_stay_inside(tmp_path: Path) -> None:
    names = ["../../etc/a.png", "/abs/b.png", "x/../../c.png", "./../d.png", "//e.png"]
    path = write(tmp_path / "s.tar", [(name, picture(level)) for level, name in enumerate(names)])
    source = TarSource(path, LIMIT)
    assert ids(source.list()) == ["etc/a", "abs/b", "x/c", "d", "e"]
    assert levels(source, source.list()) == [0, 1, 2, 3, 4]


def eight(path: Path) -> tuple[bytes, list[int]]:
    """Write a shard of eight images; return it and where its headers are."""
    write(path, [(f"{level:03}.png", picture(level)) for level in range(8)], tarfile.USTAR_FORMAT)
    with tarfile.open(path) as shard:
        return path.read_bytes(), [member.offset for member in shard]


@pytest.mark.parametrize("damage", ["flipped", "zeroed", "random"])
@pytest.mark.parametrize("which", [0, 3, 7])
def test_a_damaged_header_costs_its_member_and_is_told(
    tmp_path: Path, damage: str, which: int, caplog: pytest.LogCaptureFixture
) -> None:
    whole, starts = eight(tmp_path / "a.tar")
    data, start = bytearray(whole), starts[which]
    if damage == "flipped":
        data[start + 5] ^= 0x20
    else:
        noise = np.random.default_rng(0).integers(0, 256, 512, np.uint8).tobytes()
        data[start : start + 512] = bytes(512) if damage == "zeroed" else noise
    (tmp_path / "a.tar").write_bytes(data)
    source = TarSource(tmp_path / "a.tar", LIMIT)
    assert ids(source.list()) == [f"{level:03}" for level in range(8) if level != which]
    assert levels(source, source.list()) == [level for level in range(8) if level != which]
    assert f"a.tar is damaged: no header of a member at byte {start:,}".replace(",", "") in caplog.text


def test_a_shard_that_ends_in_a_header_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole, starts = eight(tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes(whole[: starts[5] + 300])
    assert len(TarSource(tmp_path, LIMIT).list()) == 5
    assert f"no header of a member at byte {starts[5]}; what follows is not listed" in caplog.text


def test_joined_archives_are_listed_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, _ = eight(tmp_path / "first.tar")
    second = write(
        tmp_path / "second.tar", [(f"{level:03}.png", picture(level)) for level in range(8, 16)]
    ).read_bytes()
    joined = tmp_path / "all" / "joined.tar"
    joined.parent.mkdir()
    joined.write_bytes(first + second)
    source = TarSource(joined, LIMIT)
    assert levels(source, source.list()) == list(range(16))
    assert not caplog.text


def test_text_is_no_shard(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(InputDataError, match=r"a\.tar is no tar file that can be read to its end: it begins with no"):
        TarSource(tmp_path, LIMIT).list()


def test_links_inside_a_shard_are_read_and_others_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    links = [
        ("b/2.png", tarfile.LNKTYPE, "a/0.png"),
        ("b/3.png", tarfile.SYMTYPE, "../a/1.png"),
        ("b/4.png", tarfile.SYMTYPE, "3.png"),
        ("b/5.png", tarfile.SYMTYPE, "/etc/x.png"),
        ("b/6.png", tarfile.SYMTYPE, "../../a/1.png"),
        ("b/7.png", tarfile.LNKTYPE, "a/9.png"),
    ]
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for level in range(2):
            member = tarfile.TarInfo(f"./a/{level}.png")
            member.size = len(picture(level))
            shard.addfile(member, io.BytesIO(picture(level)))
        for name, kind, target in links:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            shard.addfile(member)
    source = TarSource(tmp_path, LIMIT)
    assert ids(source.list()) == ["a/0", "a/1", "b/2", "b/3", "b/4"]
    assert levels(source, source.list()) == [0, 1, 0, 1, 1]
    assert "3 links lead to no member of it and are not listed" in caplog.text


def test_masks_beside_images_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    members = [(name, picture(1)) for number in range(3) for name in (f"{number}.jpg", f"{number}.seg.png")]
    assert len(TarSource(write(tmp_path / "a.tar", members), LIMIT).list()) == 6
    assert "3 samples have several images each, such as 0.jpg and 0.seg.png" in caplog.text
    assert "tar:PATH:.EXTENSION takes those whose names end so" in caplog.text


def test_a_warning_is_given_once_by_a_source(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = TarSource(write(tmp_path / "a.tar", [("0.jpg", picture(1)), ("0.seg.png", picture(2))]), LIMIT)
    for _ in range(2):
        assert source.reader(source.list()).read(0).size == (4, 4)
    assert caplog.text.count("have several images each") == 1


@pytest.mark.parametrize(
    ("suffix", "found"),
    [(".jpg", PHOTOS), (".seg.png", MASKS), (".png", MASKS)],
)
def test_a_suffix_takes_the_images_or_the_masks_alone(
    suffix: str, found: dict[str, int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    members = [
        (f"{number}{ending}", picture(level + number)) for number in range(3) for ending, level in ENDINGS.items()
    ]
    source = open_source(f"tar:{suffix}", write(tmp_path / "a.tar", members), max_pixels=LIMIT)
    assert isinstance(source, TarSource)
    assert dict(zip(ids(source.list()), levels(source, source.list()), strict=True)) == found
    assert open_source(source.name, source.root, max_pixels=LIMIT) == source
    assert caplog.text == ""


def test_a_suffix_that_no_member_has_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", [("0.png", picture(1))])
    with pytest.raises(InputDataError, match=r"^no image whose name ends in '\.jpg' in the 1 tar files of "):
        TarSource(tmp_path, LIMIT, ".jpg").list()


@pytest.mark.parametrize("place", [".cache/old.tar.gz", ".old.tgz", "annotations.tar.gz", "x/more.tar.xz"])
def test_archives_beside_shards_do_not_stop_a_run(tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "000.tar", [("a.png", picture(1))])
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_bytes(gzip.compress(b"x"))
    assert ids(TarSource(tmp_path, LIMIT).list()) == ["a"]
    assert ("is compressed and no shard: it is left out" in caplog.text) == (not place.startswith("."))


LONG = "d" * 90 + "/" + "n" * 60


@pytest.mark.parametrize("image_format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", [LONG, "\u00fc"])
@pytest.mark.parametrize("content", [bytes(512), b"\x87garbage" * 64, b"11 path=a\0\n" + bytes(501)])
def test_a_long_name_that_is_lost_costs_its_member_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, image_format: int, name: str, content: bytes
) -> None:
    path = write(tmp_path / "a.tar", [(f"{name}{row}.png", picture(row)) for row in range(4)], image_format)
    with tarfile.open(path) as shard:
        member = shard.getmembers()[2]
    if member.offset_data - member.offset == 512:
        pytest.skip("this format has such a name in the header itself")
    data = bytearray(path.read_bytes())
    data[member.offset + 512 : member.offset + 1024] = content
    path.write_bytes(data)
    assert ids(TarSource(path, LIMIT).list()) == [f"{name}{row}" for row in (0, 1, 3)]
    assert f"the name of the member at byte {member.offset}; it is not listed" in caplog.text


@pytest.mark.parametrize("image_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_shard_without_an_end_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture, image_format: int) -> None:
    path = write(tmp_path / "a.tar", [(f"{row}.png", picture(row)) for row in range(4)], image_format)
    with tarfile.open(path) as shard:
        start = shard.getmembers()[2].offset
    path.write_bytes(path.read_bytes()[:start])
    assert len(TarSource(path, LIMIT).list()) == 2
    assert "no end of an archive behind its last member" in caplog.text


@pytest.mark.parametrize("image_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_whole_shards_are_listed_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, image_format: int
) -> None:
    path = write(
        tmp_path / "a.tar", [(f"{'e' * 80}/{'f' * 60}{row}.png", picture(row)) for row in range(4)], image_format
    )
    with tarfile.open(tmp_path / "b.tar", "w", pax_headers={"comment": "as git archive writes"}) as shard:
        shard.add(path, "no image")
        member = tarfile.TarInfo("9.png")
        member.mtime, member.size = 1.5, len(picture(9))
        shard.addfile(member, io.BytesIO(picture(9)))
    assert len(TarSource(path, LIMIT).list()) == 4
    assert ids(TarSource(tmp_path / "b.tar", LIMIT).list()) == ["9"]
    assert not caplog.messages
