"""The table of ``python -m benchmarks``."""

from pathlib import Path

import pytest

from benchmarks.__main__ import cpu_seconds, line, measured, slower
from benchmarks.speed import CASES

FOUND = {"ours_s": 2.0, "peer_s": 3.0, "ratio": 1.5, "ratios": [1.4, 1.75], "peak_mib": 1234.4}


def test_a_line_names_the_peer_and_the_spread() -> None:
    peer = CASES["neighbors"].peer
    expected = f"| embed | 50 neighbours, 768 dims | 10,000 | 2.00 | {peer} 3.00 | 1.50 (1.40 to 1.75) | 1,234 |"
    assert line("neighbors", 10_000, FOUND) == expected
    assert line("auto", 10, FOUND | {"peer_s": None}).endswith("| 10 | 2.00 | - | - | 1,234 |")


def test_slower_than_all_turns_of_the_kept_run() -> None:
    kept = {"auto 10": FOUND}
    assert slower("auto 10", FOUND | {"ratio": 1.2}, kept) is None
    assert slower("heads 10", FOUND | {"ratio": 0.1}, kept) is None
    assert slower("auto 10", FOUND | {"ratio": 1.1}, kept) == ("auto 10 became slower: its ratio is 1.1 and was 1.5.")


def test_seconds_of_the_processor_count() -> None:
    assert cpu_seconds(lambda: sum(range(2_000_000))) > 0


@pytest.mark.parametrize("name", ["heads", "resnet8", "scores", "auto", "neighbors"])
def test_both_sides_of_a_line_run(name: str, tmp_path: Path) -> None:
    pair = CASES[name].make(80, tmp_path)
    pair.ours()
    if pair.peer is not None:
        pair.peer()
    assert (pair.peer is None) == (CASES[name].peer == "")


def test_a_line_is_measured() -> None:
    found = measured("scores", 50, 2)
    assert found["ours_s"] >= 0
    assert found["ratios"][0] <= found["ratio"] <= found["ratios"][1]
    assert found["peak_mib"] > 10
