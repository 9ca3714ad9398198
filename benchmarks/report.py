"""Size of the report's page, seconds and memory of `elfs report`, by the number of images.

    python benchmarks/report.py 300 20000 1000000

The images are those of `synthetic:size=160`, drawn when they are shown; embeddings (64 wide, 50 groups), neighbours (of
the same group), pseudo-labels, dynamics (30 epochs) and 14 scores are random numbers of the right shapes. A tenth is
selected. The command runs in a process of its own; its peak memory includes pages of the workspace that are mapped.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.catalog import SCORES
from elfs.config import CONFIGS, as_json, from_json
from elfs.data.samples import SampleTable
from elfs.data.sources.synthetic import SyntheticSource
from elfs.data.synthetic.spec import parse_source
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.pipeline.source_facts import SourceFacts
from elfs.workspace.draft import open_draft
from elfs.workspace.files import digest_json
from elfs.workspace.workspace import Workspace

GROUPS, WIDTH, EPOCHS, NEIGHBORS = 50, 64, 30, 10

Arrays = dict[str, NDArray[Any]]


def commit(path: Path, stage: str, artifacts: dict[str, Arrays], source: str) -> None:
    """Publish what a stage would have made."""
    workspace = Workspace.create(path)
    config = {"source": source} if stage == "embed" else {}
    draft = open_draft(workspace, stage, digest_json(stage))
    for name, arrays in artifacts.items():
        draft.save(name, arrays)
    draft.commit(
        stage,
        stage=stage,
        config=as_json(from_json(CONFIGS[stage], config)),
        inputs={} if stage == "embed" else {"samples": workspace.manifest.artifacts["samples"].digest},
        seed=0,
        smoke=False,
        summary={"headline": f"{stage}, random numbers"},
        metadata={"samples": asdict(SourceFacts(source, 3, True, None, True, 160))} if stage == "embed" else {},
        run={"started": "2025-01-01T00:00:00+00:00", "seconds": 1.0, "device": "cpu"},
        source_root=None,
    )


def make(path: Path, num_rows: int) -> None:
    """Make a workspace in which everything but the images is random."""
    source, draws = f"synthetic:images={num_rows},test=0,size=160", np.random.default_rng(0)
    table: SampleTable = SyntheticSource(parse_source(source)).list()
    groups_N = draws.integers(GROUPS, size=num_rows)
    centers = draws.normal(size=(GROUPS, WIDTH)).astype(np.float32)
    embeddings = (centers[groups_N] + draws.normal(scale=0.7, size=(num_rows, WIDTH)).astype(np.float32)).astype("f2")
    order = np.argsort(groups_N, kind="stable")
    near = np.empty((num_rows, NEIGHBORS), np.int32)
    near[order] = np.stack([np.roll(order, -step) for step in range(1, NEIGHBORS + 1)], axis=1)
    similarity = np.sort(draws.random((num_rows, NEIGHBORS), dtype=np.float32))[:, ::-1].astype(np.float16)
    found: Arrays = {"indices": near, "similarity": similarity}
    content = np.arange(1, num_rows + 1)
    values: Arrays = {"embeddings": embeddings, "content": content}
    first: dict[str, Arrays] = {"samples": table.tensors(), "embeddings": values, "neighbors": found}
    commit(path, "embed", first, source)
    confidence = draws.random(num_rows, dtype=np.float32)
    labels: Arrays = {"pseudo_labels": groups_N.astype(np.int64), "confidence": confidence}
    commit(path, "label", {"pseudo_labels": labels}, source)
    margins = draws.uniform(-1, 1, (EPOCHS, num_rows)).astype(np.float16)
    commit(path, "dynamics", {"dynamics": {"margin": margins}}, source)
    scores = {key: draws.normal(size=num_rows).astype(np.float32) for key in SCORES}
    commit(path, "score", {"scores": scores}, source)
    config = from_json(CONFIGS["select"], {"method": "elfs", "budget": "0.1", "hard_rate": 0.2, "name": "tenth"})
    execute("select", path, config, Runtime(devices="cpu"))


def measure(path: Path, page: Path) -> tuple[float, float, float]:
    """Return megabytes of the page, seconds and peak GiB of the command."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "elfs", "report", "-w", str(path), "-o", str(page)]
    number = os.spawnv(os.P_NOWAIT, sys.executable, command)
    _, status, used = os.wait4(number, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return page.stat().st_size / 1e6, time.perf_counter() - began, used.ru_maxrss / 2**20


def main() -> None:
    """Measure each number of images, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, nargs="+", help="numbers of images")
    parser.add_argument("--place", type=Path, help="keep workspaces and pages here")
    options = parser.parse_args()
    print("| images | page, MB | seconds | peak memory, GiB |\n|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as temporary:
        for num_rows in options.rows:
            place = (options.place or Path(temporary)) / str(num_rows)
            if not place.exists():
                make(place / "workspace", num_rows)
            size, seconds, memory = measure(place / "workspace", place / "page.html")
            print(f"| {num_rows:,} | {size:.1f} | {seconds:.0f} | {memory:.2f} |", flush=True)


if __name__ == "__main__":
    main()
