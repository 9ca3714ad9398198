"""What annotations of a few random images make of the pseudo-labels, and which wrong annotations are found.

    python benchmarks/annotated_labels.py --folder /tmp/elfs-annotated
    python benchmarks/annotated_labels.py --folder /tmp/elfs-annotated --pools digits --counts 100

Every pool goes through `embed`, `cluster` and `label` once. Each draw annotates so many random images with their true
classes by `elfs annotate` and runs `label` again. *Clusters* names each cluster after the majority of its annotated
images. Right are those of the whole pool, annotated images included, in percent; the estimate is that of `label`. Then
5 % of the annotations are changed at random, and `--doubtful` is asked. Means over the draws. Prints Markdown tables.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import csv
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.annotations.annotating import annotate, remove_annotations
from elfs.config import ClusterConfig, EmbedConfig, LabelConfig, StageConfig
from elfs.data.samples import SampleTable
from elfs.evaluation.labels import true_labels
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.stages.doubtful_annotations import doubtful_annotations
from elfs.workspace.workspace import Workspace

RUNTIME = Runtime()
POOLS = ("digits", "synthetic:balanced", "synthetic:longtail")
COUNTS = (20, 100, 500)
WRONG_SHARE = 0.05


class Annotator:
    """A workspace whose true classes are known.

    Parameters
    ----------
    path : Path
        Where it is, or will be.
    pool : str
        A source that knows its classes.
    """

    def __init__(self, path: Path, pool: str) -> None:
        self.path = path
        steps: list[tuple[str, StageConfig]] = [("embed", EmbedConfig(source=pool)), ("cluster", ClusterConfig())]
        for stage, config in steps:
            execute(stage, path, config, RUNTIME)
        workspace = Workspace.open(path)
        self.table = SampleTable.from_tensors(workspace.arrays("samples"))
        self.truth = true_labels(workspace, self.table, None)
        self.rows = np.flatnonzero(self.table.eligible())
        if workspace.has("annotations"):  # of a run that was stopped
            self.forget(self.table.ids(self.rows))
        execute("label", path, LabelConfig(), RUNTIME)
        self.clusters = self.labels()

    def labels(self) -> NDArray[np.int64]:
        """Return the pseudo-label of every row."""
        return np.array(Workspace.open(self.path).arrays("pseudo_labels")["pseudo_labels"], np.int64)

    def annotate(self, rows: NDArray[np.int64], classes: NDArray[np.int64]) -> None:
        """Say the classes of some rows, and nothing of others."""
        file = self.path.with_suffix(".csv")
        with file.open("w", newline="", encoding="utf-8") as opened:
            lines = csv.writer(opened)
            lines.writerow(("id", "label"))
            names = [self.truth.names[number] for number in classes.tolist()]
            lines.writerows(zip(self.table.ids(rows), names, strict=True))
        annotate(self.path, file)

    def forget(self, ids: Sequence[str]) -> None:
        """Take annotations back."""
        file = self.path.with_suffix(".txt")
        file.write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
        remove_annotations(self.path, str(file))

    def named_clusters(self, rows: NDArray[np.int64]) -> float:
        """Return how many rows are right where clusters are named after their annotated rows."""
        counts = np.zeros((self.clusters.max() + 1, len(self.truth.names)), np.int64)
        np.add.at(counts, (self.clusters[rows], self.truth.values[rows]), 1)
        named = np.where(counts.any(axis=1), counts.argmax(axis=1), -1)[self.clusters]
        named[rows] = self.truth.values[rows]
        return float((named[self.rows] == self.truth.values[self.rows]).mean())

    def learned(self) -> tuple[float, dict[str, Any]]:
        """Run `label`; return how many rows are right, and what the stage says of itself."""
        execute("label", self.path, LabelConfig(), RUNTIME)
        facts = Workspace.open(self.path).manifest.artifacts["pseudo_labels"].metadata
        index = {name: number for number, name in enumerate(self.truth.names)}
        as_true = np.array([index.get(name, -1) for name in facts["names"]])
        found = as_true[self.labels()[self.rows]]
        return float((found == self.truth.values[self.rows]).mean()), facts


def labels_line(annotator: Annotator, count: int, draws: int) -> list[str]:
    """Return the cells of a line: by clusters, by `label`, how it learned, its estimate, how often that holds."""
    named, right, wrong, ways, inside = [], [], [], [], 0
    for draw in range(draws):
        rows = np.sort(np.random.default_rng(draw).choice(annotator.rows, count, replace=False))
        annotator.annotate(rows, annotator.truth.values[rows])
        named.append(annotator.named_clusters(rows))
        accuracy, facts = annotator.learned()
        low, high = facts["estimated_wrong_interval"]
        right.append(accuracy)
        wrong.append(float(facts["estimated_wrong"]))
        ways.append(str(facts["learned_by"]))
        inside += low <= 1 - accuracy <= high
        annotator.forget(annotator.table.ids(rows))
    learned = ", ".join(f"{ways.count(way)} {way}" for way in dict.fromkeys(ways))
    means = [f"{100 * statistics.fmean(values):.1f}" for values in (named, right)]
    estimate = f"{100 * statistics.fmean(wrong):.1f} ({100 * (1 - statistics.fmean(right)):.1f})"
    return [*means, learned, estimate, f"{inside} of {draws}"]


def doubts_line(annotator: Annotator, count: int, draws: int) -> list[str]:
    """Return the cells of a line: how many are listed, how many of them and of the wrong ones rightly so."""
    listed, precision, recall = [], [], []
    num_classes = len(annotator.truth.names)
    for draw in range(draws):
        random = np.random.default_rng(100 + draw)
        rows = np.sort(random.choice(annotator.rows, count, replace=False))
        classes = annotator.truth.values[rows].copy()
        wrong = random.choice(count, round(WRONG_SHARE * count), replace=False)
        classes[wrong] = (classes[wrong] + random.integers(1, num_classes, len(wrong))) % num_classes
        annotator.annotate(rows, classes)
        doubted = {doubt.image for doubt in doubtful_annotations(annotator.path)}
        spoilt = set(annotator.table.ids(rows[wrong]))
        listed.append(len(doubted))
        precision.append(len(doubted & spoilt) / max(1, len(doubted)))
        recall.append(len(doubted & spoilt) / len(spoilt))
        annotator.forget(annotator.table.ids(rows))
    return [f"{statistics.fmean(listed):.0f}", *(f"{100 * statistics.fmean(part):.0f}" for part in (precision, recall))]


def main() -> None:
    """Run everything and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the workspaces are kept")
    parser.add_argument("--pools", nargs="*", default=POOLS)
    parser.add_argument("--counts", nargs="*", type=int, default=COUNTS)
    parser.add_argument("--draws", type=int, default=3)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    annotators = {pool: Annotator(options.folder / pool.replace(":", "-"), pool) for pool in options.pools}
    print("| pool | annotations | clusters | `label` | learned by | estimated wrong (true) | interval holds |")
    print("|---|---:|---:|---:|---|---:|---|")
    for pool, annotator in annotators.items():
        for count in options.counts:
            print(f"| {pool} | {count} | {' | '.join(labels_line(annotator, count, options.draws))} |", flush=True)
    print("\n| pool | annotations | doubtful | rightly, % | of the wrong ones, % |\n|---|---:|---:|---:|---:|")
    for pool, annotator in annotators.items():
        for count in (count for count in options.counts if round(WRONG_SHARE * count) > 1):
            print(f"| {pool} | {count} | {' | '.join(doubts_line(annotator, count, options.draws))} |", flush=True)


if __name__ == "__main__":
    main()
