"""Parquet, as pyarrow and Hugging Face's data sets read it."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elfs.delivery import parquet as delivered
from elfs.delivery.export import prepare_export
from elfs.delivery.export_options import ExportOptions
from elfs.errors import InputDataError

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


def document(shop: Any, name: str) -> bytes:
    return prepare_export(shop.path, None, ExportOptions(format=name)).document()


def test_it_says_what_json_lines_say(shop: Any) -> None:
    lines = [json.loads(line) for line in document(shop, "jsonl").splitlines()]
    found = parquet.read_table(io.BytesIO(document(shop, "parquet")))
    assert found.to_pylist() == lines
    assert found.column_names == ["rank", "id", "path", "pseudo_label", "score", "why"]


def test_what_one_image_lacks_is_null() -> None:
    records = [{"rank": 1, "id": "a", "group": "film"}, {"rank": 2, "id": "b"}]
    found = parquet.read_table(io.BytesIO(delivered.table(records))).to_pylist()
    assert found == [{"rank": 1, "id": "a", "group": "film"}, {"rank": 2, "id": "b", "group": None}]


def test_a_name_that_is_not_utf8_is_named(odd: Callable[..., Any]) -> None:
    with pytest.raises(InputDataError, match=r"\\udcff.png' is not UTF-8, as Parquet asks for: use --format json"):
        document(odd(b"\xff.png"), "parquet")


def test_without_pyarrow_the_extra_is_named(shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputDataError, match="needs the package pyarrow, which is not installed") as caught:
        prepare_export(shop.path, None, ExportOptions(format="parquet")).write(tmp_path / "x.parquet", force=False)
    assert caught.value.hint == "pip install 'elfs[hf]'"
    assert not (tmp_path / "x.parquet").exists()
