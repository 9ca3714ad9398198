"""How well embeddings keep the true classes apart, without any training: neighbours and k-means, by pool and encoder.

    python benchmarks/encoders.py digits synthetic:balanced --encoders pixels,patches,lite
    python benchmarks/encoders.py emoji --encoders pixels,patches,lite

A pool is a source with labels of its own, or a folder with one folder a class (`benchmarks/pools.py` writes some).
Training images, embedded with default settings. 1-NN: share of the images whose nearest neighbour, by cosine, has the
same class; 10-NN: share of the ten nearest. k-means: on rows of length 1, as many clusters as classes, mean and
deviation over the seeds. Seconds are the processor's, for 1,000 images, what is learned from the pool and the search
for neighbours included.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from elfs.config import EmbedConfig
from elfs.data.samples import SampleTable, Split
from elfs.evaluation.labels import FOLDERS, true_labels
from elfs.evaluation.metrics import clustering_metrics
from elfs.ops.kmeans import kmeans
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.workspace.workspace import Workspace


def row(pool: str, encoder: str, workspace: Path, seeds: int, limit: int | None) -> str:
    """Embed a pool and return one line of the table."""
    root = Path(pool) if Path(pool).is_dir() else None
    config = EmbedConfig(source="folder" if root else pool, encoder=encoder, limit=limit)
    start = time.process_time()
    execute("embed", workspace, config, Runtime(devices="cpu", num_workers=0), source_root=root)
    seconds = time.process_time() - start
    found = Workspace.open(workspace)
    table = SampleTable.from_tensors(found.arrays("samples"))
    rows = table.rows(Split.TRAIN)
    labels = true_labels(found, table, FOLDERS if root else None).values[rows]
    embeddings = F.normalize(torch.from_numpy(np.array(found.arrays("embeddings")["embeddings"])[rows]).float(), dim=1)
    similarity = (embeddings @ embeddings.T).fill_diagonal_(-2)
    same = labels[similarity.topk(10).indices.numpy()] == labels[:, None]
    scores = []
    for seed in range(seeds):
        clusters = kmeans(embeddings, len(np.unique(labels)), seed=seed, restarts=3).assignment.numpy()
        metrics = clustering_metrics(labels, clusters.astype(np.int64))
        scores.append((metrics.accuracy, metrics.nmi))
    accuracy, nmi = (f"{np.mean(values):.2f} +- {np.std(values, ddof=1):.2f}" for values in zip(*scores, strict=True))
    return (
        f"| {encoder} | {embeddings.shape[1]} | {same[:, 0].mean():.3f} | {same.mean():.3f} | {accuracy} | {nmi} | "
        f"{1000 * seconds / len(table):.1f} |"
    )


def main() -> None:
    """Run everything and print one table a pool."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pools", nargs="+")
    parser.add_argument("--encoders", default="pixels,patches,lite")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="only this many images of a pool, evenly spread")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for pool in arguments.pools:
        with tempfile.TemporaryDirectory() as folder:
            print(f"\n### {pool}\n")
            print("| encoder | dimensions | 1-NN | 10-NN | k-means ACC | k-means NMI | s per 1,000 |")
            print("|---|---|---|---|---|---|---|")
            for number, encoder in enumerate(arguments.encoders.split(",")):
                print(row(pool, encoder, Path(folder) / str(number), arguments.seeds, arguments.limit), flush=True)


if __name__ == "__main__":
    main()
