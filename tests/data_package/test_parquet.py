import contextlib
import io
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from elfs.config import EmbedConfig
from elfs.data.decoding import BadImageError
from elfs.data.loaders import load_images
from elfs.data.pool_size import most_images
from elfs.data.samples import SampleTable, Split
from elfs.data.sources import open_source
from elfs.data.sources.parquet import ParquetSource
from elfs.errors import InputDataError

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

LIMIT = 1_000_000


def picture(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (level, level, level)).save(file, "PNG")
    return file.getvalue()


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), path, **options)
    return path


def structs(levels: list[int]) -> list[dict[str, Any]]:
    return [{"bytes": picture(level), "path": f"{level}.png"} for level in levels]


def ids(table: SampleTable) -> list[str]:
    return table.ids(range(len(table)))


def levels(source: ParquetSource, table: SampleTable) -> list[int]:
    reader = pickle.loads(pickle.dumps(source.reader(table)))
    return [int(np.asarray(reader.read(row))[0, 0, 0]) for row in range(len(table))]


def test_structs_with_bytes_over_several_files_and_row_groups(tmp_path: Path) -> None:
    write(tmp_path / "test-0.parquet", {"image": structs([9]), "label": [0]})
    write(tmp_path / "train-0.parquet", {"image": structs(list(range(5))), "label": [1] * 5}, row_group_size=2)
    source = ParquetSource(tmp_path, LIMIT)
    table = source.list()
    assert ids(table) == ["test-0/00000000", *(f"train-0/{row:08d}" for row in range(5))]
    assert table.split.tolist() == [Split.TEST] + [Split.TRAIN] * 5
    assert levels(source, table) == [9, 0, 1, 2, 3, 4]
    assert np.all(table.num_bytes >= len(picture(1)))
    assert table.num_bytes.max() < 500  # the other columns' and Parquet's own bytes are counted too
    assert levels(source, table.take(np.array([2, 5]))) == [1, 4]
    assert (source.name, source.channels, source.mirror, source.num_classes) == ("parquet", 3, True, None)
    assert source.has_images


@pytest.mark.parametrize("kind", ["binary", "large_binary", "binary_view", "dictionary"])
def test_a_column_of_bytes(tmp_path: Path, kind: str) -> None:
    pictures = [picture(3), picture(4)]
    values = pa.array(pictures).dictionary_encode() if kind == "dictionary" else pa.array(pictures, getattr(pa, kind)())
    source = ParquetSource(write(tmp_path / "a.parquet", {"content": values, "name": ["x", "y"]}), LIMIT)
    table = source.list()
    assert ids(table) == ["row/00000000", "row/00000001"]
    assert levels(source, table) == [3, 4]


def test_the_metadata_of_hugging_face_names_the_column(tmp_path: Path) -> None:
    table = pa.table({"mask": structs([1]), "photo": structs([2])})
    features = b'{"info": {"features": {"photo": {"_type": "Image"}, "mask": {"_type": "Value"}}}}'
    parquet.write_table(table.replace_schema_metadata({b"huggingface": features}), tmp_path / "a.parquet")
    source = ParquetSource(tmp_path, LIMIT)
    assert levels(source, source.list()) == [2]


def test_of_several_columns_the_one_called_image_is_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"mask": structs([1]), "image": structs([2])})
    source = ParquetSource(path, LIMIT)
    assert levels(source, source.list()) == [2]
    write(path, {"mask": structs([1]), "photo": [picture(2)]})
    with pytest.raises(InputDataError, match=r"the columns mask, photo all may hold images; expected one, or one call"):
        source.list()
    write(path, {"label": [1], "info": [{"path": "x.png"}]})
    with pytest.raises(InputDataError, match=r"a\.parquet: no column holds encoded images; expected one"):
        source.list()


def test_files_must_agree_on_the_column(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"a": structs([1])})
    write(tmp_path / "b.parquet", {"b": [picture(1)]})
    with pytest.raises(InputDataError, match=r"have images in different columns: a\.bytes, b\.$"):
        ParquetSource(tmp_path, LIMIT).list()


def test_rows_without_an_image_are_missing(tmp_path: Path) -> None:
    values = [{"bytes": None, "path": "/etc/passwd"}, None, {"bytes": picture(7), "path": None}]
    source = ParquetSource(write(tmp_path / "a.parquet", {"image": values}), LIMIT)
    reader = source.reader(source.list())
    for row in (0, 1):
        with pytest.raises(BadImageError, match=r"^missing: the row holds no image$"):
            reader.read(row)
    assert reader.read(2).size == (4, 4)


