"""Finished runs of rows: what is there, what is missing, how they are joined and dealt out."""

import re
from pathlib import Path

import numpy as np
import pytest

from elfs.errors import CorruptArtifactError
from elfs.workspace.pieces import Pieces, Run, deal

VALUES = np.arange(40, dtype=np.float32).reshape(20, 2)


def save(pieces: Pieces, *runs: Run) -> None:
    for run in runs:
        pieces.save(run, {"x": VALUES[slice(*run)]}, first=run[0])


@pytest.fixture
def pieces(tmp_path: Path) -> Pieces:
    return Pieces(tmp_path / "pieces", "mark")


@pytest.mark.parametrize(
    ("runs", "missing"),
    [
        ([], [(0, 20)]),
        ([(0, 20)], []),
        ([(5, 8), (12, 20)], [(0, 5), (8, 12)]),
        ([(0, 7), (5, 12), (6, 9)], [(12, 20)]),
        ([(3, 5), (3, 9), (9, 10)], [(0, 3), (10, 20)]),
    ],
)
def test_missing_is_what_no_run_covers(pieces: Pieces, runs: list[Run], missing: list[Run]) -> None:
    save(pieces, *runs)
    assert pieces.missing(20) == missing


def test_runs_of_any_cut_join_to_the_same_rows(pieces: Pieces) -> None:
    save(pieces, (0, 7), (5, 12), (6, 9), (12, 20))
    assert [(piece.start, piece.stop) for piece in pieces.finished()] == [(0, 7), (5, 12), (12, 20)]
    assert [piece.facts()["first"] for piece in pieces.finished()] == [0, 5, 12]
    for block_rows in (1, 3, 6, 20, 50):
        found = list(pieces.blocks(20, block_rows))
        assert [run for run, _ in found] == [(i, min(i + block_rows, 20)) for i in range(0, 20, block_rows)]
        np.testing.assert_array_equal(np.concatenate([tensors["x"] for _, tensors in found]), VALUES)
    np.testing.assert_array_equal(pieces.read((6, 13))["x"], VALUES[6:13])


def test_other_marks_and_halves_are_not_seen(pieces: Pieces) -> None:
    save(pieces, (0, 5), (5, 9), (9, 12))
    save(Pieces(pieces.directory, "other"), (0, 20))
    first, second, _ = pieces.finished()
    first.path.unlink()
    second.note.unlink()
    assert pieces.missing(12) == [(0, 9)]


@pytest.mark.parametrize("part", ["path", "note"])
def test_damaged_runs_are_found_and_dropped(pieces: Pieces, part: str) -> None:
    """Those that were hidden behind the damaged one are checked too."""
    save(pieces, (0, 5), (5, 12), (6, 9))
    damaged = pieces.finished()[1]
    damaged.check()
    for piece in pieces.finished()[1:]:
        path: Path = getattr(piece, part)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    expected = rf"{re.escape(str(damaged.path))} is not what" if part == "path" else "not valid JSON"
    with pytest.raises(CorruptArtifactError, match=expected):
        damaged.check()
    assert pieces.drop_damaged() == [damaged.path]
    assert pieces.missing(12) == [(5, 6), (9, 12)]
    assert pieces.drop_damaged() == []


@pytest.mark.parametrize("num_shares", [1, 2, 3, 7, 30])
@pytest.mark.parametrize("runs", [[(0, 20)], [(3, 9), (12, 13), (15, 20)], []])
def test_shares_cover_all_rows_once_and_are_nearly_equal(num_shares: int, runs: list[Run]) -> None:
    dealt = deal(runs, num_shares, most=4)
    rows = [row for share in dealt for run in share for row in range(*run)]
    assert rows == [row for run in runs for row in range(*run)]
    sizes = [sum(stop - start for start, stop in share) for share in dealt]
    assert len(sizes) == num_shares
    assert max(sizes) - min(sizes) <= 1
    assert all(start // 4 == (stop - 1) // 4 for share in dealt for start, stop in share)


def test_shares_weigh_the_rows_that_make_work() -> None:
    weighs = np.arange(20) >= 12
    first, second = deal([(0, 20)], 2, most=100, weighs=weighs)
    assert [weighs[slice(*run)].sum() for run in (*first, *second)] == [4, 4]
