"""How well the number of clusters is told without labels: several criteria on pools of known classes, over seeds.

    python benchmarks/cluster_count.py digits synthetic:clean synthetic:classes=5 synthetic:longtail
    python benchmarks/cluster_count.py --features lite-emoji.npz

Every pool is embedded once with the default encoder; a feature file holds ``embeddings`` and ``labels``. Prints a
Markdown table: the number that each criterion finds, of every seed.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.metrics import silhouette_score
from torch import Tensor

from elfs.config import EmbedConfig
from elfs.data.samples import SampleTable
from elfs.evaluation.labels import true_labels
from elfs.ops.cluster_number import compression, modularity, neighbor_graph, spectral_axes, spectral_rows
from elfs.ops.kmeans import kmeans
from elfs.ops.neighbors import cosine_neighbors
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.train.cluster_count import CANDIDATES, estimate_num_clusters
from elfs.train.features import Features
from elfs.workspace.workspace import Workspace

ROWS, NEIGHBORS = 1_600, 50
"""What the criteria beside elfs's own look at."""

Curve = Callable[["Sampled", int], float]


@dataclass(frozen=True, eq=False)
class Sampled:
    """A sample of a pool: unit vectors, their graph of neighbours, and its slowest modes."""

    unit: Tensor
    graph: csr_array
    axes: Tensor
    eigenvalues: NDArray[np.float64]


@cache
def spectral_labels(sampled: Sampled, clusters: int) -> Tensor:
    """Return spectral clusters."""
    return kmeans(spectral_rows(sampled.axes, clusters), clusters, seed=0, restarts=4).assignment


@cache
def plain_labels(sampled: Sampled, clusters: int) -> Tensor:
    """Return clusters of k-means."""
    return kmeans(sampled.unit, clusters, seed=0, restarts=2).assignment


def silhouette(sampled: Sampled, clusters: int) -> float:
    """Return the silhouette of k-means."""
    labels = plain_labels(sampled, clusters)
    return float(silhouette_score(sampled.unit.numpy(), labels.numpy()))


def spectral_silhouette(sampled: Sampled, clusters: int) -> float:
    """Return the silhouette of spectral clusters, among the modes."""
    rows = spectral_rows(sampled.axes, clusters)
    return float(silhouette_score(rows.numpy(), spectral_labels(sampled, clusters).numpy()))


def eigengap(sampled: Sampled, clusters: int) -> float:
    """Return how much faster the first mode that is left out decays than the last one that is kept."""
    return float(sampled.eigenvalues[clusters - 1] - sampled.eigenvalues[clusters])


def linear_accuracy(sampled: Sampled, clusters: int) -> float:
    """Return the accuracy above chance of ridge classifiers on k-means's clusters, on the third that they did not see.

    Chance is the share of the largest cluster.
    """
    labels = plain_labels(sampled, clusters)
    inputs, target = sampled.unit.double(), torch.eye(clusters, dtype=torch.float64)[labels]
    ridge = 1e-3 * torch.eye(inputs.shape[1], dtype=torch.float64)
    correct = 0
    for part in range(3):
        test = torch.arange(len(labels)) % 3 == part
        seen, wanted = inputs[~test], target[~test]
        mean = wanted.mean(dim=0)
        weights = torch.linalg.solve(seen.T @ seen / len(seen) + ridge, seen.T @ (wanted - mean) / len(seen))
        correct += int(((inputs[test] @ weights + mean).argmax(dim=1) == labels[test]).sum())
    chance = float(target.mean(dim=0).max())
    return (correct / len(labels) - chance) / (1 - chance)


CRITERIA: dict[str, Curve] = {
    "silhouette of k-means": silhouette,
    "linear accuracy": linear_accuracy,
    "spectral silhouette": spectral_silhouette,
    "eigengap": eigengap,
    "modularity": lambda sampled, clusters: modularity(sampled.graph, spectral_labels(sampled, clusters)),
    "map equation": lambda sampled, clusters: compression(sampled.graph, spectral_labels(sampled, clusters)),
}


def sampled_pool(embeddings: NDArray[np.float32], seed: int) -> Sampled:
    """Return a sample with all that the criteria look at."""
    size = min(ROWS, int(0.9 * len(embeddings)))
    rows = np.random.default_rng(seed).permutation(len(embeddings))[:size]
    unit = torch.nn.functional.normalize(torch.from_numpy(embeddings[rows]))
    graph = neighbor_graph(cosine_neighbors(unit.numpy(), NEIGHBORS, device="cpu")[0])
    axes = spectral_axes(graph, 42)
    degrees = np.asarray(graph.sum(axis=1)).ravel()
    scaled = axes.double().numpy() * np.sqrt(degrees)[:, None]  # unit vectors again, as they left the decomposition
    walked = (graph @ axes.double().numpy()) / np.sqrt(degrees)[:, None]
    return Sampled(unit, graph, axes, np.asarray((scaled * walked).sum(axis=0)))


def embedded_pool(source: str) -> tuple[NDArray[np.float32], int]:
    """Return the training rows' embeddings by the default encoder, and the number of classes."""
    with tempfile.TemporaryDirectory() as folder:
        execute("embed", Path(folder) / "ws", EmbedConfig(source=source), Runtime())
        workspace = Workspace.open(Path(folder) / "ws")
        table = SampleTable.from_tensors(workspace.arrays("samples"))
        rows = np.flatnonzero(table.eligible())
        labels = true_labels(workspace, table, None).values[rows]
        return workspace.arrays("embeddings")["embeddings"][rows].astype(np.float32), len(np.unique(labels))


def pools(sources: list[str], files: list[Path]) -> Iterator[tuple[str, NDArray[np.float32], int]]:
    """Yield name, embeddings and number of classes of each pool."""
    for source in sources:
        yield source, *embedded_pool(source)
    for path in files:
        with np.load(path) as found:
            yield path.stem, found["embeddings"].astype(np.float32), len(np.unique(found["labels"]))


def found_numbers(embeddings: NDArray[np.float32], seeds: int) -> dict[str, list[str]]:
    """Return what each criterion finds, for each seed."""
    found: dict[str, list[str]] = {name: [] for name in [*CRITERIA, "elfs", "as good", "seconds"]}
    candidates = [candidate for candidate in CANDIDATES if candidate <= 40]
    features = Features(embeddings, np.arange(len(embeddings)), torch.device("cpu"))
    for seed in range(seeds):
        sampled = sampled_pool(embeddings, seed)
        for name, curve in CRITERIA.items():
            found[name].append(str(max(candidates, key=lambda clusters: curve(sampled, clusters))))
        start = time.perf_counter()
        count = estimate_num_clusters(features, seed)
        found["seconds"].append(f"{time.perf_counter() - start:.0f}")
        found["elfs"].append(str(count.best))
        found["as good"].append(f"{count.fewest}-{count.most}")
    return found


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", nargs="*")
    parser.add_argument("--features", nargs="*", type=Path, default=[])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    header: list[str] | None = None
    for name, embeddings, classes in pools(arguments.sources, arguments.features):
        found = found_numbers(embeddings, arguments.seeds)
        if header is None:
            header = ["pool", "classes", *found]
            print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
        print(f"| {' | '.join([name, str(classes), *(' '.join(values) for values in found.values())])} |", flush=True)


if __name__ == "__main__":
    main()
