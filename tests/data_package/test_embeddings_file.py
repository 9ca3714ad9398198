import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from elfs.data import embeddings_file
from elfs.data.embeddings_file import embeddings_shape, finite_rows, load_embeddings
from elfs.errors import InputDataError

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)


def write_npy(folder: Path, values: np.ndarray) -> Path:
    np.save(folder / "values.npy", values)
    return folder / "values.npy"


def refuse(path: Path, message: str) -> None:
    """Hold that a file is refused whether it is read or only its header is, with the same words."""
    with pytest.raises(InputDataError, match=message) as caught:
        load_embeddings(path, None)
    with pytest.raises(InputDataError, match=message) as by_header:
        embeddings_shape(path)
    assert by_header.value.message == caught.value.message


def write_ids(folder: Path, data: bytes) -> Path:
    (folder / "ids.txt").write_bytes(data)
    return folder / "ids.txt"


def test_a_byte_order_mark_is_no_part_of_the_first_id(tmp_path: Path) -> None:
    ids, _ = load_embeddings(write_npy(tmp_path, VALUES), write_ids(tmp_path, b"\xef\xbb\xbfa\r\nb\r\nc\r\nd\r\n"))
    assert list(ids) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_npy_is_mapped_and_keeps_its_dtype(tmp_path: Path, dtype: type) -> None:
    ids, embeddings = load_embeddings(write_npy(tmp_path, VALUES.astype(dtype)), None)
    assert isinstance(embeddings, np.memmap)
    assert embeddings.dtype == dtype
    assert np.array_equal(embeddings, VALUES)
    assert list(ids) == ["row/00000000", "row/00000001", "row/00000002", "row/00000003"]


@pytest.mark.parametrize(("dtype", "expected"), [("<f8", np.float32), (">f4", np.float32), (">f2", np.float16)])
def test_row_51_other_floats_are_cast(tmp_path: Path, dtype: str, expected: type) -> None:
    _, embeddings = load_embeddings(write_npy(tmp_path, VALUES.astype(dtype)), None)
    assert embeddings.dtype == np.dtype(expected)
    assert embeddings.dtype.isnative
    assert np.array_equal(embeddings, VALUES)


def test_row_51_too_large_for_float32_becomes_infinite_and_is_found(tmp_path: Path) -> None:
    _, embeddings = load_embeddings(write_npy(tmp_path, np.array([[1e300], [1.0]])), None)
    assert finite_rows(embeddings).tolist() == [False, True]


def test_row_51_rows_that_are_not_finite_are_found_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings_file, "_BLOCK_VALUES", 5)
    values = VALUES.copy()
    values[0, 1], values[3, 2] = np.nan, -np.inf
    assert finite_rows(values).tolist() == [False, True, True, False]


def test_safetensors_by_name_or_the_only_matrix(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"embeddings": VALUES, "other": VALUES + 1}, path)
    assert np.array_equal(load_embeddings(path, None)[1], VALUES)
    save_file({"features": VALUES.astype(np.float16), "scale": np.ones(3, np.float32), "n": np.ones((2, 2), int)}, path)
    embeddings = load_embeddings(path, None)[1]
    assert embeddings.dtype == np.float16
    assert np.array_equal(embeddings, VALUES)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_shape_is_that_of_the_header(tmp_path: Path, dtype: type) -> None:
    save_file({"embeddings": VALUES.astype(dtype), "other": VALUES[:2]}, tmp_path / "x.safetensors")
    for path in (write_npy(tmp_path, VALUES.astype(dtype)), tmp_path / "x.safetensors"):
        assert embeddings_shape(path) == (4, 3)


def test_ids_of_every_line_ending_and_encoding(tmp_path: Path) -> None:
    path = write_npy(tmp_path, VALUES)
    ids, _ = load_embeddings(path, write_ids(tmp_path, b"a b\r\n\xc3\xa9\n\xff\nlast"))
    assert list(ids) == ["a b", "\xe9", "\udcff", "last"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\nb\nc\n", "has 3 ids, but there are 4 embeddings"),
        (b"a\nb\nc\nd\ne\n", "has 5 ids, but there are 4 embeddings"),
        (b"", "has 0 ids, but there are 4 embeddings"),
        (b"a\nb\na\nd\n", "lists the id 'a' twice, on lines 1 and 3"),
        (b"a\n\nc\nd\n", "has an empty id on line 2"),
    ],
)
def test_row_51_bad_ids_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = write_npy(tmp_path, VALUES)
    with pytest.raises(InputDataError, match=message):
        load_embeddings(path, write_ids(tmp_path, data))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 3), np.int64), r"holds int64 of shape \(2, 3\), expected float16, float32 or float64"),
        (np.zeros(7, np.float32), r"holds float32 of shape \(7,\), expected"),
        (np.zeros((0, 3), np.float32), r"holds float32 of shape \(0, 3\), expected"),
        (np.zeros((3, 0), np.float32), r"holds float32 of shape \(3, 0\), expected"),
        (np.array([[None]]), r"no .npy file that can be used: .*Python objects in dtype\.$"),
    ],
)
def test_row_51_other_arrays_are_refused(tmp_path: Path, values: np.ndarray, message: str) -> None:
    refuse(write_npy(tmp_path, values), message)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.npy", b"", "no .npy file that can be used"),
        ("x.npy", b"not numpy", "no .npy file that can be used"),
        ("x.safetensors", b"\xff" * 20, "no .safetensors file that can be used"),
        ("x.safetensors", b"", "no .safetensors file that can be used"),
        ("x.csv", b"1,2", "has the extension '.csv', expected .npy or .safetensors"),
    ],
)
def test_files_of_other_kinds_are_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    refuse(tmp_path / name, message)


