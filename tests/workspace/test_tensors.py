import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from elfs.errors import CorruptArtifactError, StorageError
from elfs.workspace import tensors
from elfs.workspace.tensors import DTYPES, RowArray, load_tensors, save_tensors


def every_dtype() -> dict[str, np.ndarray]:
    values = np.random.default_rng(0).integers(0, 2, size=(3, 5))
    return {name.lower(): values.astype(dtype) for name, dtype in DTYPES.items()}


def raw(header: Any, data: bytes = b"", *, size: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if size is None else size).to_bytes(8, "little") + text + data


def entry(start: int, stop: int, *, dtype: str = "U8", shape: Any = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [stop - start] if shape is None else shape, "data_offsets": [start, stop]}


def test_round_trip_of_every_dtype(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, every_dtype(), {"what": "test"})
    loaded = load_tensors(path)
    assert list(loaded) == sorted(every_dtype())
    for name, expected in every_dtype().items():
        assert loaded[name].dtype == expected.dtype
        np.testing.assert_array_equal(loaded[name], expected)
        assert isinstance(loaded[name], np.memmap)
        assert not loaded[name].flags.writeable
        assert loaded[name].flags.aligned


@pytest.mark.parametrize("shape", [(), (0,), (0, 7), (1, 1, 1)])
def test_round_trip_of_odd_shapes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"x": np.ones(shape, np.float32), "y": np.ones(shape, np.uint8)})
    loaded = load_tensors(path)
    assert loaded["x"].shape == loaded["y"].shape == shape
    np.testing.assert_array_equal(loaded["x"], np.ones(shape, np.float32))


def test_no_tensors_at_all(tmp_path: Path) -> None:
    save_tensors(tmp_path / "x", {})
    assert load_tensors(tmp_path / "x") == {}


