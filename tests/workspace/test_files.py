import errno
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from elfs.errors import CorruptArtifactError, StorageError
from elfs.workspace import documents, files, paths, temporary
from elfs.workspace.temporary import TEMPORARY_NAME


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def test_atomic_write_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with files.atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
        assert any(TEMPORARY_NAME.search(name) for name in names(tmp_path))
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["x.bin"]


@pytest.mark.parametrize("error", [RuntimeError("body"), KeyboardInterrupt()])
def test_atomic_write_keeps_the_old_file_when_the_body_fails(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")
    with pytest.raises(type(error)), files.atomic_write(path) as file:  # noqa: PT012
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x.bin"]


@pytest.mark.parametrize(
    ("code", "hint"), [(errno.ENOSPC, "df -h"), (errno.EDQUOT, "df -h"), (errno.EACCES, "ls -ld"), (errno.EROFS, "ls")]
)
@pytest.mark.parametrize("operation", ["replace", "fsync"])
def test_atomic_write_names_path_and_free_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, hint: str, operation: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, operation, fail)
    path = tmp_path / "x.bin"
    with (
        pytest.raises(
            StorageError, match=rf"cannot write .*x\.bin: {os.strerror(code)}; [\d,]+ bytes are free"
        ) as info,
        files.atomic_write(path) as file,
    ):
        file.write(b"new")
    assert info.value.exit_code == 7
    assert info.value.hint is not None
    assert info.value.hint.startswith(hint)
    assert names(tmp_path) == []


def test_atomic_write_into_a_missing_directory(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"gone/x: No such file or directory; [\d,]+ bytes"),
        files.atomic_write(tmp_path / "gone" / "x"),
    ):
        pass


def test_a_directory_in_the_place_of_a_file_is_named_by_the_hint(tmp_path: Path) -> None:
    place = tmp_path / "x.bin"
    place.mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*Is a directory") as info, files.atomic_write(place) as file:
        file.write(b"new")
    assert info.value.hint == f"ls -ld {place}"
    assert names(tmp_path) == ["x.bin"]


def test_storage_errors_leaves_errors_of_elfs_alone(tmp_path: Path) -> None:
    inner = StorageError("inner")
    with pytest.raises(StorageError, match=r"^inner$") as info, files.storage_errors("write", tmp_path):
        raise inner
    assert info.value is inner


def test_reading_errors_do_not_speak_of_free_bytes(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*x: No such file or directory\.$"):
        files.sha256_file(tmp_path / "x")


def test_sync_directory_where_the_file_system_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = [errno.EINVAL, errno.EIO]

    def fail(_: int) -> None:
        code = codes.pop(0)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)
    files.sync_directory(tmp_path)
    with pytest.raises(OSError, match="Input/output error"):
        files.sync_directory(tmp_path)


def test_make_directory(tmp_path: Path) -> None:
    files.make_directory(tmp_path / "a" / "b")
    files.make_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot make directory"):
        files.make_directory(tmp_path / "file" / "c")


def test_remove_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    files.remove_file(path)
    files.remove_file(path)
    assert not path.exists()
    with pytest.raises(StorageError, match="cannot remove"):
        files.remove_file(tmp_path)


def test_remove_leftovers_spares_living_processes_and_other_names(tmp_path: Path) -> None:
    dead = 999_999_999  # above the largest process id of any system
    (tmp_path / "deep").mkdir()
    for name in (f"a.tmp-{dead}-0123abcd", f"deep/b.tmp-{dead}-0123abcd"):
        (tmp_path / name).write_bytes(b"")
    kept = [f"a.tmp-{os.getpid()}-0123abcd", "a.tmp-1-0123abcd", "mine.tmp-x", f"c.tmp-{dead}-0123abcd.txt"]
    for name in kept:
        (tmp_path / name).write_bytes(b"")
    files.remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted([*kept, "deep"])
    assert names(tmp_path / "deep") == []


