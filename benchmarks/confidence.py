"""Whether a confidence of c means that a share c of those pseudo-labels is right.

    elfs embed digits -w digits
    python benchmarks/confidence.py digits --methods kmeans,turtle,temi,temi:90

Each workspace holds embeddings of a pool whose true classes are known (a source that has them, or folders); `cluster`
and `label` run in it with each method, `temi:90` with about 90 steps. Calibration error: images by confidence in ten
ranges of equal width, mean difference of their confidence and their share of right labels (clusters matched to classes
one to one), over the images that can be selected. Prints a Markdown table.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elfs.config import ClusterConfig, LabelConfig
from elfs.data.samples import SampleTable
from elfs.evaluation.labels import FOLDERS, true_labels
from elfs.evaluation.metrics import match_clusters
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.pipeline.source_facts import SourceFacts
from elfs.source_names import has_root
from elfs.workspace.workspace import Workspace

RANGES = 10
SURE = 0.9
BATCH = 256


def calibration_error(confidence_N: NDArray[np.float32], right_N: NDArray[np.bool_]) -> float:
    """Return the mean difference of confidence and share of right labels, over ranges of confidence."""
    range_N = np.minimum((confidence_N * RANGES).astype(np.int64), RANGES - 1)
    gaps = np.bincount(range_N, confidence_N.astype(np.float64) - right_N, minlength=RANGES)
    return float(np.abs(gaps).sum() / len(right_N))


def line(path: Path, way: str, seed: int) -> str:
    """Cluster and label; return the cells of a line."""
    method, _, steps = way.partition(":")
    runtime = Runtime(devices="cpu")
    workspace = Workspace.open(path)
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    rows = np.flatnonzero(table.eligible())
    labels = FOLDERS if has_root(workspace.metadata("samples", SourceFacts).source) else None
    truth = true_labels(workspace, table, labels).values[rows]
    epochs = -(-int(steps) // -(-len(rows) // BATCH)) if steps else None
    clusters = len(set(truth.tolist()))
    execute("cluster", path, ClusterConfig(method=method, clusters=clusters, epochs=epochs, seed=seed), runtime)
    execute("label", path, LabelConfig(), runtime)
    found = Workspace.open(path).arrays("pseudo_labels")
    assigned, confidence = np.array(found["pseudo_labels"])[rows], np.array(found["confidence"])[rows]
    right = match_clusters(truth, assigned)[assigned] == truth
    sure = confidence > SURE
    shares = (right.mean(), confidence.mean(), calibration_error(confidence, right))
    of_sure = f"{100 * right[sure].mean():.0f}" if sure.any() else "-"
    return " | ".join([*(f"{100 * share:.1f}" for share in shares), f"{100 * sure.mean():.0f}", of_sure])


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspaces", nargs="+", type=Path)
    parser.add_argument("--methods", default="graph,kmeans,turtle,temi")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| pool | method | right | mean confidence | calibration error | above 0.9 | of them right |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for path in options.workspaces:
        for way in options.methods.split(","):
            print(f"| {path.name} | {way} | {line(path, way, options.seed)} |", flush=True)


if __name__ == "__main__":
    main()