def test_layout_and_byte_order_of_the_input_do_not_matter(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    variants = [values, np.asfortranarray(values), values.astype(">f4"), np.repeat(values, 2, axis=1)[:, ::2]]
    contents = set()
    for variant in variants:
        save_tensors(tmp_path / "x", {"x": variant})
        contents.add((tmp_path / "x").read_bytes())
    assert len(contents) == 1
    np.testing.assert_array_equal(load_tensors(tmp_path / "x")["x"], values)


def test_the_library_reads_what_we_write(tmp_path: Path) -> None:
    save_tensors(tmp_path / "x", every_dtype(), {"b": "1", "a": "\u00e9"})
    loaded = safetensors.numpy.load_file(tmp_path / "x")
    assert set(loaded) == set(every_dtype())
    for name, expected in every_dtype().items():
        np.testing.assert_array_equal(loaded[name], expected)
    with safetensors.safe_open(tmp_path / "x", "np") as file:
        assert file.metadata() == {"a": "\u00e9", "b": "1"}


def test_we_read_what_the_library_writes(tmp_path: Path) -> None:
    safetensors.numpy.save_file(every_dtype(), tmp_path / "x", metadata={"b": "1", "a": "2"})
    loaded = load_tensors(tmp_path / "x")
    for name, expected in every_dtype().items():
        np.testing.assert_array_equal(loaded[name], expected)


def test_equal_values_give_equal_bytes_in_any_process_and_order(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, numpy as np\n"
        "from elfs.workspace.tensors import save_tensors\n"
        "names = sys.argv[2].split(',')\n"
        "save_tensors(pathlib.Path(sys.argv[1]), {n: np.arange(len(n)) for n in names}, dict.fromkeys(names, 'v'))\n"
    )
    contents = set()
    for seed, names in enumerate(["a,bb,ccc,dddd,eeeee", "eeeee,ccc,a,dddd,bb"]):
        path = tmp_path / "x"
        environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
        subprocess.run([sys.executable, "-c", script, str(path), names], check=True, env=environment)
        contents.add(path.read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize(
    ("name", "dtype", "message"),
    [
        ("x", np.complex64, "tensor 'x' has dtype complex64, expected one of bool"),
        ("x", "U3", "tensor 'x' has dtype <U3"),
        ("__metadata__", np.uint8, "the name is reserved"),
    ],
)
def test_save_refuses(tmp_path: Path, name: str, dtype: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        save_tensors(tmp_path / "x", {name: np.zeros(2, dtype)})
    assert os.listdir(tmp_path) == []


ALIGNED = {"a": entry(0, 4), "b": entry(4, 8)}
HOSTILE = {
    "empty file": (b"", "truncated: 0 bytes"),
    "seven bytes": (b"\0" * 7, "truncated: 7 bytes"),
    "header length past the end": (raw({}, size=3), "truncated: 10 bytes, its header alone needs 11"),
    "header length of 2^63": (raw({}, size=2**63), "header of 9,223,372,036,854,775,808 bytes, expected at most"),
    "no header": (raw(b""), "the header of .* is not valid JSON"),
    "not JSON": (raw(b"hello"), "is not valid JSON"),
    "not UTF-8": (raw(b'{"\xff": 1}'), "is not valid JSON: 'utf-8'"),
    "a list": (raw([]), r"is \[\], expected an object"),
    "duplicate names": (raw(b'{"a": {}, "a": {}}'), "duplicate key 'a'"),
    "deep nesting": (raw(b"[" * 100_000), "nested too deeply"),
    "entry is a number": (raw({"a": 1}), "tensor 'a' is 1, expected dtype, shape and data_offsets"),
    "entry lacks a field": (raw({"a": {"dtype": "U8", "shape": []}}), "expected dtype, shape and data_offsets"),
    "entry has one too many": (raw({"a": {**entry(0, 0), "x": 1}}), "expected dtype, shape and data_offsets"),
    "unknown dtype": (raw({"a": entry(0, 2, dtype="BF16")}, b"12"), "has dtype 'BF16', expected one of BOOL"),
    "dtype is a list": (raw({"a": {**entry(0, 0), "dtype": []}}), r"has dtype \[\]"),
    "shape is a number": (raw({"a": entry(0, 1, shape=1)}, b"1"), "has shape 1, expected a list of sizes"),
    "negative size": (raw({"a": entry(0, 1, shape=[-1, -1])}, b"1"), r"has shape \[-1, -1\]"),
    "size true": (raw({"a": entry(0, 1, shape=[True])}, b"1"), r"has shape \[True\]"),
    "size 1.0": (raw({"a": entry(0, 1, shape=[1.0])}, b"1"), r"has shape \[1.0\]"),
    "size beyond 63 bits": (raw({"a": entry(0, 0, shape=[0, 2**63])}), "has shape"),
    "a hundred dimensions": (raw({"a": entry(0, 1, shape=[1] * 100)}, b"1"), "has shape"),
    "empty but too large": (raw({"a": entry(0, 0, shape=[0, 2**62, 2**62])}), "has a wrong shape"),
    "three offsets": (raw({"a": {**entry(0, 0), "data_offsets": [0, 0, 0]}}), "expected two numbers"),
    "negative offset": (raw({"a": {**entry(0, 0), "data_offsets": [-1, -1]}}), "expected two numbers"),
    "backward": (raw({"a": {**entry(0, 2), "data_offsets": [2, 0]}}, b"12"), "has -2 bytes, too few or too many"),
    "size and offsets differ": (raw({"a": entry(0, 4, dtype="F32", shape=[2])}, b"1234"), "has 4 bytes, too few"),
    "overlap": (raw({"a": entry(0, 4), "b": entry(3, 7)}, b"1234567"), "'b' overlaps its neighbour: 3, expected 4"),
    "same place twice": (raw({"a": entry(0, 4), "b": entry(0, 4)}, b"1234"), "'b' overlaps"),
    "hole": (raw({"a": entry(0, 4), "b": entry(5, 8)}, b"12345678"), "'b' leaves a hole before it: 5, expected 4"),
    "hole at the start": (raw({"a": entry(1, 4)}, b"1234"), "leaves a hole before it: 1, expected 0"),
    "data cut off": (raw(ALIGNED, b"1234567"), "is truncated: .* bytes, expected"),
    "no data": (raw(ALIGNED), "is truncated"),
    "data left over": (raw(ALIGNED, b"123456789"), r"has \d+ bytes, expected \d+"),
    "past the end": (raw({"a": entry(0, 2**40)}, b"1"), "is truncated"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, case: str) -> None:
    data, message = HOSTILE[case]
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(CorruptArtifactError, match=message):
        load_tensors(tmp_path / "x")


def test_the_file_that_the_hostile_ones_spoil_is_fine(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(raw({**ALIGNED, "__metadata__": {"k": "v"}}, b"12345678"))
    assert bytes(load_tensors(tmp_path / "x")["b"]) == b"5678"


def test_header_limit_is_checked_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tensors.MAX_HEADER_BYTES == 100_000_000
    save_tensors(tmp_path / "x", {"x": np.zeros(3)})
    monkeypatch.setattr(tensors, "MAX_HEADER_BYTES", 8)
    with pytest.raises(CorruptArtifactError, match="expected at most 8"):
        load_tensors(tmp_path / "x")


def test_missing_directory_pipe_and_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("gone", ".", "pipe"):
        with pytest.raises(CorruptArtifactError, match="is missing, or not a file"):
            load_tensors(tmp_path / name)
    save_tensors(tmp_path / "x", {"x": np.zeros(3)})

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageError, match=r"cannot read .*x: Permission denied"):
        load_tensors(tmp_path / "x")


@pytest.fixture
def rows() -> RowArray:
    whole = np.arange(20, dtype=np.int32).reshape(10, 2)
    return RowArray([whole[:4], whole[4:5], whole[5:]])


def test_row_array_looks_like_the_whole(rows: RowArray) -> None:
    assert rows.shape == (10, 2)
    assert len(rows) == 10
    assert rows.dtype == np.int32


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (0, 0), (10, 10), (3, 6), (4, 5), (5, 10), (0, 4), (2, 3)])
def test_row_array_read(rows: RowArray, start: int, stop: int) -> None:
    np.testing.assert_array_equal(rows.read(start, stop), np.arange(20).reshape(10, 2)[start:stop])


@pytest.mark.parametrize("wanted", [[], [0], [9, 0, 4, 4, 9, 5, 3], list(range(10)), [7] * 3])
def test_row_array_take_in_any_order_with_repeats(rows: RowArray, wanted: list[int]) -> None:
    taken = rows.take(wanted)
    assert taken.dtype == np.int32
    assert taken.shape == (len(wanted), 2)
    np.testing.assert_array_equal(taken, np.arange(20).reshape(10, 2)[np.array(wanted, dtype=int)])


def test_row_array_with_empty_shards() -> None:
    empty, full = np.zeros(0), np.arange(3.0)
    rows = RowArray([empty, full, empty, full, empty])
    np.testing.assert_array_equal(rows.take([5, 0, 3, 2]), [2.0, 0.0, 0.0, 2.0])
    np.testing.assert_array_equal(rows.read(2, 4), [2.0, 0.0])
    assert RowArray([empty]).take([]).shape == (0,)


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (0, 11), (5, 4)])
def test_row_array_read_out_of_range(rows: RowArray, start: int, stop: int) -> None:
    with pytest.raises(IndexError, match=f"rows {start} to {stop} are outside 0 to 10"):
        rows.read(start, stop)


