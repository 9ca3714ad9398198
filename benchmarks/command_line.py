"""How long the command line takes, and how much memory: help, status, a smoke run, the main job, and that once more.

    python benchmarks/command_line.py

Every line is a process of its own. CPU seconds, since the machine may have other work, and those that pass. Prints a
Markdown table.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

COMMANDS = (
    (["--help"], 11),
    (["run", "digits", "--smoke", "--force"], 3),
    (["status"], 11),
    (["run", "digits", "--budget", "0.1", "--key", "aum", "--force"], 3),
    (["run", "digits", "--budget", "0.1", "--key", "aum"], 3),
    (["embed", "digits"], 3),
)


def measure(arguments: list[str], folder: str) -> tuple[float, float, float]:
    """Return the CPU seconds of one process, those that passed, and its peak memory in MiB."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "elfs", *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"elfs {' '.join(arguments)} ended with status {status}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    """Run everything and print the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print("| command | CPU seconds, median | seconds, median | peak memory, MiB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for arguments, repeats in COMMANDS:
            cpu, seconds, memory = zip(*(measure(arguments, folder) for _ in range(repeats)), strict=True)
            took = f"{statistics.median(cpu):.2f} ({min(cpu):.2f} to {max(cpu):.2f}) | {statistics.median(seconds):.2f}"
            print(f"| `elfs {' '.join(arguments)}` | {took} | {max(memory):.0f} |", flush=True)


if __name__ == "__main__":
    main()