def test_no_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"image": pa.array([], pa.binary())})
    with pytest.raises(InputDataError, match="no row in the 1 Parquet files of "):
        ParquetSource(tmp_path, LIMIT).list()


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputDataError, match=r"a\.parquet is no Parquet file that can be read: "):
        ParquetSource(tmp_path, LIMIT).list()


def test_row_44_a_file_that_is_gone_leaves_its_images_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"image": structs([1, 2, 3])}, row_group_size=2)
    source = ParquetSource(tmp_path, LIMIT)
    reader = source.reader(source.list())
    assert reader.read(0).size == (4, 4)
    path.unlink()
    assert reader.read(1).size == (4, 4)  # of the row group that is kept
    with pytest.raises(BadImageError, match=r"^broken: its row group cannot be read \(FileNotFoundError\)$"):
        reader.read(2)


def test_worker_processes_read_row_groups(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"image": structs(list(range(130)))}, row_group_size=7)
    source = open_source("parquet", tmp_path)
    reader = source.reader(source.list())
    reader.read(0)  # what is kept of a row group before the processes start does no harm
    images = load_images(reader, torch.arange(130), 4, num_workers=2)
    assert images[:, 0, 0, 0].tolist() == list(range(130))


def test_rows_are_counted_before_they_are_embedded(tmp_path: Path) -> None:
    for name, levels in (("train-0", [1, 2, 3]), ("train-1", [4]), ("test-0", [5, 6])):
        write(tmp_path / f"{name}.parquet", {"image": structs(levels)})
    assert most_images(EmbedConfig(source="parquet"), tmp_path, 10) == 4
    (tmp_path / "train-2.parquet").write_bytes(b"no Parquet file")
    assert most_images(EmbedConfig(source="parquet"), tmp_path, 10) is None


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputDataError, match="need the package pyarrow, which is not installed") as caught:
        ParquetSource(tmp_path, LIMIT).list()
    assert caught.value.hint == "pip install 'elfs[hf]'"


@pytest.mark.parametrize(
    "metadata",
    [
        b"null",
        b"text",
        b"[]",
        b"\xff",
        b'{"info": null}',
        b'{"info": []}',
        b'{"info": {"features": ["image"]}}',
        b'{"info": {"features": {"image": ["x"]}}}',
        b'{"info": {"features": {"image": null}}}',
        b"[" * 100_000,
    ],
)
def test_a_description_of_any_shape_that_says_nothing_counts_as_none(tmp_path: Path, metadata: bytes) -> None:
    table = pa.table({"image": structs([1, 2])}).replace_schema_metadata({"huggingface": metadata})
    parquet.write_table(table, tmp_path / "x.parquet")
    source = ParquetSource(tmp_path / "x.parquet", LIMIT)
    assert levels(source, source.list()) == [1, 2]


def test_a_column_that_comes_twice_is_refused(tmp_path: Path) -> None:
    column = pa.array([picture(1)])
    parquet.write_table(pa.Table.from_arrays([column, column], names=["image", "image"]), tmp_path / "x.parquet")
    with pytest.raises(InputDataError, match=r"x\.parquet has the column 'image' twice"):
        ParquetSource(tmp_path / "x.parquet", LIMIT).list()


@pytest.mark.parametrize("position", range(4, 400, 13))
def test_flipped_metadata_is_refused_or_harmless(tmp_path: Path, position: int) -> None:
    path = write(tmp_path / "x.parquet", {"image": structs([1, 2])})
    data = bytearray(path.read_bytes())
    data[-position] ^= 0x5B
    path.write_bytes(data)
    with contextlib.suppress(InputDataError, BadImageError):
        source = ParquetSource(path, LIMIT)
        assert len(source.list()) == 2
        source.reader(source.list()).read(0)


def test_pages_are_held_against_their_checksums(tmp_path: Path) -> None:
    """BMP has no check of its own; a page may have one."""
    file = io.BytesIO()
    Image.new("RGB", (40, 40), (7, 7, 7)).save(file, "BMP")
    options = {"write_page_checksum": True, "compression": "none", "use_dictionary": False}
    path = write(tmp_path / "x.parquet", {"image": [file.getvalue()] * 3}, **options)
    source = ParquetSource(path, LIMIT)
    table = source.list()
    assert levels(source, table) == [7, 7, 7]
    data = bytearray(path.read_bytes())
    data[data.index(b"\7" * 100) + 50] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadImageError, match="its row group cannot be read"):
        source.reader(table).read(0)
