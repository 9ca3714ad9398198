"""How well clusters agree with the true classes: the neighbour graph, TEMI, TURTLE and k-means, over pools and seeds.

    python benchmarks/clusters.py digits synthetic:longtail --first-seed 3 --seeds 5
    python benchmarks/clusters.py synthetic:shapes --ways "k-means on patches,graph on patches"

A pool is a source that knows its classes, or a folder with one folder a class. Every seed embeds and clusters anew.
Accuracy after Hungarian matching and normalised mutual information on the training rows, in percent: median, mean and
standard deviation. Seconds are the processor's, of the clustering alone. Prints a Markdown table.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from elfs.config import ClusterConfig, EmbedConfig, LabelConfig
from elfs.data.samples import SampleTable
from elfs.evaluation.evaluate import evaluate
from elfs.evaluation.labels import FOLDERS, true_labels
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.workspace.workspace import Workspace

WAYS = {
    "k-means on pixels": ("pixels", "kmeans"),
    "k-means on patches": ("patches", "kmeans"),
    "TEMI on patches": ("patches", "temi"),
    "graph on patches": ("patches", "graph"),
    "k-means on lite": ("lite", "kmeans"),
    "TEMI on lite": ("lite", "temi"),
    "graph on lite": ("lite", "graph"),
    "TURTLE on patches": ("patches", "turtle"),
    "TURTLE on patches+lite": ("patches+lite", "turtle"),
    "TURTLE on patches+pixels": ("patches+pixels", "turtle"),
}


def measured(path: Path, pool: str, encoder: str, method: str, seed: int) -> tuple[float, float, float]:
    """Return accuracy, normalised mutual information, and the seconds of the clustering."""
    root = Path(pool) if Path(pool).is_dir() else None
    runtime = Runtime(devices="cpu")
    embed = EmbedConfig(source="folder" if root else pool, encoder=encoder, seed=seed)
    execute("embed", path, embed, runtime, source_root=root)
    labels = FOLDERS if root else None
    clusters = len(set(true_labels(Workspace.open(path), table_of(path), labels).values.tolist()) - {-1})
    start = time.process_time()
    execute("cluster", path, ClusterConfig(method=method, clusters=clusters, seed=seed), runtime)
    seconds = time.process_time() - start
    execute("label", path, LabelConfig(), runtime)
    found = evaluate(path, labels).splits["train"][1]
    return found.accuracy, found.nmi, seconds


def table_of(path: Path) -> SampleTable:
    """Return the samples of a workspace."""
    return SampleTable.from_tensors(Workspace.open(path).arrays("samples"))


def spread(values: Sequence[float]) -> str:
    """Return median, mean and standard deviation in percent."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.median(values):.1f} ({100 * statistics.fmean(values):.1f} +- {100 * deviation:.1f})"


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", nargs="+")
    parser.add_argument("--ways", default=",".join(WAYS), help="some of these, separated by commas")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| pool | clusters | accuracy | NMI | least accuracy | s |\n|---|---|---|---|---|---|")
    for pool in arguments.pools:
        for name in arguments.ways.split(","):
            encoder, method = WAYS[name]
            with tempfile.TemporaryDirectory() as folder:
                seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
                rows = [measured(Path(folder) / str(seed), pool, encoder, method, seed) for seed in seeds]
            accuracy, nmi, seconds = (list(column) for column in zip(*rows, strict=True))
            least, time_each = 100 * min(accuracy), statistics.median(seconds)
            pool_name = Path(pool).name
            print(
                f"| {pool_name} | {name} | {spread(accuracy)} | {spread(nmi)} | {least:.1f} | {time_each:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
