"""How many images of a rare class each method finds: 200 picks in rounds, the true labels as the annotator.

    python benchmarks/rare_class.py --folder /tmp/elfs-rare
    python benchmarks/rare_class.py --folder /tmp/elfs-rare --seeds 1 --methods auto,random

The pools are generated ones of 3,000 images in 10 classes, of which the smallest has one image in a hundred; every seed
draws other concepts. Each goes from `embed` to `score` once, by default settings. Each method picks five batches of 40;
those that need annotations take the first from `auto`. Prints a Markdown table: images of the rare class among 200
picks, mean and standard deviation over the seeds, picks until the first of them, and the seconds that one batch took.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from elfs.catalog import SELECTORS
from elfs.config import ClusterConfig, DynamicsConfig, EmbedConfig, LabelConfig, ScoreConfig, SelectConfig, StageConfig
from elfs.data.hashing import id_hashes
from elfs.data.samples import SampleTable
from elfs.evaluation.labels import TrueLabels, true_labels
from elfs.ops.scores import hardness
from elfs.ops.selection import Pool, SelectorOptions, select
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.stages.selection.informed import informed, is_informed, with_annotated_settled
from elfs.train.annotated import Annotated
from elfs.train.seeding import generator
from elfs.workspace.workspace import Workspace

METHODS = "random,elfs,hardest,typiclust,k-center,facility-location,margin,entropy,badge,dropquery,uherding,auto"
SOURCE = "synthetic:longtail,imbalance=32,seed={}"
ROUNDS, BATCH = 5, 40


@dataclass(frozen=True, eq=False)
class Known:
    """A pool, and what the annotator knows."""

    workspace: Workspace
    pool: Pool
    rows: NDArray[np.int64]
    truth: TrueLabels
    trust: float
    rare: int

    @classmethod
    def of(cls, path: Path, source: str, seed: int) -> "Known":
        """Run the chain where it is not there yet, and read what methods look at."""
        chain: list[tuple[str, StageConfig]] = [("embed", EmbedConfig(source=source)), ("cluster", ClusterConfig())]
        chain += [("label", LabelConfig()), ("dynamics", DynamicsConfig()), ("score", ScoreConfig())]
        for stage, config in chain:
            execute(stage, path, config, Runtime())
        workspace = Workspace.open(path)
        table = SampleTable.from_tensors(workspace.arrays("samples"))
        rows = np.flatnonzero(table.eligible())
        hashes = id_hashes(table, rows, seed)
        rows, hashes = rows[np.argsort(hashes, kind="stable")], np.sort(hashes)
        arrays = {name: workspace.arrays(name) for name in ("embeddings", "pseudo_labels", "scores")}
        pool = Pool(
            tie_breaker=torch.from_numpy(hashes),
            embeddings=torch.from_numpy(arrays["embeddings"]["embeddings"][rows]),
            pseudo_labels=torch.from_numpy(arrays["pseudo_labels"]["pseudo_labels"][rows]),
            hardness=hardness(torch.from_numpy(arrays["scores"]["aum"][rows]), "aum"),
            scores={"aum": torch.from_numpy(arrays["scores"]["aum"][rows])},
        )
        truth = true_labels(workspace, table, None)
        trust = float(workspace.manifest.artifacts["pseudo_labels"].metadata["trust"])
        return cls(workspace, pool, rows, truth, trust, int(np.bincount(truth.values[rows]).argmin()))

    def batch(self, method: str, picked: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
        """Return the positions of the next batch, once some have been picked and annotated."""
        pool = self.pool
        if (not len(picked) and SELECTORS[method].instead is not None) or (method == "badge" and not len(picked)):
            method = "auto"
        if len(picked):
            rows = np.sort(self.rows[picked])
            annotated = Annotated(rows, self.truth.values[rows], self.truth.names)
            pool = with_annotated_settled(pool, self.rows, annotated)
            if is_informed(method):
                embeddings = self.workspace.tensors("embeddings")["embeddings"]
                pool = informed(pool, self.rows, SelectConfig(method=method, seed=seed), annotated, embeddings)
        options = SelectorOptions(hard_rate=0.3 if SELECTORS[method].prunes else 0.0, trust=self.trust)
        return select(method, pool, BATCH, options, generator(seed, f"select {len(picked)}")).numpy()

    def play(self, method: str, seed: int) -> tuple[int, int | None, float]:
        """Return how many images of the rare class are found, after how many picks the first, and seconds a batch."""
        picked, started = np.zeros(0, np.int64), time.perf_counter()
        for _ in range(ROUNDS):
            picked = np.concatenate([picked, self.batch(method, picked, seed)])
        seconds = (time.perf_counter() - started) / ROUNDS
        found = np.flatnonzero(self.truth.values[self.rows[picked]] == self.rare)
        return len(found), int(found[0]) + 1 if len(found) else None, seconds


def main() -> None:
    """Play every method on every pool and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the workspaces are kept")
    parser.add_argument("--methods", default=METHODS, help="names, separated by commas")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    pools = [Known.of(options.folder / f"{seed}", SOURCE.format(seed), seed) for seed in range(options.seeds)]
    sizes = [int((known.truth.values[known.rows] == known.rare).sum()) for known in pools]
    print(f"Images of the rare class: {sizes} of {[len(known.rows) for known in pools]}.\n")
    print("| method | found | first after | seconds a batch |\n|---|---:|---:|---:|")
    for method in options.methods.split(","):
        played = [known.play(method, seed) for seed, known in enumerate(pools)]
        found, firsts, seconds = zip(*played, strict=True)
        spread = f" +- {statistics.stdev(found):.1f}" if len(found) > 1 else ""
        first = ", ".join("never" if place is None else str(place) for place in firsts)
        mean = statistics.fmean(seconds)
        print(f"| {method} | {statistics.fmean(found):.1f}{spread} | {first} | {mean:.1f} |", flush=True)


if __name__ == "__main__":
    main()
