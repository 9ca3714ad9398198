"""What `elfs run --dry-run` says that a chain takes, beside what it took.

    python benchmarks/estimates.py digits synthetic:balanced,images=6000,size=28,test=0 mnist

A pool is a source or a folder. `--cpu`: CPU seconds, where the machine has other work. Defaults; each stage in a
process of its own, so that its peak memory can be told, and what loading torch takes is in no time (2.5 s are said for
a chain, once).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STAGES = ("embed", "cluster", "label", "dynamics", "score", "select")
START = (sys.executable, "-c", "import torch")


def finished(arguments: list[str], *, cpu: bool) -> tuple[float, float]:
    """Run a command; return its seconds, of the clock or of CPUs, and its peak memory in bytes."""
    start = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, arguments
    passed = usage.ru_utime + usage.ru_stime if cpu else time.perf_counter() - start
    return passed, usage.ru_maxrss * 1024.0


def said(pool: str, workspace: Path) -> list[dict[str, Any]]:
    """Return the plan of a dry run."""
    command = [
        sys.executable,
        "-m",
        "elfs",
        "run",
        pool,
        "-w",
        str(workspace),
        "--budget",
        "0.1",
        "--dry-run",
        "--json",
    ]
    plan: list[dict[str, Any]] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["plan"]
    return plan


def size(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main() -> None:
    """Run everything and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pools", nargs="+")
    parser.add_argument("--cpu", action="store_true")
    options = parser.parse_args()
    print("| pool | stage | said, s | took, s | ratio | said, GB | held, GB | said, MB | left, MB |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
    for pool in options.pools:
        with tempfile.TemporaryDirectory() as folder:
            workspace = Path(folder) / "w"
            plan, start = said(pool, workspace), min(finished(list(START), cpu=options.cpu)[0] for _ in range(2))
            for stage, cost in zip(STAGES, plan, strict=True):
                more = {"embed": [pool], "select": ["--budget", "0.1"]}.get(stage, [])
                before = size(workspace)
                seconds, memory = finished(
                    [sys.executable, "-m", "elfs", stage, *more, "-w", str(workspace)], cpu=options.cpu
                )
                seconds -= start
                print(
                    f"| {pool} | {stage} | {cost['seconds']:.1f} | {seconds:.1f} | {cost['seconds'] / seconds:.2f} | "
                    f"{cost['memory_bytes'] / 1e9:.2f} | {memory / 1e9:.2f} | {cost['disk_bytes'] / 1e6:.2f} | "
                    f"{(size(workspace) - before) / 1e6:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
