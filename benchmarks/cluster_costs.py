"""What a dry run says of `cluster` by every method, and of heads that judge one another, beside what that took.

    python benchmarks/cluster_costs.py              # or --graph, --default

CPU seconds of one thread. Embeddings are drawn about so many centres, for the graph so that they overlap; heads that
judge one another are not trained. `--default`: 20,000 x 768 in 1,000 clusters by what cluster takes by itself.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}  # what elfs sets, too: heads take two threads

import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from elfs.config import ClusterConfig, EmbedConfig
from elfs.models.heads import ClusterHeads
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.stages.estimates.costs import core_speed, stage_cost
from elfs.stages.estimates.pool_facts import PoolFacts
from elfs.train.features import Features
from elfs.train.head_choice import JudgedRows, logits_of

POOLS = ((2_000, 176, 10), (8_000, 176, 10), (8_000, 768, 10), (8_000, 176, 100), (20_000, 176, 10))
GRAPHS = (
    (2_000, 64, 10),
    (2_000, 64, 100),
    (2_000, 64, 300),
    (4_000, 768, 10),
    (4_000, 768, 100),
    (8_000, 176, 10),
    (8_000, 176, 100),
    (8_000, 176, 300),
    (20_000, 176, 10),
    (20_000, 176, 100),
)
DEFAULT = ((20_000, 768, 1_000),)
HEADS = (50, 200, 800)


def drawn(num: int, dims: int, clusters: int, noise: float) -> np.ndarray:
    """Return embeddings about so many centres."""
    draws = np.random.default_rng(0)
    centres, own = draws.normal(size=(clusters, dims)), draws.integers(clusters, size=num)
    values: np.ndarray = (centres[own] + noise * draws.normal(size=(num, dims))).astype(np.float32)
    return values


def said(config: ClusterConfig, num: int, dims: int) -> float:
    """Return the seconds that a dry run says."""
    facts = PoolFacts(num_images=num, image_side=None, dims=dims)
    return stage_cost("cluster", config, facts, speed=core_speed(), cores=1).seconds or 0.0


def print_methods(pools: Sequence[tuple[int, int, int]], methods: Sequence[str | None], noise: float) -> None:
    """Run cluster by every method on every pool."""
    print("| images | dimensions | clusters | method | said, s | took, s | ratio |")
    print("|---:|---:|---:|---|---:|---:|---:|")
    for num, dims, clusters in pools:
        with tempfile.TemporaryDirectory() as folder:
            workspace, file, runtime = Path(folder) / "w", f"{folder}/own.npy", Runtime(devices="cpu", num_workers=0)
            np.save(file, drawn(num, dims, clusters, noise))
            execute("embed", workspace, EmbedConfig(source="embeddings", embeddings=file), runtime)
            for method in methods:
                config = ClusterConfig(method=method, clusters=clusters)
                start = time.process_time()
                execute("cluster", workspace, config, runtime)
                took = time.process_time() - start
                expected = said(config, num, dims)
                sizes = f"| {num:,} | {dims} | {clusters} | {method or 'auto'}"
                print(f"{sizes} | {expected:.1f} | {took:.1f} | {expected / took:.2f} |", flush=True)


def print_heads() -> None:
    """Let untrained heads judge one another."""
    print("\n| heads | said, s | took, s | ratio |\n|---:|---:|---:|---:|")
    num, dims, clusters = 1_437, 64, 10
    torch.set_num_threads(1)
    draws = torch.Generator().manual_seed(0)
    features = Features(drawn(num, dims, clusters, 1.5), np.arange(num), torch.device("cpu"))
    neighbors = torch.randint(num, (num, 20), generator=draws)
    for count in HEADS:
        heads = ClusterHeads(count, dims, 16, 8, clusters, draws).eval()
        rows, asked = JudgedRows.of(neighbors), partial(logits_of, heads, features)
        start = time.process_time()
        rows.qualities(rows.clusters(asked), None, clusters)
        took = time.process_time() - start
        counts = (count, 1, 2)
        all_heads, one, two = (said(ClusterConfig(heads=n, clusters=clusters, epochs=1), num, dims) for n in counts)
        expected = all_heads - one - (count - 1) * (two - one)  # what grows with the heads alone is no part of it
        print(f"| {count} | {expected:.1f} | {took:.1f} | {expected / took:.2f} |", flush=True)


if __name__ == "__main__":
    if "--graph" in sys.argv:
        print_methods(GRAPHS, ["graph"], 4.0)
    elif "--default" in sys.argv:
        print_methods(DEFAULT, [None], 4.0)
    else:
        print_methods(POOLS, ["kmeans", "turtle"], 1.5)
        print_heads()
