"""How the time and the memory of score and select grow with the pool.

    python -m benchmarks.growth                              # 1, 2, 4 and 8 million images
    python -m benchmarks.growth --rows 10000000 --methods elfs

The workspace is made up: a small chain is run, and what its stages made is repeated and published at its size under the
same records, with ids of its own: 30 epochs of traces, embeddings of 32 dimensions, 10 neighbours. Each line is a
command, in a process of its own, on all CPUs: wall and CPU seconds, what doubling the pool multiplied these by, and
peak memory without and with the files that are mapped, and by how many bytes an image the former has grown since the
size before, beside what docs/scaling.md says. Freed memory is given back at once, which takes up to twice the CPU time:
with ``--keep-freed`` up to 1 GiB stays with the process as it does for users.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scaling_costs import MEMORY, Setting
from elfs.config import CONFIGS, from_json
from elfs.data.samples import SampleTable, Split
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute, writing
from elfs.workspace.draft import Draft, open_draft
from elfs.workspace.workspace import Workspace

SMALL, DIMS, NEIGHBORS, EPOCHS = 2_000, 32, 10, 30
FILE_ROWS = 1 << 20
CHAIN: dict[str, dict[str, Any]] = {
    "embed": {"source": "embeddings", "neighbors": NEIGHBORS},
    "cluster": {"clusters": 10, "method": "kmeans"},
    "label": {},
    "dynamics": {"epochs": EPOCHS, "proxies": 1},
}
FILE_BYTES = 1 << 30
BUDGET = 0.1
SETTING = Setting(id_bytes=9, dims=DIMS, neighbors=NEIGHBORS, epochs=EPOCHS, keys=14, budget=BUDGET)
FREEING = {"MALLOC_MMAP_THRESHOLD_": "1048576", "MALLOC_TRIM_THRESHOLD_": "1048576"}
MOST_COVERED = 2_000_000
"""Larger pools are not read to say what random images cover."""


def make_small(place: Path, workspace: Path) -> None:
    """Run the stages up to dynamics on a few rows."""
    random = np.random.default_rng(0)
    centres = random.normal(0, 1, (10, DIMS))
    rows = centres[np.arange(SMALL) % 10] + random.normal(0, 1, (SMALL, DIMS))
    np.save(place / "small.npy", rows.astype(np.float16))
    for stage, options in CHAIN.items():
        own = {"embeddings": str(place / "small.npy")} if stage == "embed" else {}
        execute(stage, workspace, from_json(CONFIGS[stage], options | own), Runtime(devices="cpu", num_workers=0))


def samples(num_rows: int) -> dict[str, np.ndarray]:
    """Return the table of a pool of training images."""
    ids = (f"{number:09d}" for number in range(num_rows))
    table = SampleTable.from_ids(ids, np.full(num_rows, Split.TRAIN), np.zeros(num_rows, np.int64))
    return table.with_outcomes(np.zeros(num_rows, np.uint8), {}).tensors()


def repeated(values: np.ndarray, axis: int, start: int, stop: int) -> np.ndarray:
    """Return a run of rows of an array that is repeated along an axis."""
    return np.ascontiguousarray(np.take(values, np.arange(start, stop) % SMALL, axis=axis))


def fill(small: Workspace, draft: Draft, artifact: str, num_rows: int) -> None:
    """Save an artifact at another size, in files as its stage would."""
    files = small.manifest.artifacts[artifact].files
    if artifact == "samples":
        draft.save(artifact, samples(num_rows))
        return
    if not all(file.name.endswith(".safetensors") for file in files):
        for file in files:
            draft.save_bytes(artifact, file.name, (small.path / file.name).read_bytes())
        return
    tensors = small.arrays(artifact)
    axes = {values.shape.index(SMALL) if SMALL in values.shape else None for values in tensors.values()}
    (axis,) = axes
    if axis is None:
        draft.save(artifact, tensors)
        return
    length, step = num_rows, FILE_ROWS
    if axis == 1:  # whole epochs in each file
        length = len(next(iter(tensors.values())))
        step = max(1, FILE_BYTES // (num_rows * sum(values.itemsize for values in tensors.values())))
    starts = range(0, length, step)
    for number, start in enumerate(starts):
        stop = min(start + step, length)
        part = {
            name: np.arange(start, stop)  # no image is a copy of another
            if name == "content"
            else repeated(values, 0, start, stop)
            if axis == 0
            else repeated(values[start:stop], 1, 0, num_rows)
            for name, values in tensors.items()
        }
        draft.save(artifact, part, shard=(number, len(starts)) if len(starts) > 1 else None)


def grow(small: Workspace, path: Path, num_rows: int) -> None:
    """Publish every artifact of a small workspace at another size, under the records of the stages that made it."""
    with writing(path, create=True) as workspace:
        digests: dict[str, str] = {}
        for name in CHAIN:
            record = small.manifest.records[name]
            draft = open_draft(workspace, name, "0" * 16)
            for artifact in record.outputs:
                fill(small, draft, artifact, num_rows)
            draft.commit(
                name,
                stage=record.stage,
                config=record.config,
                inputs={key: digests.get(key, digest) for key, digest in record.inputs.items()},
                seed=record.seed,
                smoke=False,
                summary=record.summary,
                metadata={artifact: small.manifest.artifacts[artifact].metadata for artifact in record.outputs},
                run=small.manifest.runs[name],
            )
            digests |= {artifact: workspace.manifest.artifacts[artifact].digest for artifact in record.outputs}


def own_mib(process: subprocess.Popen[bytes]) -> float:
    """Return what a process holds now, in MiB, files that are mapped left out; 0 where Linux does not say."""
    try:
        text = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0.0
    found = re.search(r"RssAnon:\s+(\d+) kB", text)
    return int(found[1]) / 1024 if found else 0.0


def command(arguments: list[str], environment: dict[str, str]) -> tuple[float, float, float, float]:
    """Run elfs and return wall seconds, CPU seconds, and peak memory in MiB without and with mapped files."""
    begin, own = time.perf_counter(), 0.0
    with tempfile.TemporaryFile() as said:
        line = [sys.executable, "-m", "elfs", *arguments]
        process = subprocess.Popen(line, stdout=said, stderr=said, env=os.environ | environment)
        finished = 0
        while not finished:  # wait4 tells what this child alone used
            time.sleep(0.02)
            own = max(own, own_mib(process))
            finished, status, used = os.wait4(process.pid, os.WNOHANG)
        if status:
            said.seek(0)
            raise SystemExit(said.read().decode())
    return time.perf_counter() - begin, used.ru_utime + used.ru_stime, own, used.ru_maxrss / 1024


def row_of(work: list[str], num_rows: int) -> float | None:
    """Return the bytes a sample that docs/scaling.md says; None where it has no row for a method."""
    name = "score" if work[0] == "score" else f"select, `{work[2]}`"
    smaller = f"{name}, up to {MOST_COVERED:,} images"
    found = MEMORY.get(smaller if smaller in MEMORY and num_rows <= MOST_COVERED else name)
    return None if found is None else found.host_bytes(SETTING, 1)


class Table:
    """Prints a line for each command, and knows the size before."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._before: dict[str, tuple[int, float, float]] = {}
        columns = ["images", "work", "wall, s", "CPU, s", "of the size before", "memory, MiB", "with mapped files"]
        columns += ["grown by, bytes an image", "its row in docs/scaling.md"]
        print(f"| {' | '.join(columns)} |\n" + "|---" * len(columns) + "|")

    def add(self, work: list[str], num_rows: int, workspace: Path) -> None:
        """Run a command on a workspace of so many images."""
        name = " ".join(work)
        wall, cpu, own, peak = command([*work, "--devices", "cpu", "-w", str(workspace)], self._environment)
        times = grown = "-"
        if name in self._before:
            rows, seconds, held = self._before[name]
            times, grown = f"{cpu / seconds:.1f}", f"{(own - held) * 2**20 / (num_rows - rows):,.0f}"
        row = row_of(work, num_rows)
        said = "-" if row is None else f"{row:,.0f}"
        cells = [f"{num_rows:,}", name, f"{wall:.1f}", f"{cpu:.1f}", times, f"{own:,.0f}", f"{peak:,.0f}", grown, said]
        print(f"| {' | '.join(cells)} |", flush=True)
        self._before[name] = num_rows, cpu, own


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="1000000,2000000,4000000,8000000", help="numbers of images")
    parser.add_argument("--methods", default="elfs,ccs,random", help="methods of select")
    parser.add_argument("--keep-freed", action="store_true", help="for times, and for memory as users have it")
    options = parser.parse_args()
    works = [["score"]]
    works += [["select", "--method", method, "--budget", str(BUDGET)] for method in options.methods.split(",")]
    table = Table({} if options.keep_freed else FREEING)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make_small(place, place / "small")
        for num_rows in map(int, options.rows.split(",")):
            grow(Workspace.open(place / "small"), place / "grown", num_rows)
            for work in works:
                table.add(work, num_rows, place / "grown")
            shutil.rmtree(place / "grown")


if __name__ == "__main__":
    main()
