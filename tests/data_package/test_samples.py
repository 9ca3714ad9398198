import hashlib
import tracemalloc

import numpy as np
import pytest

from elfs.data.samples import Outcome, SampleTable, Split
from elfs.data.text_column import TextColumn
from elfs.errors import CorruptArtifactError, InputDataError
from tests.chain import ROOT

ODD_NAMES = [
    "a/new\nline.jpg",
    'quo"te,comma.png',
    "-lead",
    "\U0001f40d.png",
    "e\u0301.png",
    "\xe9.png",
    "bad\udcff.jpg",
]


def make_table() -> SampleTable:
    return SampleTable.from_ids(["c", "a", "b", "d"], [Split.TRAIN, Split.TRAIN, Split.TEST, Split.TRAIN], [1, 2, 3, 4])


def test_row_41_odd_names_round_trip() -> None:
    table = SampleTable.from_ids(ODD_NAMES, Split.TRAIN, 0)
    again = SampleTable.from_tensors(table.tensors())
    assert again.ids(range(len(ODD_NAMES))) == ODD_NAMES
    assert list(again.names) == ODD_NAMES
    assert again.rows_of(ODD_NAMES[::-1]).tolist() == list(range(len(ODD_NAMES)))[::-1]
    assert table.names.encoded(6) == b"bad\xff.jpg"


def test_row_42_ids_that_differ_in_case_or_folder_are_different() -> None:
    names = TextColumn.from_strings(["a/x.jpg", "b/x.jpg", "A/x.jpg"])
    assert names.first_duplicate() is None


def test_text_column_indexing_follows_lists() -> None:
    column = TextColumn.from_strings(["x", "", "long"])
    assert [column[0], column[1], column[-1]] == ["x", "", "long"]
    with pytest.raises(IndexError, match="out of range"):
        column[3]


def test_text_column_iterates_over_more_than_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elfs.data.text_column._BLOCK_ROWS", 3)
    strings = [str(i) * (i % 4) for i in range(10)]
    assert list(TextColumn.from_strings(strings)) == strings


@pytest.mark.parametrize(
    ("strings", "expected"), [([], None), (["a"], None), (["b", "a", "a", "b"], (1, 2)), (["", "x", ""], (0, 2))]
)
def test_first_duplicate(strings: list[str], expected: tuple[int, int] | None) -> None:
    assert TextColumn.from_strings(strings).first_duplicate() == expected


def test_first_duplicate_is_not_fooled_by_equal_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elfs.data.text_column.hash", lambda _: 7, raising=False)
    assert TextColumn.from_strings(["a", "b", "c"]).first_duplicate() is None
    assert TextColumn.from_strings(["a", "b", "c", "b"]).first_duplicate() == (1, 3)


@pytest.mark.slow
def test_ids_cost_buffers_and_not_objects() -> None:
    tracemalloc.start()
    table = SampleTable.from_ids((f"folder/image_{i:09d}.jpg" for i in range(100_000)), Split.TRAIN, 1)
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(table) == 100_000
    assert used < 70 * len(table)  # 26 bytes of name, 8 of offset, 10 of columns; one str alone takes 75


def test_eligible_is_train_and_ok() -> None:
    table = make_table().with_outcomes([0, Outcome.BROKEN, 0, 0], {1: "torn"})
    assert table.usable().tolist() == [True, False, True, True]
    assert table.eligible().tolist() == [True, False, False, True]
    assert table.rows(Split.TRAIN).tolist() == [0, 3]
    assert table.rows(Split.TEST).tolist() == [2]


def test_rows_of_follows_the_order_asked_for_and_allows_repeats() -> None:
    table = make_table()
    rows = table.rows_of(["d", "a", "d"])
    assert rows.tolist() == [3, 1, 3]
    assert rows.dtype == np.int64
    assert table.rows_of([]).shape == (0,)


def test_rows_of_names_the_unknown() -> None:
    with pytest.raises(InputDataError, match=r"1 of 2 ids are unknown: 'z'; ids look like 'c'"):
        make_table().rows_of(["a", "z"])
    with pytest.raises(InputDataError, match=r"7 of 7 ids are unknown: '0', '1', '2', '3', '4' and 2 more"):
        make_table().rows_of([str(i) for i in range(7)])
    with pytest.raises(InputDataError, match="the table is empty"):
        SampleTable.from_ids([], 0, 0).rows_of(["a"])


def test_with_outcomes_keeps_reasons_of_rows_that_stay_bad() -> None:
    first = make_table().with_outcomes([1, 0, 2, 0], {0: "gone", 2: "torn"})
    second = first.with_outcomes([1, 2, 0, 0], {1: "empty"})
    assert second.reasons() == {0: "gone", 1: "empty"}
    assert first.reasons() == {0: "gone", 2: "torn"}
    assert second.outcome.tolist() == [1, 2, 0, 0]
    assert second.outcome.dtype == np.uint8