@pytest.mark.parametrize("row", [-1, 10])
def test_row_array_take_out_of_range(rows: RowArray, row: int) -> None:
    with pytest.raises(IndexError, match=f"{row}.* outside 0 to 9"):
        rows.take([3, row])


def test_row_array_takes_rows_in_blocks(rows: RowArray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "_TAKEN_ROWS", 3)
    wanted = np.array([9, 0, 9, 5, 1, 8, 2, 2])
    np.testing.assert_array_equal(rows.take(wanted), np.arange(20).reshape(10, 2)[wanted])


def test_row_array_take_from_nothing() -> None:
    with pytest.raises(IndexError, match="rows 0 to 0 are outside"):
        RowArray([np.zeros((0, 2))]).take([0])


def test_row_array_refuses_shards_that_do_not_fit() -> None:
    first = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match="at least one shard"):
        RowArray([])
    for other in (np.zeros((2, 4), np.float32), np.zeros((2, 3)), np.zeros(2, np.float32)):
        with pytest.raises(ValueError, match="shards differ"):
            RowArray([first, other])
    with pytest.raises(ValueError, match="shards differ"):
        RowArray([np.array(1.0)])


def test_row_array_columns() -> None:
    whole = np.arange(24).reshape(6, 4)
    array = RowArray([whole[:1], whole[1:1], whole[1:5], whole[5:]])
    for start, stop in ((0, 4), (1, 3), (2, 2), (3, 4)):
        np.testing.assert_array_equal(array.columns(start, stop), whole[:, start:stop])
    for start, stop in ((-1, 2), (3, 2), (0, 5)):
        with pytest.raises(IndexError, match=rf"^columns {start} to {stop} are outside those of shape \(6, 4\)\.$"):
            array.columns(start, stop)
    with pytest.raises(IndexError, match=r"^columns 0 to 0 are outside those of shape \(3,\)\.$"):
        RowArray([np.arange(3)]).columns(0, 0)