def test_remove_leftovers_cannot_ask_about_processes_of_other_hosts(tmp_path: Path) -> None:
    """Shards on several hosts write to one folder: a process that does not run here may run there."""
    dead, here = 999_999_999, temporary.host_mark()
    other = "0" * 8 if here != "0" * 8 else "1" * 8
    for name in (f"a.tmp-{dead}-{other}0123abcd", f"b.tmp-{dead}-{other}0123abcd", f"c.tmp-{dead}-{here}0123abcd"):
        (tmp_path / name).write_bytes(b"")
    day_old = time.time() - 25 * 60 * 60
    os.utime(tmp_path / f"b.tmp-{dead}-{other}0123abcd", (day_old, day_old))
    files.remove_leftovers(tmp_path)
    assert names(tmp_path) == [f"a.tmp-{dead}-{other}0123abcd"]


def test_temporary_names_say_who_writes(tmp_path: Path) -> None:
    name = temporary.temporary_name("x.bin")
    match = TEMPORARY_NAME.search(name)
    assert match is not None
    assert match.groups() == (str(os.getpid()), temporary.host_mark())
    assert name.startswith("x.bin.tmp-")
    assert temporary.temporary_name("x.bin") != name
    (tmp_path / name).write_bytes(b"")
    assert not temporary.is_abandoned(tmp_path / name)
    assert not temporary.is_abandoned(tmp_path / f"gone.tmp-999999999-{temporary.host_mark()}0123abcd")


def test_hosts_and_containers_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = set()
    for node, namespace in (("a", "pid:[1]"), ("b", "pid:[1]"), ("a", "pid:[2]")):
        monkeypatch.setattr("platform.node", lambda node=node: node)
        monkeypatch.setattr("os.readlink", lambda _, namespace=namespace: namespace)
        marks.add(temporary.host_mark.__wrapped__())
    monkeypatch.setattr("os.readlink", lambda _: os.stat("/nowhere"))
    marks.add(temporary.host_mark.__wrapped__())
    assert len(marks) == 4


@pytest.mark.parametrize("links", [True, False])
def test_write_once_keeps_what_came_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "x"
    assert files.write_once(path, b"first") == b"first"
    assert files.write_once(path, b"second") == b"first"
    assert (names(tmp_path), path.read_bytes()) == (["x"], b"first")


def test_digests_are_the_published_ones(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert files.sha256_file(tmp_path / "x") == digest
    empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"  # of the two bytes {}
    assert files.digest_json({}) == empty


def test_digest_of_json_ignores_order_and_sees_values() -> None:
    assert files.digest_json({"a": 1, "b": [1.5, None]}) == files.digest_json({"b": [1.5, None], "a": 1})
    assert files.digest_json({"a": 1}) != files.digest_json({"a": 1.0})
    with pytest.raises(ValueError, match="Out of range float"):
        files.digest_json(float("nan"))


def test_json_bytes() -> None:
    assert files.json_bytes({"b": 1, "a": "\u00e9"}) == '{\n  "a": "\u00e9",\n  "b": 1\n}\n'.encode()
    with pytest.raises(ValueError, match="Out of range float"):
        files.json_bytes({"loss": float("inf")})


def test_json_bytes_of_a_path_that_is_no_utf8() -> None:
    name = os.fsdecode(b"\xe9t\xe9/\\")
    assert json.loads(files.json_bytes(name)) == name
    assert documents.parse_json(files.json_bytes(name), "x") == name


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x is not valid JSON: Expecting value"),
        (b"{", "not valid JSON"),
        (b"\xff", "not valid JSON: 'utf-8' codec"),
        (b'{"a": 1, "a": 2}', "duplicate key 'a'"),
        (b'{"b": {"a": 1, "a": 2}}', "duplicate key 'a'"),
        (b"[NaN]", "NaN is not a JSON number"),
        (b"[-Infinity]", "-Infinity is not a JSON number"),
        (b"1" * 5000, "not valid JSON: 1+.* has too many digits"),
        (b"[" * 200_000, "x is nested too deeply"),
        (b'{"a":' * 200_000, "x is nested too deeply"),
    ],
)
def test_parse_json_refuses(data: bytes, message: str) -> None:
    with pytest.raises(CorruptArtifactError, match=message):
        documents.parse_json(data, "x")


