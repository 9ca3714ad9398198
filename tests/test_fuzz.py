"""Whatever bytes come in, a parser returns what it should or refuses it with an error that a user can mend, in time.

`FUZZ_EXAMPLES=20000 python -m pytest tests/test_fuzz.py -n 2` looks for longer.
"""

import contextlib
import io
import json
import os
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elfs.annotations.matching import match_answers
from elfs.annotations.reading import read_answers
from elfs.budget import Budget
from elfs.cli._settings import load_settings, parse_count
from elfs.data.bad_image import BadImageError
from elfs.data.embeddings_file import load_embeddings
from elfs.data.id_lists import read_ids
from elfs.data.samples import SampleTable
from elfs.data.sources.parquet import ParquetSource
from elfs.data.sources.tar_shards import TarSource
from elfs.data.synthetic.spec import canonical_source
from elfs.errors import ElfsError
from elfs.parallel.devices import parse_devices
from elfs.workspace.documents import parse_json
from elfs.workspace.journal import settle_journal
from elfs.workspace.manifest import Manifest
from elfs.workspace.tensors import load_tensors, save_tensors
from tests.annotations.exports import coco, cvat, studio, studio_table, table
from tests.chain import run_stage
from tests.data_package import test_parquet as parquet_files
from tests.data_package import test_tar_shards as tar_files

CPU_SECONDS = 10
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "120"))
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES == 120,
    database=None,
    suppress_health_check=list(HealthCheck),
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def mutated(draw: Any, data: bytes) -> bytes:
    """Return bytes with some of them changed, cut out, repeated or put in."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(changed) - 1)))
        kind = draw(st.sampled_from(["set", "cut", "insert", "repeat", "end"]))
        if kind == "set" and changed:
            changed[place] = draw(st.integers(0, 255))
        elif kind == "cut":
            del changed[place : place + draw(st.integers(1, 40))]
        elif kind == "insert":
            changed[place:place] = draw(st.binary(max_size=12))
        elif kind == "repeat":
            changed[place:place] = changed[place : place + draw(st.integers(1, 40))]
        else:
            del changed[place:]
    return bytes(changed)


@st.composite
def replaced(draw: Any, document: Any) -> bytes:
    """Return a JSON document in which one value is another one."""
    root = json.loads(json.dumps(document))
    parent: Any = None
    key: Any = None
    current = root
    while isinstance(current, dict | list) and len(current) and (parent is None or draw(st.booleans())):
        keys = list(current) if isinstance(current, dict) else range(len(current))
        parent, key = current, draw(st.sampled_from(keys))
        current = current[key]
    if parent is not None:
        parent[key] = draw(JSON)
    return json.dumps(root).encode()


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Fail what takes more processor time than any small input may."""

    def late(*_: object) -> None:
        raise AssertionError(f"still at work after {CPU_SECONDS} s")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def survives(parse: Callable[[], object]) -> None:
    """Call a parser; anything but a refusal that elfs means, and in time, fails the test."""
    with in_time(), contextlib.suppress(ElfsError):
        parse()


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("fuzz") / "workspace"
    run_stage("embed", path, source="digits", limit=20)
    return (path / "manifest.json").read_bytes()


@pytest.mark.slow
def test_row_16_manifests(manifest: bytes) -> None:
    @FUZZ
    @given(mutated(manifest) | replaced(json.loads(manifest)) | st.binary())
    def check(data: bytes) -> None:
        survives(lambda: Manifest.parse(data))

    check()


@FUZZ
@given(st.binary() | st.text(alphabet='[]{}",:0123456789eE+-.nulltrefas\\u ', max_size=200).map(str.encode))
def test_row_16_json(data: bytes) -> None:
    survives(lambda: parse_json(data, "x"))


@pytest.mark.slow
def test_row_18_journals(tmp_path: Path) -> None:
    moved = {"a.safetensors": "partial/score/1/artifacts/a/a.safetensors"}
    document = {"doomed": ["scores.safetensors"], "moved": moved}
    (tmp_path / "outside").write_text("stays")
    root = tmp_path / "workspace"

    @FUZZ
    @given(mutated(json.dumps(document).encode()) | replaced(document))
    def check(data: bytes) -> None:
        (root / "partial").mkdir(parents=True, exist_ok=True)
        (root / "partial" / "journal.json").write_bytes(data)
        survives(lambda: settle_journal(root, Manifest()))
        assert (tmp_path / "outside").read_text() == "stays"

    check()


@pytest.mark.slow
def test_row_20_tensor_files(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.arange(3)})
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])

    def with_header(text: bytes) -> bytes:
        return len(text).to_bytes(8, "little") + text + data[8 + size :]

    @FUZZ
    @given(mutated(data) | replaced(header).map(with_header) | st.binary())
    def check(content: bytes) -> None:
        path.write_bytes(content)
        survives(lambda: [np.array(value) for value in load_tensors(path).values()])

    check()


@FUZZ
@given(
    st.dictionaries(
        st.sampled_from([*SampleTable.from_ids(["a"], 0, 1).tensors()]),
        st.tuples(st.sampled_from(["u1", "i8", "f4"]), st.lists(st.integers(-2, 5), max_size=5)),
    )
)
def test_row_15_tables_of_samples(tensors: dict[str, tuple[str, list[int]]]) -> None:
    arrays = {"id_blob": np.frombuffer(b"ab", np.uint8)} | {
        name: np.array(values).astype(kind) for name, (kind, values) in tensors.items()
    }
    survives(lambda: SampleTable.from_tensors(arrays).reasons())


