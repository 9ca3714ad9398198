"""The table of ``python -m benchmarks``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import KEPT, compared, cpu_seconds, line, machine, measured, worse
from benchmarks.speed import CASES

FOUND = {
    "ours_s": 2.0,
    "peer_s": 3.0,
    "ratio": 1.5,
    "ratios": [1.4, 1.75],
    "peak_mib": 1234.4,
    "machine": "one, 2 cores",
}


def test_a_line_names_the_peer_and_the_spread() -> None:
    peer = CASES["neighbors"].peer
    expected = f"| embed | 50 neighbours, 768 dims | 10,000 | 2.00 | {peer} 3.00 | 1.50 (1.40 to 1.75) | 1,234 |"
    assert line("neighbors", 10_000, FOUND) == expected
    assert line("auto", 10, FOUND | {"peer_s": None}).endswith("| 10 | 2.00 | - | - | 1,234 |")


def test_slower_than_all_turns_of_the_kept_run() -> None:
    kept = {"auto 10": FOUND}
    assert worse("auto 10", FOUND | {"ratio": 1.2}, kept) == []
    assert worse("heads 10", FOUND | {"ratio": 0.1}, kept) == []
    assert worse("auto 10", FOUND | {"ratio": 1.1}, kept) == ["auto 10 became slower: its ratio is 1.1 and was 1.5."]


def test_more_memory_than_in_the_kept_run() -> None:
    kept = {"auto 10": FOUND}
    assert worse("auto 10", FOUND | {"peak_mib": 1400.0}, kept) == []
    said = "auto 10 became larger: its peak is 1,500 MiB and was 1,234."
    assert worse("auto 10", FOUND | {"peak_mib": 1500.0}, kept) == [said]
    elsewhere = FOUND | {"peak_mib": 1500.0, "ratio": 1.1, "machine": "another, 4 cores"}
    slow, large = worse("auto 10", elsewhere, kept)
    assert slow.startswith("auto 10 became slower")
    assert large == f"{said} The kept run was on another machine: {FOUND['machine']}."
    old = {key: value for key, value in FOUND.items() if key != "machine"}
    assert worse("auto 10", elsewhere, {"auto 10": old})[-1].endswith("another machine: an unknown one.")


def test_every_line_is_compared_with_a_kept_one() -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    asked = {f"{name} {size}" for name, case in CASES.items() for size in (case.quick, *case.sizes)}
    assert asked <= kept.keys()
    assert compared(["auto 10", "auto 20"], {"auto 10": FOUND}, []) == (
        "1 of 2 lines compared with speed.json; none became slower or larger."
    )
    assert compared(["auto 10"], {"auto 10": FOUND}, ["slow"]) == "1 of 1 lines compared with speed.json."
    assert compared(["auto 10"], {}, []) == "0 of 1 lines compared with speed.json."


def test_seconds_of_the_processor_count() -> None:
    assert cpu_seconds(lambda: sum(range(2_000_000))) > 0
    assert min(cpu_seconds(lambda: sum(range(2_000))) for _ in range(20)) > 0
    assert cpu_seconds(lambda: subprocess.run([sys.executable, "-c", "sum(range(10**6))"], check=True)) > 0.01


@pytest.mark.parametrize("name", ["heads", "resnet8", "consensus", "scores", "auto", "neighbors"])
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
    assert found["machine"] == machine()
    assert "cores, torch " in machine()
