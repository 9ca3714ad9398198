"""How far embeddings and clusters carry over from pool to pool: neighbours, k-means and the default clustering.

    python benchmarks/carry_over.py digits synthetic:shapes --encoders pixels,patches
    python benchmarks/carry_over.py emoji --encoders patches,lite --method temi --seeds 2

A pool is a source that knows its classes, or a folder with one folder a class (`benchmarks/pools.py` and
`benchmarks/letters.py` write some). Training images, default settings, as many clusters as classes. 1-NN: share of
the images whose nearest neighbour, by cosine, has the same class; 10-NN: share of the ten nearest. Accuracy after
Hungarian matching and normalised mutual information (NMI), in percent: of k-means the medians, of the clustering median
and standard deviation. An encoder that learns from the pool learns anew for every seed, the others embed once. Seconds
are the processor's, of one thread, medians: of embedding 1,000 images, what is learned and the search for neighbours
included, and of one clustering. Prints a Markdown table.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from elfs.config import ClusterConfig, EmbedConfig, LabelConfig, StageConfig
from elfs.data.samples import SampleTable, Split
from elfs.evaluation.evaluate import evaluate
from elfs.evaluation.labels import FOLDERS, true_labels
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.workspace.workspace import Workspace

HEADER = "| pool | images | encoder | dimensions | 1-NN | 10-NN | k-means | {} | NMI | least | embed, s | cluster, s |"
LEARNS = "patches"


class Pool:
    """A pool embedded by one encoder, in a workspace of its own, and what was measured there.

    Parameters
    ----------
    name : str
        A source that knows its classes, or a folder with one folder a class.
    encoder : str
        As ``--encoder``.
    path : Path
        Where the workspace will be.
    limit : int or None
        Only this many images, evenly spread.
    """

    def __init__(self, name: str, encoder: str, path: Path, limit: int | None) -> None:
        self.root = Path(name) if Path(name).is_dir() else None
        self.name = self.root.name if self.root else name
        self.source, self.encoder, self.path, self.limit = "folder" if self.root else name, encoder, path, limit
        self.shape, self.classes = (0, 0), 0
        self.found: dict[str, list[float]] = defaultdict(list)

    def seconds(self, stage: str, config: StageConfig) -> float:
        """Run a stage and return what the processor took."""
        start = time.process_time()
        execute(stage, self.path, config, Runtime(devices="cpu", num_workers=0), source_root=self.root)
        return time.process_time() - start

    def embed(self, seed: int) -> None:
        """Embed, and note how many neighbours have the class of an image."""
        config = EmbedConfig(source=self.source, encoder=self.encoder, limit=self.limit, seed=seed)
        seconds = self.seconds("embed", config)
        workspace = Workspace.open(self.path)
        table = SampleTable.from_tensors(workspace.arrays("samples"))
        rows = table.rows(Split.TRAIN)
        labels = true_labels(workspace, table, FOLDERS if self.root else None).values[rows]
        embeddings = torch.from_numpy(np.array(workspace.arrays("embeddings")["embeddings"])[rows]).float()
        unit = F.normalize(embeddings, dim=1)
        nearest = (unit @ unit.T).fill_diagonal_(-2).topk(10).indices.numpy()
        same = labels[nearest] == labels[:, None]
        self.found["1-NN"].append(same[:, 0].mean())
        self.found["10-NN"].append(same.mean())
        self.found["embed"].append(1000 * seconds / len(table))
        self.shape, self.classes = (len(rows), embeddings.shape[1]), len(np.unique(labels))

    def cluster(self, method: str, seed: int) -> None:
        """Cluster, and note how well that agrees with the classes."""
        seconds = self.seconds("cluster", ClusterConfig(method=method, clusters=self.classes, seed=seed))
        self.seconds("label", LabelConfig())
        metrics = evaluate(self.path, FOLDERS if self.root else None).splits["train"][1]
        for key, value in (("accuracy", 100 * metrics.accuracy), ("NMI", 100 * metrics.nmi), ("seconds", seconds)):
            self.found[f"{method} {key}"].append(value)

    def line(self, method: str) -> str:
        """Return the line of the table."""
        median = {key: statistics.median(values) for key, values in self.found.items()}
        cells = (
            f"{self.name} | {self.shape[0]:,} | {self.encoder} | {self.shape[1]:,}",
            f"{median['1-NN']:.3f} | {median['10-NN']:.3f}",
            f"{median['kmeans accuracy']:.1f} / {median['kmeans NMI']:.1f}",
            f"{spread(self.found[f'{method} accuracy'])} | {spread(self.found[f'{method} NMI'])}",
            f"{min(self.found[f'{method} accuracy']):.1f}",
            f"{median['embed']:.1f} | {median[f'{method} seconds']:.1f}",
        )
        return f"| {' | '.join(cells)} |"


def spread(values: Sequence[float]) -> str:
    """Return median and standard deviation; of one value, itself."""
    return f"{statistics.median(values):.1f}" + (f" +- {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def measured(pool: Pool, method: str, seeds: Sequence[int]) -> str:
    """Return the line of one pool and encoder."""
    for seed in seeds:
        if LEARNS in pool.encoder or seed == seeds[0]:
            pool.embed(seed)
        for way in dict.fromkeys(("kmeans", method)):
            pool.cluster(way, seed)
    return pool.line(method)


def warm_up(encoder: str, method: str) -> None:
    """Load what is loaded once, which is not measured."""
    with tempfile.TemporaryDirectory() as folder:
        measured(Pool("digits", encoder, Path(folder) / "workspace", 100), method, [0])


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", nargs="+")
    parser.add_argument("--encoders", default="pixels,patches,lite", help="some, separated by commas")
    parser.add_argument("--method", default="graph", help="the clustering beside k-means")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=3)
    parser.add_argument("--limit", type=int, help="only this many images of a pool, evenly spread")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    encoders = arguments.encoders.split(",")
    for encoder in encoders:
        warm_up(encoder, arguments.method)
    header = HEADER.format(arguments.method)
    print(f"{header}\n{'|---' * (header.count('|') - 1)}|")
    for name in arguments.pools:
        for encoder in encoders:
            with tempfile.TemporaryDirectory() as folder:
                pool = Pool(name, encoder, Path(folder) / "workspace", arguments.limit)
                print(measured(pool, arguments.method, seeds), flush=True)


if __name__ == "__main__":
    main()
