"""How well the number of clusters is told without labels, on pools of known classes and on some of their classes.

    python benchmarks/cluster_count.py digits synthetic:balanced synthetic:longtail --parts 2,3,5,7
    python benchmarks/cluster_count.py emoji --encoder lite --seeds 1

A pool is a source that knows its classes, or a folder with one folder a class; every seed embeds it anew. Parts are
pools of so many of its classes, drawn at random. Prints a Markdown table: the number that `--clusters auto` finds, the
range that is as good, what the silhouette of k-means finds, and the processor's seconds of both on one thread. Then
the share of pools that are told within a fifth, and the mean of ``|log(found / classes)|``.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import silhouette_score

from elfs.config import EmbedConfig
from elfs.data.samples import SampleTable
from elfs.evaluation.labels import FOLDERS, true_labels
from elfs.ops.kmeans import kmeans
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.train.cluster_count import CANDIDATES, estimate_num_clusters
from elfs.train.features import Features
from elfs.workspace.workspace import Workspace

ROWS = 1_600
"""What the silhouette looks at."""
WITHIN = 0.2


def embedded(pool: str, encoder: str, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the training rows' embeddings and their classes."""
    root = Path(pool) if Path(pool).is_dir() else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ws"
        config = EmbedConfig(source="folder" if root else pool, encoder=encoder, seed=seed)
        execute("embed", path, config, Runtime(devices="cpu"), source_root=root)
        workspace = Workspace.open(path)
        table = SampleTable.from_tensors(workspace.arrays("samples"))
        rows = np.flatnonzero(table.eligible())
        labels = true_labels(workspace, table, FOLDERS if root else None).values[rows]
        return workspace.arrays("embeddings")["embeddings"][rows].astype(np.float32), labels


def by_silhouette(embeddings: NDArray[np.float32], seed: int) -> int:
    """Return the number of clusters up to 60 for which k-means has the highest silhouette."""
    rows = np.random.default_rng(seed).permutation(len(embeddings))[:ROWS]
    unit = torch.nn.functional.normalize(torch.from_numpy(embeddings[rows] - embeddings[rows].mean(axis=0)))
    candidates = [candidate for candidate in CANDIDATES if 2 <= candidate <= min(60, len(unit) // 10)]
    found: dict[int, float] = {}
    for clusters in candidates:
        labels = kmeans(unit, clusters, seed=seed, restarts=2).assignment
        found[clusters] = float(silhouette_score(unit.numpy(), labels.numpy()))
    return sorted(found, key=lambda clusters: -found[clusters])[0]


def told(name: str, embeddings: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> tuple[int, int]:
    """Print the line of one pool; return its number of classes and the number that is found."""
    classes = len(np.unique(labels))
    start = time.process_time()
    count = estimate_num_clusters(Features(embeddings, np.arange(len(labels)), torch.device("cpu")), seed)
    found = time.process_time()
    other = by_silhouette(embeddings, seed)
    seconds = f"{found - start:.1f} | {time.process_time() - found:.1f}"
    good = f"{count.fewest} to {count.most}"
    print(f"| {name} | {len(labels):,} | {classes} | {count.best} | {good} | {other} | {seconds} |", flush=True)
    return classes, count.best


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", nargs="+")
    parser.add_argument("--encoder", default="patches")
    parser.add_argument("--parts", default="", help="numbers of classes, separated by commas")
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| pool | images | classes | auto | as good | silhouette | s | s |\n|---|---|---|---|---|---|---|---|")
    pairs = []
    for pool in arguments.pools:
        for seed in range(arguments.seeds):
            embeddings, labels = embedded(pool, arguments.encoder, seed)
            pairs.append(told(f"{Path(pool).name}, seed {seed}", embeddings, labels, seed))
            for number in map(int, filter(None, arguments.parts.split(","))):
                some = np.random.default_rng(number + seed).permutation(np.unique(labels))[:number]
                part = np.isin(labels, some)
                pairs.append(told(f"{number} classes of it", embeddings[part], labels[part], seed))
    near = statistics.fmean(abs(found - classes) <= WITHIN * classes + 1e-9 for classes, found in pairs)
    apart = statistics.fmean(abs(math.log(found / classes)) for classes, found in pairs)
    print(f"\n{near:.0%} of {len(pairs)} within a fifth, mean |log| {apart:.2f}")


if __name__ == "__main__":
    main()
