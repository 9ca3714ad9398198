"""All methods on three pools: digits, a balanced generated pool, a long-tailed one with duplicates and outliers.

    python benchmarks/methods.py --seeds 5 --folder /tmp/elfs-methods
    python benchmarks/methods.py --network linear --folder /tmp/elfs-methods --methods auto elfs random
    python benchmarks/methods.py --network linear --folder /tmp/elfs-methods --pools ../emoji --encoder lite

Every seed walks the whole chain anew (encoder, heads, proxy), selects by every method at every budget, and trains one
network on each selection with the true labels. What is in the folder already is not computed again: the run can be
stopped and continued, split by `--pools`, and extended by a method. With fixed hard rates among the methods (`elfs
elfs:0 elfs:0.1`) it says how far the one that elfs finds stays behind the best of them. With `--network linear` a
linear classifier on the frozen embeddings takes the network's place, as where people have a pretrained encoder. A pool
is a source that knows its classes, or a folder with `train/CLASS/` and `test/CLASS/`. Prints Markdown tables.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from elfs.config import (
    ClusterConfig,
    CompareConfig,
    DynamicsConfig,
    EmbedConfig,
    LabelConfig,
    ScoreConfig,
    StageConfig,
)
from elfs.evaluation.compare import compare
from elfs.evaluation.evaluate import evaluate
from elfs.evaluation.labels import FOLDERS
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute

RUNTIME = Runtime()
POOLS = ("digits", "synthetic:balanced", "synthetic:longtail")


def chain(path: Path, pool: str, encoder: str | None, seed: int) -> float:
    """Run embed to score; return the clustering accuracy on the training rows."""
    root = folder_of(pool)
    steps: list[tuple[str, StageConfig]] = [
        ("embed", EmbedConfig(source="folder" if root else pool, encoder=encoder, seed=seed)),
        ("cluster", ClusterConfig(seed=seed)),
        ("label", LabelConfig()),
        ("dynamics", DynamicsConfig(seed=seed)),
        ("score", ScoreConfig(seed=seed)),
    ]
    for stage, config in steps:
        execute(stage, path, config, RUNTIME, source_root=root if stage == "embed" else None)
    return float(evaluate(path, FOLDERS if root else None).splits["train"][1].accuracy)


def folder_of(pool: str) -> Path | None:
    """Return the pool's directory, or None for a source that is known by its name."""
    return Path(pool) if Path(pool).is_dir() else None


def accuracies(
    path: Path, pool: str, methods: Sequence[str], budgets: Sequence[str], seed: int, network: str | None
) -> dict[tuple[str, str], float]:
    """Select and train with one seed; return the accuracy of each method at each budget, and of the whole pool."""
    config = CompareConfig(
        methods=",".join(methods),
        budgets=",".join(budgets),
        seeds=1,
        seed=seed,
        network=network,
        labels=FOLDERS if folder_of(pool) else None,
    )
    found = compare(path, config, RUNTIME).comparison
    cells = {(cell.method, cell.budget): cell.accuracies[0] for cell in found.cells if cell.accuracies}
    assert found.reference is not None
    return cells | {("all images", "1.0"): found.reference.accuracies[0]}


def spread(values: Sequence[float]) -> str:
    """Return mean and sample standard deviation in percent."""
    deviation = f" +- {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.1f}{deviation}"


def table(found: Sequence[dict[tuple[str, str], float]], budgets: Sequence[str]) -> list[str]:
    """Return a Markdown table of methods by budgets; the best mean of each budget is bold."""
    lines = [f"| method | {' | '.join(budgets)} |", "|---" * (len(budgets) + 1) + "|"]
    labels = [label for label in dict.fromkeys(label for seed in found for label, _ in seed) if label != "all images"]
    means = {
        (label, budget): statistics.fmean(seed[label, budget] for seed in found)
        for label in labels
        for budget in budgets
        if all((label, budget) in seed for seed in found)
    }
    best = {
        budget: max((value for (_, other), value in means.items() if other == budget), default=None)
        for budget in budgets
    }
    for label in labels:
        cells = []
        for budget in budgets:
            if (label, budget) not in means:
                cells.append("-")
                continue
            text = spread([seed[label, budget] for seed in found])
            cells.append(f"**{text}**" if means[label, budget] == best[budget] else text)
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return lines


def regrets(found: Sequence[dict[tuple[str, str], float]], budgets: Sequence[str]) -> list[str]:
    """Return how far the hard rate that elfs finds stays behind the best fixed one, in accuracy points."""
    lines = []
    for budget in budgets:
        means = {
            label: statistics.fmean(seed[label, budget] for seed in found)
            for label in {label for label, _ in found[0] if label.startswith("elfs@aum")}
            if all((label, budget) in seed for seed in found)
        }
        fixed = {label: mean for label, mean in means.items() if ":" in label}
        if fixed and "elfs@aum" in means:
            best = max(sorted(fixed), key=fixed.__getitem__)
            regret = 100 * (fixed[best] - means["elfs@aum"])
            lines.append(
                f"budget {budget}: best fixed hard rate {best.partition(':')[2]}, regret of auto {regret:+.1f}"
            )
    return lines


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pools", nargs="*", default=POOLS)
    parser.add_argument("--methods", nargs="*", default=["all"])
    parser.add_argument("--budgets", nargs="*", default=["0.01", "0.05", "0.1", "0.3"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--encoder", help="of embed; left out, the one it finds")
    parser.add_argument("--network", help="what is trained on the picks; left out, a network from scratch")
    parser.add_argument("--folder", type=Path, required=True, help="where the workspaces are kept")
    arguments = parser.parse_args()
    for pool in arguments.pools:
        found, clusters = [], []
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            path = arguments.folder / f"{Path(pool.partition(':')[2] or pool).name}-{seed}"
            clusters.append(chain(path, pool, arguments.encoder, seed))
            found.append(accuracies(path, pool, arguments.methods, arguments.budgets, seed, arguments.network))
            print(f"{pool}, seed {seed}: clusters {100 * clusters[-1]:.1f}", flush=True)
        print(
            f"\n### {pool}\n\nClusters: {spread(clusters)}. All images: "
            f"{spread([seed['all images', '1.0'] for seed in found])}.\n"
        )
        print("\n".join(table(found, arguments.budgets)), "", *regrets(found, arguments.budgets), sep="\n", flush=True)


if __name__ == "__main__":
    main()
