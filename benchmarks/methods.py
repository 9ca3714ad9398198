"""All methods on three pools: digits, a balanced generated pool, a long-tailed one with duplicates and outliers.

    python benchmarks/methods.py --seeds 5 --folder /tmp/elfs-methods
    python benchmarks/methods.py --protocol linear --folder /tmp/elfs-methods --methods auto elfs random

Every seed walks the whole chain anew (encoder, heads, proxy), selects by every method at every budget, and trains one
network on each selection with the true labels. What is in the folder already is not computed again: the run can be
stopped and continued, split by `--pools`, and extended by a method. With fixed hard rates among the methods (`elfs
elfs:0 elfs:0.1`) it says how far the one that elfs finds stays behind the best of them. With `--protocol linear` a
linear classifier on the frozen embeddings takes the network's place, as where people have a pretrained encoder. Prints
Markdown tables.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from elfs.catalog import SELECTORS
from elfs.config import (
    ClusterConfig,
    CompareConfig,
    DynamicsConfig,
    EmbedConfig,
    LabelConfig,
    ScoreConfig,
    StageConfig,
)
from elfs.data.samples import SampleTable, Split
from elfs.errors import UsageError
from elfs.evaluation.compare import compare
from elfs.evaluation.entries import Entry, parse_methods
from elfs.evaluation.evaluate import evaluate
from elfs.evaluation.labels import true_labels
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.workspace.workspace import Workspace

RUNTIME = Runtime()
POOLS = ("digits", "synthetic:balanced", "synthetic:longtail")


def chain(path: Path, pool: str, seed: int) -> float:
    """Run embed to score; return the clustering accuracy on the training rows."""
    steps: list[tuple[str, StageConfig]] = [
        ("embed", EmbedConfig(source=pool, seed=seed)),
        ("cluster", ClusterConfig(seed=seed)),
        ("label", LabelConfig()),
        ("dynamics", DynamicsConfig(seed=seed)),
        ("score", ScoreConfig(seed=seed)),
    ]
    for stage, config in steps:
        execute(stage, path, config, RUNTIME)
    return float(evaluate(path, None).splits["train"][1].accuracy)


def accuracies(path: Path, methods: Sequence[str], budgets: Sequence[str], seed: int) -> dict[tuple[str, str], float]:
    """Select and train with one seed; return the accuracy of each method at each budget, and of the whole pool."""
    config = CompareConfig(methods=",".join(methods), budgets=",".join(budgets), seeds=1, seed=seed)
    found = compare(path, config, RUNTIME).comparison
    cells = {(cell.method, cell.budget): cell.accuracies[0] for cell in found.cells if cell.accuracies}
    assert found.reference is not None
    return cells | {("all images", "1.0"): found.reference.accuracies[0]}


def linear_accuracies(
    path: Path, methods: Sequence[str], budgets: Sequence[str], seed: int
) -> dict[tuple[str, str], float]:
    """Select with one seed and fit logistic regression to the embeddings; return what `accuracies` returns."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    workspace = Workspace.open(path)
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    truth = true_labels(workspace, table, None).values
    train, test = (rows[table.usable()[rows]] for rows in (table.rows(Split.TRAIN), table.rows(Split.TEST)))
    embeddings = np.asarray(workspace.arrays("embeddings")["embeddings"], dtype=np.float32)
    embeddings = StandardScaler().fit(embeddings[train]).transform(embeddings)

    def accuracy(rows: np.ndarray) -> float:
        if len(np.unique(truth[rows])) == 1:
            return float(np.mean(truth[test] == truth[rows[0]]))
        classifier = LogisticRegression(C=0.1, max_iter=1000).fit(embeddings[rows], truth[rows])
        return float(classifier.score(embeddings[test], truth[test]))

    found = {("all images", "1.0"): accuracy(train)}
    entries = [entry for entry in parse_methods(CompareConfig(methods=",".join(methods))) if isinstance(entry, Entry)]
    for entry in entries:
        for budget in budgets:
            config = entry.select_config(budget, seed)
            try:
                execute("select", path, config, RUNTIME)
            except UsageError:
                continue  # the hard rate leaves too few
            rows = np.asarray(Workspace.open(path).arrays(f"selections/{config.name}")["indices"])
            found[entry.label, budget] = accuracy(rows)
    return found


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
    parser.add_argument("--methods", nargs="*", default=list(SELECTORS))
    parser.add_argument("--budgets", nargs="*", default=["0.01", "0.05", "0.1", "0.3"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--protocol", choices=("network", "linear"), default="network")
    parser.add_argument("--folder", type=Path, required=True, help="where the workspaces are kept")
    arguments = parser.parse_args()
    for pool in arguments.pools:
        found, clusters = [], []
        for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
            path = arguments.folder / f"{pool.partition(':')[2] or pool}-{seed}"
            clusters.append(chain(path, pool, seed))
            judge = linear_accuracies if arguments.protocol == "linear" else accuracies
            found.append(judge(path, arguments.methods, arguments.budgets, seed))
            print(f"{pool}, seed {seed}: clusters {100 * clusters[-1]:.1f}", flush=True)
        print(
            f"\n### {pool}\n\nClusters: {spread(clusters)}. All images: "
            f"{spread([seed['all images', '1.0'] for seed in found])}.\n"
        )
        print("\n".join(table(found, arguments.budgets)), "", *regrets(found, arguments.budgets), sep="\n", flush=True)


if __name__ == "__main__":
    main()
