"""One table of how fast every stage is, beside a peer or what bounds it, measured in the same run.

    python -m benchmarks                        # about 20 minutes
    python -m benchmarks --quick                # small sizes, 3 minutes
    python -m benchmarks neighbors heads        # some lines
    python -m benchmarks --quick --keep         # and write benchmarks/speed.json, which later runs are compared with

Run it from a checkout. Each line is a process of its own, on one thread; CPU seconds, since the machine may have other
work; medians of turns that ours and the peer take, and the least and largest of the turns' ratios. Above 1 ours is
faster. Peak memory is that of the process before the peer ran. Where there is no peer the ratio is that of one product
of 2048 x 2048 to ours, which a faster machine leaves as it is; a line whose ratio fell by more than a fifth below all
turns of the kept run is called slower, one whose peak memory grew by more than a fifth larger, and each ends the
command with 1. The kept run says of each line on which machine it was made.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

KEPT = Path(__file__).with_name("speed.json")
SLOWER, LARGER = 0.8, 1.2


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds of a call, those of its child processes included."""
    before = _spent()
    work()
    return _spent() - before


def _spent() -> float:
    """Return the CPU seconds so far; `os.times` counts hundredths, which is as long as a small line takes."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def machine() -> str:
    """Return what a result depends on besides the code: the processor, how many of them, and torch."""
    from importlib.metadata import version

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [text.partition(":")[2].strip() for text in lines if text.startswith("model name")]
    name = (names or [platform.machine()])[0]
    return f"{name}, {os.cpu_count()} cores, torch {version('torch')}"


def one_product() -> Callable[[], object]:
    """Return a product that says how fast this machine is."""
    import torch

    matrix = torch.randn(2048, 2048)
    return lambda: matrix @ matrix


def measured(name: str, size: int, turns: int) -> dict[str, Any]:
    """Measure one line in this process."""
    from benchmarks.speed import CASES

    with tempfile.TemporaryDirectory() as folder:
        pair = CASES[name].make(size, Path(folder))
        pair.ours()
        who = resource.RUSAGE_CHILDREN if CASES[name].stage == "start" else resource.RUSAGE_SELF
        peak_mib = resource.getrusage(who).ru_maxrss / 1024
        peer = pair.peer or one_product()
        peer()
        ours_s, peer_s = zip(*((cpu_seconds(pair.ours), cpu_seconds(peer)) for _ in range(turns)), strict=True)
    ratios = sorted(theirs / max(ours, 1e-9) for ours, theirs in zip(ours_s, peer_s, strict=True))
    return {
        "ours_s": statistics.median(ours_s),
        "peer_s": statistics.median(peer_s) if pair.peer else None,
        "ratio": statistics.median(ratios),
        "ratios": [ratios[0], ratios[-1]],
        "peak_mib": peak_mib,
        "machine": machine(),
    }


def in_child(name: str, size: int, turns: int) -> dict[str, Any]:
    """Measure one line in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a start would compile elfs each time, which an installed one is
    command = [sys.executable, "-m", "benchmarks", "--case", name, "--size", str(size), "--turns", str(turns)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    result: dict[str, Any] = json.loads(found.stdout)
    return result


def line(name: str, size: int, found: dict[str, Any]) -> str:
    """Return a row of the table."""
    from benchmarks.speed import CASES

    case, (least, most) = CASES[name], found["ratios"]
    peer, ratio = "-", "-"
    if case.peer:
        peer, ratio = f"{case.peer} {found['peer_s']:.2f}", f"{found['ratio']:.2f} ({least:.2f} to {most:.2f})"
    ours, peak = f"{found['ours_s']:.2f}", f"{found['peak_mib']:,.0f}"
    return f"| {case.stage} | {case.what} | {size:,} | {ours} | {peer} | {ratio} | {peak} |"


def worse(key: str, found: dict[str, Any], kept: dict[str, Any]) -> list[str]:
    """Return what to say of a line that became slower or takes more memory."""
    if key not in kept:
        return []
    said, before = [], kept[key]
    if found["ratio"] < SLOWER * before["ratios"][0]:
        said.append(f"{key} became slower: its ratio is {found['ratio']:.3g} and was {before['ratio']:.3g}.")
    if found["peak_mib"] > LARGER * before["peak_mib"]:
        said.append(f"{key} became larger: its peak is {found['peak_mib']:,.0f} MiB and was {before['peak_mib']:,.0f}.")
    if said and found["machine"] != before.get("machine", "an unknown one"):
        said[-1] += f" The kept run was on another machine: {before.get('machine', 'an unknown one')}."
    return said


def compared(keys: Collection[str], kept: dict[str, Any], complaints: Sequence[str]) -> str:
    """Return how many lines the kept run has, and whether all held."""
    known = sum(key in kept for key in keys)
    found = "" if complaints or not known else "; none became slower or larger"
    return f"{known} of {len(keys)} lines compared with {KEPT.name}{found}."


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="lines to measure; none: all")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--keep", action="store_true", help=f"write {KEPT.name}")
    parser.add_argument("--turns", type=int, default=3, help="how often each is measured")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measured(options.case, options.size, options.turns)))
        return
    from benchmarks.speed import CASES

    if unknown := set(options.names) - CASES.keys():
        parser.error(f"no line is called {sorted(unknown)[0]}; there are {', '.join(CASES)}")
    kept = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    begin, results, complaints = time.perf_counter(), {}, []
    print(f"{machine()}, Python {platform.python_version()}; CPU seconds, 1 thread\n")
    print("| stage | work | size | elfs, s | peer, s | ratio | peak, MiB |\n|---|---|---:|---:|---|---|---:|")
    for name in options.names or CASES:
        for size in (CASES[name].quick,) if options.quick else CASES[name].sizes or (CASES[name].quick,):
            key = f"{name} {size}"
            results[key] = in_child(name, size, options.turns)
            print(line(name, size, results[key]), flush=True)
            complaints += worse(key, results[key], kept)
    print(f"\n{time.perf_counter() - begin:.0f} s", *complaints, compared(results, kept, complaints), sep="\n")
    if options.keep:
        KEPT.write_text(json.dumps(kept | results, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sys.exit(1 if complaints and not options.keep else 0)


if __name__ == "__main__":
    main()
