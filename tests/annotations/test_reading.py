"""Every format that a tool gives back says the same."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from elfs.annotations.matching import match_answers
from elfs.annotations.reading import is_document, read_answers
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError
from tests.annotations.exports import coco, cvat, studio, studio_rows, studio_table, table

LABELS = {"a/01.png": "cat", "a/02.png": "dog", "b/o n,e.png": "big; cat", "b/ü+#%41.png": "dög", "top.png": "dog"}
POOL = SampleTable.from_ids([*LABELS, "b/03.png"], 0, 0)

Writer = Callable[[Path], None]


def text(contents: str, encoding: str = "utf-8") -> Writer:
    def write(path: Path) -> None:
        path.write_bytes(contents.encode(encoding))

    return write


def moved(start: str, mark: str = "/") -> dict[str, str]:
    """Return the labels by other names."""
    return {start + name.replace("/", mark): label for name, label in LABELS.items()}


def web(name: str) -> str:
    return f"https://host/x/{name.replace('%', '%25').replace('#', '%23')}"


def folders(path: Path) -> None:
    for name, label in LABELS.items():
        (path / label / name).parent.mkdir(parents=True, exist_ok=True)
        (path / label / name).write_bytes(b"picture")


def folders_in_one(path: Path) -> None:
    folders(path / "images")


def archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("annotations.xml", cvat(LABELS))
        file.writestr("images/a/01.png", b"picture")


WRITERS: dict[str, Writer] = {
    "csv": text(table(LABELS)),
    "semicolons": text(table(LABELS, ";")),
    "tabs": text(table(LABELS, "\t")),
    "bars": text(table(LABELS, "|")),
    "declared": text("sep=;\r\n" + table(LABELS, ";")),
    "mark": text(table(LABELS), "utf-8-sig"),
    "utf-16": text(table(LABELS, "\t"), "utf-16"),
    "utf-16 big": text("\ufeff" + table(LABELS, ";"), "utf-16-be"),
    "utf-16 unmarked": text(table(LABELS), "utf-16-le"),
    "utf-32": text(table(LABELS), "utf-32"),
    "code page": text(table(LABELS, ";"), "cp1252"),
    "more columns": text(table(LABELS, more="#")),
    "other names": text(table(LABELS, columns=("File Name", "Class"))),
    "paths": text(table(moved("/mnt/my disk/pool/"), columns=("path", "class"))),
    "windows": text(table(moved("C:\\pool\\", "\\"), ";")),
    "blanks": text(table({f" {name} ": f" {label} " for name, label in LABELS.items()})),
    "no header": text(table(LABELS).partition("\r\n")[2]),
    "label studio": text(studio(LABELS)),
    "label studio, web": text(studio(LABELS, web)),
    "label studio, bucket": text(studio(LABELS, lambda name: f"s3://bucket/pool/{name}")),
    "json-min": text(json.dumps(studio_rows(LABELS))),
    "json-min, mark": text(json.dumps(studio_rows(LABELS), ensure_ascii=False), "utf-8-sig"),
    "label studio csv": text(studio_table(LABELS, ",")),
    "label studio tsv": text(studio_table(LABELS, "\t")),
    "cvat": text(cvat(LABELS)),
    "cvat, boxes": text(cvat(LABELS, '<box label={} xtl="0" ytl="0" xbr="1" ybr="1"></box>')),
    "cvat, utf-16": text(cvat(LABELS).replace('"utf-8"', '"utf-16"'), "utf-16"),
    "coco": text(json.dumps(coco(LABELS))),
    "records": text(json.dumps([{"id": name, "label": label} for name, label in LABELS.items()])),
    "lines": text("".join(json.dumps({"path": name, "class": label}) + "\n" for name, label in LABELS.items())),
    "object": text(json.dumps(LABELS)),
    "wrapped": text(json.dumps({"version": 1, "items": [{"id": n, "label": v} for n, v in LABELS.items()]})),
    "folders": folders,
    "folders in a folder": folders_in_one,
    "archive": archive,
}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_says_the_same(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "from people"
    WRITERS[kind](path)
    found = match_answers(read_answers(path), POOL, root="/mnt/my disk/pool", said="it")
    said = {POOL.id(row): found.names[value] for row, value in enumerate(found.values) if value >= 0}
    assert said == LABELS
    assert found.remarks() == []


WIDE = ",".join(f"{number:x>99}" for number in range(10, 30)) + "\n1\n"


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", r"is no text: a table, JSON or XML with labels was expected\.$"),
        (b"colour,size\nred,3\n", r"has the columns colour, size, expected id and label\.$"),
        (b"id,size\na.png,3\n", r"has the columns id, size, expected id and label\.$"),
        (b"", r"is empty, expected a table with the columns id and label\.$"),
        (b"\xef\xbb\xbf\r\n\r\n", r"is empty, expected a table with the columns id and label\.$"),
        (WIDE.encode(), r"(x{40}\.\.\.(, )?){8} and 12 more, expected id and label\.$"),
        (b"id,label\n" + b"x" * 200_000 + b",1\n", r"is no CSV file that can be read: field larger than"),
        (b'{"a": [1, 2', r"is no JSON that can be read: Expecting"),
        (b"[" * 100_000, r"is JSON nested too deeply to be labels\.$"),
        (b"[1, 2]", r"is JSON without labels in a form that is known: Label Studio, COCO, or records with id"),
        (b'{"model": {"layers": [1]}, "x": {}}', r"is JSON without labels in a form that is known"),
        (b"[]", r"is JSON without labels in a form that is known"),
        (json.dumps([{"x" * 5000: 1}]).encode(), r"has the columns x{40}\.\.\., expected id and label\.$"),
        (b"<html><body>Sign in</body></html>", r"is XML of another kind: <html>, expected CVAT's <annotations>\.$"),
        (b"<annotations><image", r"is no XML that can be read: "),
        (b"PK\x03\x04 no archive", r"is an archive that cannot be read: "),
        (b'{"id": "a", "label": 1}\n' + b"[" * 100_000, r"is JSON nested too deeply to be labels\.$"),
        (b'<?xml version="1.0" encoding="foo"?><annotations/>', r"is no XML that can be read: unknown encoding: foo"),
        (b'<?xml version="1.0" encoding="euc_jp"?><annotations/>', r"is no XML that can be read: multi-byte encodings"),
    ],
)
def test_another_kind_of_file_is_a_short_error(tmp_path: Path, contents: bytes, message: str) -> None:
    path = tmp_path / "labels"
    path.write_bytes(contents)
    with pytest.raises(InputDataError, match=message) as caught:
        read_answers(path)
    assert len(caught.value.message) < 480 + len(str(path))


@pytest.mark.parametrize("names", [[], ["a.csv", "b.json"]])
def test_an_archive_holds_one_file_with_labels(tmp_path: Path, names: list[str]) -> None:
    path = tmp_path / "labels.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in [*names, "picture.png"]:
            file.writestr(name, b"x")
    with pytest.raises(
        InputDataError, match=rf"is an archive with {len(names)} files that could hold labels, expected one"
    ):
        read_answers(path)


def test_no_damaged_byte_of_an_archive_is_a_fault_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "labels.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("annotations.xml", cvat(LABELS))
    data = path.read_bytes()
    said = set()
    for position in range(0, len(data), 3):
        path.write_bytes(data[:position] + bytes([data[position] ^ 255]) + data[position + 1 :])
        try:
            read_answers(path)
        except InputDataError as error:
            said.add(error.message.partition("cannot be read: ")[2].partition(":")[0])
    assert "Error -3 while decompressing data" in said


def test_an_archive_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elfs.annotations.reading._MAX_UNPACKED", 10)
    contents = io.BytesIO()
    with zipfile.ZipFile(contents, "w") as file:
        file.writestr("a.csv", 11 * b"x")
    (tmp_path / "labels.zip").write_bytes(contents.getvalue())
    with pytest.raises(InputDataError, match=r"is an archive with more than 2 GiB in it\.$"):
        read_answers(tmp_path / "labels.zip")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"none\.csv: No such file or directory\.$"):
        read_answers(tmp_path / "none.csv")
    assert not is_document(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("contents", "expected"),
    [(b" [{}]", True), (b"<a/>", True), (b"PK\x03\x04", True), (b"a.png\n", False), (b"\0\1\2", False)],
)
def test_documents_are_told_from_lists(tmp_path: Path, contents: bytes, expected: bool) -> None:
    (tmp_path / "file").write_bytes(contents)
    assert is_document(tmp_path / "file") is expected


def test_many_rows_are_no_matter(tmp_path: Path) -> None:
    ids = [f"{number % 100:02d}/{number:07d}.png" for number in range(20_000)]
    path = tmp_path / "labels.csv"
    path.write_text("path;label\n" + "".join(f"/x/{name};{name[:2]}\n" for name in ids))
    found = match_answers(read_answers(path), SampleTable.from_ids(ids, 0, 0), root="/x", said="it")
    assert np.array_equal(found.values, np.arange(20_000) % 100)