def test_a_truncated_npy_is_refused(tmp_path: Path) -> None:
    path = write_npy(tmp_path, VALUES)
    path.write_bytes(path.read_bytes()[:-8])
    refuse(path, r"no .npy file that can be used")


class _Payload:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["x.npy", "x.safetensors"])
def test_row_19_a_pickle_is_not_executed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(_Payload(tmp_path / "executed")))
    refuse(tmp_path / name, "file that can be used")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("length", [1_000_000, 100, 4])
def test_an_npz_archive_is_refused_whole_and_damaged(tmp_path: Path, length: int) -> None:
    np.savez(tmp_path / "x.npz", VALUES)
    path = tmp_path / "x.npy"
    path.write_bytes((tmp_path / "x.npz").read_bytes()[:length])
    refuse(path, r"is an .npz archive, expected a plain .npy array")


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_empty_safetensors_are_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    save_file({"embeddings": np.zeros(shape, np.float16)}, tmp_path / "x.safetensors")
    refuse(tmp_path / "x.safetensors", rf"holds float16 of shape \({shape[0]}, {shape[1]}\), expected float16, float32")


def test_safetensors_without_a_matrix_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": VALUES, "b": VALUES}, path)
    refuse(path, r"holds a: F32 \(4, 3\), b: F32 \(4, 3\); expected a floating tensor")
    save_file({"embeddings": np.zeros((2, 2), np.int64)}, path)
    refuse(path, r"'embeddings' is I64 of shape \(2, 2\), expected F16, F32 or F64")


@pytest.mark.parametrize("name", ["absent.npy", "absent.safetensors"])
def test_absent_files_are_named(tmp_path: Path, name: str) -> None:
    refuse(tmp_path / name, f"cannot read .*{name}: No such file")


def test_an_absent_ids_file_is_named(tmp_path: Path) -> None:
    path = write_npy(tmp_path, VALUES)
    with pytest.raises(InputDataError, match=r"cannot read .*absent.txt: No such file"):
        load_embeddings(path, tmp_path / "absent.txt")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 400 + ", 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 2), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 'x', }",
        "{'descr': None, 'fortran_order': False, 'shape': (3, 2), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3, 2), }",
        "(" * 3000,
        "\x00" * 40,
        '"""',
        "[]",
        "",
    ],
)
def test_row_51_headers_that_are_no_dictionary_of_an_array_are_refused(tmp_path: Path, header: str) -> None:
    text = header.encode("latin1") + b"\n"
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(24))
    refuse(path, r"x\.npy (is no \.npy file that can be used: .|holds )")


def test_bytes_behind_the_array_are_refused(tmp_path: Path) -> None:
    """As of two arrays in one file, or of a header that lost a row: what it names is not what is there."""
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        np.save(file, VALUES)
        np.save(file, VALUES)
    with pytest.raises(InputDataError, match=r"has 176 bytes behind the array of shape \(4, 3\)"):
        load_embeddings(path, None)


def test_headers_of_old_programs_are_read_without_a_word(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    path = tmp_path / "x.npy"
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4L, 3L), }"
    path.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + VALUES.astype("<f4").tobytes())
    assert np.array_equal(load_embeddings(path, None)[1], VALUES)
    assert not recwarn


def test_safetensors_that_name_a_tensor_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    entry = '"embeddings":{"dtype":"F32","shape":[%d,%d],"data_offsets":[0,48]}'
    header = ("{" + entry % (4, 3) + "," + entry % (2, 6) + "}").encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + VALUES.astype("<f4").tobytes())
    with pytest.raises(InputDataError, match="names a tensor twice"):
        load_embeddings(path, None)


def test_an_id_with_a_nul_is_refused_wherever_it_is(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", VALUES)
    (tmp_path / "ids.txt").write_bytes(b"a\nb\nc\nd\0e\n")
    with pytest.raises(InputDataError, match="holds NULs"):
        load_embeddings(tmp_path / "x.npy", tmp_path / "ids.txt")
