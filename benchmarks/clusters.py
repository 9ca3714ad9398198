"""What elfs reaches on the bundled digits: clusters against k-means, ELFS against random, over seeds.

    python benchmarks/digits.py --seeds 3

Every seed walks the whole chain anew (encoder, heads, proxy, selection); each selection then trains a network from
scratch with the true labels, `--train-seeds` times. Prints Markdown tables.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from elfs.config import (
    ClusterConfig,
    DynamicsConfig,
    EmbedConfig,
    LabelConfig,
    ScoreConfig,
    SelectConfig,
    StageConfig,
    TrainConfig,
)
from elfs.evaluation.evaluate import evaluate
from elfs.evaluation.train import train
from elfs.stages.execution import execute
from elfs.train.runtime import Runtime

RUNTIME = Runtime()


def accuracy_of_clusters(path: Path, steps: Sequence[tuple[str, StageConfig]]) -> float:
    """Return the clustering accuracy on the training rows after some stages."""
    for stage, config in steps:
        execute(stage, path, config, RUNTIME)
    return evaluate(path, None).splits["train"][1].accuracy


def k_means(path: Path, encoder: str | None, seed: int) -> float:
    """Return the clustering accuracy of k-means on an encoder's embeddings."""
    steps = [
        ("embed", EmbedConfig(source="digits", encoder=encoder, seed=seed)),
        ("cluster", ClusterConfig(method="kmeans", seed=seed)),
        ("label", LabelConfig()),
    ]
    return accuracy_of_clusters(path, steps)


def chain(path: Path, seed: int, epochs: int | None) -> tuple[float, float]:
    """Run embed to score; return the clustering accuracy and the seconds of all five stages."""
    started = time.perf_counter()
    steps = [
        ("embed", EmbedConfig(source="digits", seed=seed)),
        ("cluster", ClusterConfig(seed=seed)),
        ("label", LabelConfig()),
        ("dynamics", DynamicsConfig(seed=seed, epochs=epochs)),
        ("score", ScoreConfig()),
    ]
    for stage, config in steps:
        execute(stage, path, config, RUNTIME)
    seconds = time.perf_counter() - started
    return evaluate(path, None).splits["train"][1].accuracy, seconds


def trained(path: Path, config: SelectConfig, train_seeds: int) -> float:
    """Select, train, and return the mean accuracy on the test split."""
    name = execute("select", path, config, RUNTIME).summary["name"]
    report = train(path, TrainConfig(selection=name, seeds=train_seeds, seed=1000 * config.seed), RUNTIME)
    return float(report.summary["mean"])


def row(name: str, values: Sequence[float]) -> str:
    """Return one line of a Markdown table: median, mean, spread, each seed, in percent."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    each = " ".join(f"{100 * value:.1f}" for value in values)
    median, mean = statistics.median(values), statistics.fmean(values)
    return f"| {name} | {100 * median:.1f} | {100 * mean:.1f} +- {100 * spread:.1f} | {each} |"


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--train-seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="of the proxy (default: the recipe's)")
    parser.add_argument("--budget", default="0.1")
    parser.add_argument("--hard-rates", type=float, nargs="*", default=[0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    arguments = parser.parse_args()
    clusters: dict[str, list[float]] = {"k-means on pixels": [], "k-means on patches": [], "TEMI on patches": []}
    selections = {"random": ("random", None), "elfs, default hard rate": ("elfs", None)}
    selections |= {f"elfs, hard rate {rate:g}": ("elfs", rate) for rate in arguments.hard_rates}
    accuracies: dict[str, list[float]] = {name: [] for name in selections}
    seconds = []
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            clusters["k-means on pixels"].append(k_means(root / "pixels", "pixels", seed))
            clusters["k-means on patches"].append(k_means(root / "patches", None, seed))
            accuracy, duration = chain(root / "elfs", seed, arguments.epochs)
            clusters["TEMI on patches"].append(accuracy)
            seconds.append(duration)
            for name, (method, rate) in selections.items():
                config = SelectConfig(method=method, hard_rate=rate, budget=arguments.budget, seed=seed)
                accuracies[name].append(trained(root / "elfs", config, arguments.train_seeds))
                print(f"seed {seed}: {name}: {accuracies[name][-1]:.4f}", flush=True)
    print("\n| clusters | median | mean +- sd | each seed |\n|---|---|---|---|")
    print("\n".join(row(name, values) for name, values in clusters.items()))
    print(f"\n| selection, {arguments.budget} of the pool | median | mean +- sd | each seed |\n|---|---|---|---|")
    print("\n".join(row(name, values) for name, values in accuracies.items()))
    print(f"\nembed to score: median {statistics.median(seconds):.0f} s")


if __name__ == "__main__":
    main()