def test_row_41_lists_and_tables_of_ids(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    table = b'rank,id,pseudo_label\n1,"a, ""b"".png",2\n2,\xff.png,3\n'

    @FUZZ
    @given(mutated(table) | mutated(table.decode("latin1").encode("utf-16")) | st.binary())
    def check(data: bytes) -> None:
        path.write_bytes(data)
        survives(lambda: read_ids(path))

    check()


@pytest.mark.slow
def test_row_48_settings(tmp_path: Path) -> None:
    text = b'seed = 3\nworkers = "2"\n[cluster]\nclusters = 10\nlearning_rate = 1e-3\n[select]\nbudget = "10%"\n'

    @FUZZ
    @given(mutated(text) | st.binary())
    def check(data: bytes) -> None:
        (tmp_path / "elfs.toml").write_bytes(data)
        survives(lambda: load_settings(tmp_path / "workspace"))

    check()


@pytest.mark.slow
def test_row_51_arrays(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.ones((3, 2), np.float32))
    data = path.read_bytes()

    @FUZZ
    @given(mutated(data[:128]).map(lambda header: header + data[128:]) | mutated(data) | st.binary())
    def check(content: bytes) -> None:
        path.write_bytes(content)
        survives(lambda: np.array(load_embeddings(path, None)[1]))

    check()


WORDS = st.text(alphabet="0123456789.,:%-+eE cpualtoinfNaN\u0663\u00b2_", max_size=12) | st.text(max_size=12)


@FUZZ
@given(WORDS)
def test_row_48_budgets(text: str) -> None:
    survives(lambda: Budget.parse(text).resolve(1_000))


@FUZZ
@given(WORDS)
def test_row_53_devices_and_counts(text: str) -> None:
    survives(lambda: parse_devices(text))
    survives(lambda: parse_count("--workers", text))


@FUZZ
@given(
    st.lists(
        st.sampled_from(["images=", "classes=", "size=", "9", "0", "-1", "1e9", ",", "nan", "shapes"]), max_size=6
    ).map("".join)
    | WORDS
)
def test_row_48_synthetic_specs(text: str) -> None:
    survives(lambda: canonical_source(f"synthetic:{text}"))


LABELS = {"a/01.png": "cat", "a/02.png": "big; dog", "b/\u00fc 3.png": "d\u00f6g"}
NAMED = SampleTable.from_ids(sorted(LABELS), 0, 0)


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations.xml", data)
    return file.getvalue()


def split_lines(document: list[Any]) -> bytes:
    return "\n".join(json.dumps(entry) for entry in document).encode()


STUDIO = json.loads(studio(LABELS))
STUDIO[0]["annotations"][0]["result"][0]["value"] = {"taxonomy": [["animal", "cat"]]}
ANSWERS: dict[str, st.SearchStrategy[bytes]] = {
    "label-studio": mutated(studio(LABELS).encode()) | replaced(STUDIO),
    "lines": mutated(split_lines(STUDIO)),
    "coco": mutated(json.dumps(coco(LABELS)).encode()) | replaced(coco(LABELS)),
    "cvat": mutated(cvat(LABELS).encode()) | mutated(cvat(LABELS).encode("utf-16")),
    "zip": mutated(zipped(cvat(LABELS).encode())) | mutated(cvat(LABELS).encode()).map(zipped),
    "csv": mutated(table(LABELS).encode()) | mutated(b"sep=;\n" + table(LABELS, ";").encode()),
    "tsv": mutated(studio_table(LABELS, "\t").encode()) | mutated(studio_table(LABELS, "\t").encode("utf-16")),
    "bytes": st.binary(),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ANSWERS)
def test_annotations(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "labels"

    @FUZZ
    @given(ANSWERS[kind])
    def check(data: bytes) -> None:
        path.write_bytes(data)
        survives(lambda: match_answers(read_answers(path), NAMED, root=None, said=str(path)).remarks())

    check()


def read_all(source: TarSource | ParquetSource) -> None:
    """List a source and read every image, of which some may be bad."""
    table = source.list()
    reader = source.reader(table)
    for row in range(len(table)):
        with contextlib.suppress(BadImageError):
            reader.read(row)


@pytest.mark.slow
@pytest.mark.parametrize("header", ["ustar", "gnu", "pax"])
def test_row_44_tar_shards(header: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    name = "a" * 120 if header != "ustar" else "a"
    members = [(f"{name}/{number}.png", tar_files.picture(number)) for number in range(2)]
    tar_files.write(path, members, {"ustar": 0, "gnu": 1, "pax": 2}[header])
    data = path.read_bytes()[:6144]

    @FUZZ
    @given(mutated(data) | mutated(data[:512]).map(lambda start: start + data[512:]) | st.binary())
    def check(content: bytes) -> None:
        path.write_bytes(content)
        survives(lambda: read_all(TarSource(path, 10_000)))

    check()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["struct", "bytes"])
def test_row_44_parquet_files(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    images = parquet_files.structs([1, 2, 3])
    columns = {"image": images if kind == "struct" else [image["bytes"] for image in images], "label": [0, 1, 2]}
    parquet_files.write(path, columns, row_group_size=2)
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")

    @FUZZ
    @given(mutated(data) | mutated(data[footer:-8]).map(lambda end: data[:footer] + end + data[-8:]) | st.binary())
    def check(content: bytes) -> None:
        path.write_bytes(content)
        survives(lambda: read_all(ParquetSource(path, 10_000)))

    check()
