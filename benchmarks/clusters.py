"""How well clusters agree with the true classes of the bundled digits: TEMI against k-means, over seeds.

    python benchmarks/clusters.py --first-seed 3 --seeds 5

Every seed embeds and clusters anew. Prints a Markdown table.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from elfs.config import ClusterConfig, EmbedConfig, LabelConfig, StageConfig
from elfs.evaluation.evaluate import evaluate
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute

WAYS = {
    "k-means on pixels": ("pixels", "kmeans"),
    "k-means on patches": (None, "kmeans"),
    "TEMI on patches": (None, "temi"),
    "TURTLE on patches": (None, "turtle"),
    "TURTLE on patches+pixels": ("patches+pixels", "turtle"),
}


def clustering_accuracy(path: Path, encoder: str | None, method: str, seed: int) -> float:
    """Return the clustering accuracy on the training rows."""
    steps: list[tuple[str, StageConfig]] = [
        ("embed", EmbedConfig(source="digits", encoder=encoder, seed=seed)),
        ("cluster", ClusterConfig(method=method, seed=seed)),
        ("label", LabelConfig()),
    ]
    for stage, config in steps:
        execute(stage, path, config, Runtime())
    return float(evaluate(path, None).splits["train"][1].accuracy)


def row(name: str, values: Sequence[float]) -> str:
    """Return one line of a Markdown table: median, mean, spread, each seed, in percent."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    each = " ".join(f"{100 * value:.1f}" for value in values)
    median, mean = statistics.median(values), statistics.fmean(values)
    return f"| {name} | {100 * median:.1f} | {100 * mean:.1f} +- {100 * spread:.1f} | {each} |"


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    arguments = parser.parse_args()
    print("| clusters | median | mean +- sd | each seed |\n|---|---|---|---|")
    for name, (encoder, method) in WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
            found = [clustering_accuracy(Path(folder) / str(seed), encoder, method, seed) for seed in seeds]
        print(row(name, found), flush=True)


if __name__ == "__main__":
    main()