def test_parse_json_has_a_size_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert documents.MAX_JSON_BYTES == 256 * 2**20
    monkeypatch.setattr(documents, "MAX_JSON_BYTES", 4)
    assert documents.parse_json(b"1234", "x") == 1234
    with pytest.raises(CorruptArtifactError, match="x is larger than 4 bytes"):
        documents.parse_json(b"12345", "x")


@pytest.mark.parametrize("name", ["a", "a/b.c", "selections/\u00e9lan 0.1/x.csv", "a" * 255, "..a", "a..", "-x"])
def test_plain_paths(name: str) -> None:
    assert paths.is_plain_path(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "a/..",
            "../a",
            "a/./b",
            "C:",
            "C:/a",
            "c:\\a",
            "a\\b",
            "\\\\host\\a",
        ),
        *("a\nb", "a\0", "a\x7f", "a" * 256, "\u00e9" * 128, "a\udce9"),
    ],
)
def test_other_paths(name: str) -> None:
    assert not paths.is_plain_path(name)


def test_path_inside(tmp_path: Path) -> None:
    root = tmp_path / "ws"
    (root / "real").mkdir(parents=True)
    (tmp_path / "alias").symlink_to(root)
    (root / "in").symlink_to(root / "real")
    (root / "out").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    assert paths.path_inside(root, "in/x") == root / "in" / "x"
    assert paths.path_inside(tmp_path / "alias", "real/x") == tmp_path / "alias" / "real" / "x"
    assert paths.path_inside(root, "loop") == root / "loop"
    for name in ("out", "out/x"):
        with pytest.raises(CorruptArtifactError, match="a link that leads out of the workspace"):
            paths.path_inside(root, name)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"1e999", "'1e999' is larger than any number"),
        (b"-1e999", "is larger than any number"),
        (b"[" + b"9" * 21 + b"]", "has too many digits"),
        (b"9" * 5_000, "has too many digits"),
        (b"[" * 900 + b"]" * 900, "is nested too deeply"),
        (b"[" * 64 + b"1" + b"]" * 64, "is nested too deeply"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "is nested too deeply"),
        (b"[" * 100_000, "is nested too deeply"),
        (b"[" + b"[]," * 10_000_000 + b"[]]", "holds about 20,000,002 values, expected at most 2,000,000"),
        (b"{" + b"," * 3_000_000, "values, expected at most 2,000,000"),
    ],
    ids=range(10),
)
def test_row_16_documents_that_cost_time_or_memory_are_refused_at_once(data: bytes, message: str) -> None:
    started = time.process_time()
    with pytest.raises(CorruptArtifactError, match=message):
        documents.parse_json(data, "x.json")
    assert time.process_time() - started < 5


def test_what_is_just_small_enough_is_read() -> None:
    assert documents.parse_json(b"[18446744073709551615, -9223372036854775808, 1e308]", "x") == [
        2**64 - 1,
        -(2**63),
        1e308,
    ]
    value = documents.parse_json(b"[" * 63 + b"1" + b"]" * 63, "x")
    for _ in range(63):
        (value,) = value
    assert value == 1


@pytest.mark.slow
def test_a_directory_may_lie_deep(tmp_path: Path) -> None:
    path = tmp_path / "/".join(["x"] * 1_100)
    files.make_directory(path)
    files.make_directory(path)
    assert path.is_dir()
    subprocess.run(["rm", "-r", str(tmp_path / "x")], check=True)