def test_tensors_round_trip_with_reasons() -> None:
    table = make_table().with_outcomes([0, 3, 0, 4], {1: "h\xe9ic", 3: "huge"})
    again = SampleTable.from_tensors(table.tensors())
    assert again.reasons() == {1: "h\xe9ic", 3: "huge"}
    assert again.outcome.tolist() == [0, 3, 0, 4]
    assert again.split.tolist() == [0, 0, 1, 0]
    assert again.num_bytes.tolist() == [1, 2, 3, 4]


def digest(table: SampleTable) -> str:
    total = hashlib.sha256()
    for part in table.digest_parts():
        total.update(part)
    return total.hexdigest()


def test_digest_tells_listings_apart_but_not_outcomes() -> None:
    table = make_table()
    others = [
        SampleTable.from_ids(["ca", "", "b", "d"], table.split, table.num_bytes),
        SampleTable.from_ids(["c", "a", "b", "d"], table.split, [1, 2, 3, 5]),
        SampleTable.from_ids(["c", "a", "b", "d"], 0, table.num_bytes),
    ]
    assert len({digest(table), *map(digest, others)}) == 4
    assert digest(table) == digest(make_table().with_outcomes([1, 1, 1, 1], {}))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("split", None, "has no tensor 'split'"),
        ("outcome", np.zeros(3, np.uint8), r"'outcome' is uint8 of shape \(3,\), expected uint8 of length 4"),
        ("num_bytes", np.zeros(4, np.float32), "'num_bytes' is float32 .* expected int64 of length 4"),
        ("id_offsets", np.array([0, 1, 2, 3, 9]), "'id_offsets' do not cut 'id_blob'"),
        ("id_offsets", np.array([0, 3, 2, 3, 4]), "'id_offsets' do not cut 'id_blob'"),
        ("id_offsets", np.array([1, 1, 2, 3, 4]), "'id_offsets' do not cut 'id_blob'"),
        ("id_offsets", np.zeros(0, np.int64), "'id_offsets' do not cut 'id_blob'"),
        ("reason_rows", np.array([4]), r"'reason_rows' span 4\.\.4 of 4 samples"),
        ("reason_rows", np.array([-1]), r"'reason_rows' span -1\.\.-1 of 4 samples"),
    ],
)
def test_damaged_tensors_are_refused(key: str, value: np.ndarray | None, message: str) -> None:
    tensors = make_table().with_outcomes([0, 0, 0, 2], {3: "torn"}).tensors()
    if value is None:
        del tensors[key]
    else:
        tensors[key] = value
    with pytest.raises(CorruptArtifactError, match=message):
        SampleTable.from_tensors(tensors)


def test_samples_and_listing_need_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, elfs.data.samples, elfs.data.sources.folder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_find_gives_the_first_row_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    column = TextColumn.from_strings(["b", "", "a", "bad\udcff", "b"])
    wanted = TextColumn.from_strings(["a", "b", "c", "bad\udcff", "b", ""])
    for rows in (1, 2, 100):
        monkeypatch.setattr("elfs.data.text_column._BLOCK_ROWS", rows)
        assert column.find(wanted).tolist() == [2, 0, -1, 3, 0, 1]
    assert column.find(TextColumn.from_strings([])).shape == (0,)
    assert TextColumn.from_strings([]).find(wanted).tolist() == [-1] * 6


def test_find_compares_strings_and_not_hashes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elfs.data.text_column.hash", lambda _: 7, raising=False)
    column = TextColumn.from_strings(["b", "a"])
    assert column.find(TextColumn.from_strings(["a", "c", "b"])).tolist() == [1, -1, 0]


def test_columns_are_equal_by_their_strings() -> None:
    column = TextColumn.from_strings(["ab", "c"])
    assert column == TextColumn.from_strings(["ab", "c"])
    assert column != TextColumn.from_strings(["a", "bc"])
    assert column != TextColumn.from_strings(["ab", "d"])
    assert column != ["ab", "c"]


def test_rows_of_the_tables_own_ids() -> None:
    table = make_table()
    assert table.rows_of(table.names).tolist() == [0, 1, 2, 3]
    assert table.rows_of(table.names.take(np.array([3, 1]))).tolist() == [3, 1]


def test_rows_of_a_column_in_any_order_are_those_that_were_stored() -> None:
    names = TextColumn.from_strings(["a", "", "ü", "b\udcff", "longer"])
    rows = np.array([4, 0, 3, 3, 1, 2])
    assert list(names.encoded_rows(rows)) == [names.encoded(int(row)) for row in rows]
    assert list(names.encoded_rows(rows[:0])) == []


@pytest.mark.parametrize("step", [1, 2, 7])
def test_rows_that_lie_close_or_far_apart_are_those_that_were_stored(step: int) -> None:
    names = TextColumn.from_strings([f"{number:b}" for number in range(200)])
    rows = np.arange(0, 200, step)[::-1]
    assert [name.decode() for name in names.encoded_rows(rows)] == [f"{number:b}" for number in rows]
