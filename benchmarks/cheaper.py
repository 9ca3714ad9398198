"""What the options cost that take less, of which elfs speaks where a stage takes long (`elfs/config/cheaper.py`).

    python -m benchmarks.cheaper blocks digits mnist emoji@lite crops@lite --folder FOLDER
    python -m benchmarks.cheaper networks digits synthetic:balanced --folder FOLDER
    python -m benchmarks.cheaper proxies digits mnist --folder FOLDER
    python -m benchmarks.cheaper images mnist emoji@lite crops@lite --folder FOLDER
    python -m benchmarks.cheaper seconds

A pool is a source that knows its classes, or a folder with `train/CLASS/` and `test/CLASS/`; behind an @ its encoder.
Every seed walks the whole chain anew, in a workspace of the folder that later parts go on with. Accuracy, in percent,
is that on the test images of what learned the true labels of the picks: a linear classifier on the embeddings, but in
`networks`. CPU seconds are those of one thread. Prints Markdown tables: means over the seeds, and sample deviations.

- blocks: `select --blocks` by the methods that compare pairs, drawn three times by each seed: the accuracy, and behind
  it the mean cosine of an image to the nearest pick;
- networks: `train` on 10 % by auto, with fewer `--iterations`, and networks on the embeddings;
- proxies: `dynamics` with fewer `--proxies` or `--epochs`, of one workspace; the share of the picks of 10 % that two
  seeds have in common, by elfs at a hard rate of 0.2 and by auto;
- images: `embed --limit` of half of the images for training: as many picks by auto as 10 % of all are;
- seconds: what `select` takes of a made-up pool, by blocks.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import argparse
import itertools
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.methods import chain, folder_of, spread
from benchmarks.selection import make_pool
from elfs.config import DynamicsConfig, ScoreConfig, SelectConfig, TrainingConfig
from elfs.data.samples import SampleTable
from elfs.evaluation.labels import FOLDERS, true_labels
from elfs.evaluation.training import Trainer, training_recipe
from elfs.ops.distances import unit_rows
from elfs.ops.selection import SelectorOptions, select
from elfs.ops.selection.covering import largest_cosine
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.pipeline.selections import selected_rows
from elfs.train.inputs import InputBuilder
from elfs.workspace.workspace import Workspace

RUNTIME = Runtime(devices="cpu", num_workers=0)
PAIRWISE, BLOCKS, DRAWS = ("k-center", "herding", "badge"), (1, 2, 4, 8), 3
BUDGETS = ("0.05", "0.1")
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet8, 600 steps": {"iterations": 600},
    "resnet8, 300 steps": {"iterations": 300},
    "resnet8, 150 steps": {"iterations": 150},
    "mlp": {"network": "mlp"},
    "linear": {"network": "linear"},
}
PROXIES: dict[str, dict[str, Any]] = {
    "64 proxies, 20 epochs": {},
    "16 proxies": {"proxies": 16},
    "10 epochs": {"epochs": 10},
    "5 epochs": {"epochs": 5},
}
ROWS, DIMS = 20_000, 128


class Walked:
    """A workspace behind the whole chain, and the true classes.

    Parameters
    ----------
    path : Path
        Of the workspace; what is there already is not made again.
    pool : str
        A source that knows its classes, or a folder.
    encoder : str or None
        Of `embed`.
    seed : int
        Of every stage.
    """

    def __init__(self, path: Path, pool: str, encoder: str | None, seed: int) -> None:
        chain(path, pool, encoder, seed)
        self.path, self.root, self.seed = path, folder_of(pool), seed
        self.table = SampleTable.from_tensors(Workspace.open(path).arrays("samples"))
        self.rows = np.flatnonzero(self.table.eligible())
        self.trainer = cache(self._trainer)

    def picked(self, method: str, budget: str, **options: Any) -> NDArray[np.int64]:
        """Return the rows of a selection, ascending; it goes by the workspace's seed unless another is given."""
        config = SelectConfig(method=method, budget=budget, name="picked", **{"seed": self.seed} | options)
        execute("select", self.path, config, RUNTIME, force=True)
        return np.sort(selected_rows(Workspace.open(self.path), self.table, "picked")[0])

    def accuracy(self, rows: NDArray[np.int64], **options: Any) -> float:
        """Return the share of the test images that a network names rightly which learned some rows."""
        found = self.trainer(**options).train_on_rows(rows, seed=self.seed)[1].share
        assert found is not None
        return found

    def similarity(self, rows: NDArray[np.int64]) -> float:
        """Return the mean cosine of an image of the pool to the nearest of some rows."""
        embeddings = Workspace.open(self.path).arrays("embeddings")["embeddings"]
        unit, picked = (unit_rows(torch.from_numpy(embeddings[part])) for part in (self.rows, rows))
        return float(largest_cosine(unit, picked).mean())

    def _trainer(self, **options: Any) -> Trainer:
        workspace, config = Workspace.open(self.path), TrainingConfig(**options)
        recipe, iterations = training_recipe(workspace, self.table, config, on_cpu=True)
        truth = true_labels(workspace, self.table, FOLDERS if self.root else None)
        trainer = Trainer(InputBuilder(workspace, self.table, recipe, RUNTIME, self.root), truth, iterations, self.rows)
        trainer.read()
        return trainer


def name_of(pool: str) -> str:
    """Return what a pool is called."""
    return Path(pool.partition(":")[2] or pool).name


def walked(pool: str, folder: Path, num_seeds: int) -> Iterator[Walked]:
    """Yield a pool's workspaces, one for each seed, where benchmarks/methods.py has them."""
    source, _, encoder = pool.partition("@")
    for seed in range(num_seeds):
        yield Walked(folder / f"{name_of(source)}-{seed}", source, encoder or None, seed)


def blocks(pool: str, folder: Path, num_seeds: int) -> None:
    """Print what selecting in blocks costs, a row for each budget and method."""
    found: dict[tuple[str, str, int], list[tuple[float, float]]] = defaultdict(list)
    for workspace in walked(pool, folder, num_seeds):
        for budget, method, number, draw in itertools.product(BUDGETS, PAIRWISE, BLOCKS, range(DRAWS)):
            seed = workspace.seed + draw * num_seeds
            rows = workspace.picked(method, budget, blocks=number, seed=seed)
            found[budget, method, number].append(
                (workspace.accuracy(rows, network="linear"), workspace.similarity(rows))
            )
    for budget, method in itertools.product(BUDGETS, PAIRWISE):
        cells = []
        for number in BLOCKS:
            accuracies, similarities = zip(*found[budget, method, number], strict=True)
            cells.append(f"{spread(accuracies)}, {statistics.fmean(similarities):.3f}")
        print(f"| {name_of(pool)} | {budget} | {method} | {' | '.join(cells)} |", flush=True)


def networks(pool: str, folder: Path, num_seeds: int) -> None:
    """Print what cheaper networks learn, a row for each."""
    accuracies, seconds = defaultdict(list), defaultdict(list)
    for workspace in walked(pool, folder, num_seeds):
        rows = workspace.picked("auto", "0.1")
        for name, options in NETWORKS.items():
            workspace.trainer(**options)  # reads the images
            start = time.process_time()
            accuracies[name].append(workspace.accuracy(rows, **options))
            seconds[name].append(time.process_time() - start)
    for name in NETWORKS:
        print(
            f"| {name_of(pool)} | {name} | {spread(accuracies[name])} | {statistics.fmean(seconds[name]):.1f} |",
            flush=True,
        )


def proxies(pool: str, folder: Path, num_seeds: int) -> None:
    """Print what fewer proxies or epochs cost, a row for each."""
    base = next(walked(pool, folder, 1))
    methods = {"elfs": {"hard_rate": "0.2"}, "auto": {}}
    for name, options in PROXIES.items():
        lists, accuracies, seconds = defaultdict(list), defaultdict(list), []
        for seed in range(num_seeds):
            start = time.process_time()
            config = DynamicsConfig(recipe="ensemble", seed=seed, **options)
            execute("dynamics", base.path, config, RUNTIME, force=True)
            seconds.append(time.process_time() - start)
            execute("score", base.path, ScoreConfig(window=min(10, options.get("epochs", 10))), RUNTIME)
            for method, more in methods.items():
                lists[method].append(base.picked(method, "0.1", **more))
                accuracies[method].append(base.accuracy(lists[method][-1], network="linear"))
        cells = [f"{shared(lists[method])} | {spread(accuracies[method])}" for method in methods]
        print(f"| {name_of(pool)} | {name} | {' | '.join(cells)} | {statistics.fmean(seconds):.1f} |", flush=True)


def shared(lists: Iterable[NDArray[np.int64]]) -> str:
    """Return which part of their picks two lists have in common, mean and sample deviation over all pairs."""
    pairs = itertools.combinations(lists, 2)
    return spread([len(np.intersect1d(ours, theirs)) / len(ours) for ours, theirs in pairs])


def images(pool: str, folder: Path, num_seeds: int) -> None:
    """Print what half of the images costs, a row for all of them and one for the half."""
    source, _, encoder = pool.partition("@")
    half = folder / f"half-{name_of(source)}"
    halve(Path(source), half)
    whole = list(walked(pool, folder, num_seeds))
    count = str(round(0.1 * len(whole[0].rows)))
    for what, workspaces in ("all", whole), ("half", walked(f"{half}@{encoder}", folder, num_seeds)):
        accuracies = [each.accuracy(each.picked("auto", count), network="linear") for each in workspaces]
        print(f"| {name_of(pool)} | {what} | {count} | {spread(accuracies)} |", flush=True)


def halve(pool: Path, half: Path) -> None:
    """Link to all images for testing and to every other one for training."""
    for number, file in enumerate(sorted(pool.glob("*/*/*"))):
        place = half / file.relative_to(pool)
        if not place.exists() and (place.parts[-3] == "test" or number % 2):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(file.absolute())


def cpu_seconds(num_turns: int) -> None:
    """Print what blocks take, a row for each method: medians."""
    for method in PAIRWISE:
        pool, cells = make_pool(method, ROWS, DIMS), []
        for number in BLOCKS:
            turns = []
            for turn in range(num_turns):
                generator, start = torch.Generator().manual_seed(turn), time.process_time()
                select(method, pool, ROWS // 10, SelectorOptions(), generator, num_blocks=number)
                turns.append(time.process_time() - start)
            cells.append(f"{statistics.median(turns):.2f}")
        print(f"| {method} | {' | '.join(cells)} |", flush=True)


HEADS = {
    "blocks": "| pool | budget | method | one | 2 blocks | 4 blocks | 8 blocks |",
    "networks": "| pool | network | accuracy | CPU seconds |",
    "proxies": "| pool | dynamics by | elfs: in common | accuracy | auto: in common | accuracy | CPU seconds |",
    "images": "| pool | images for training | picks | accuracy |",
    "seconds": "| method | one | 2 blocks | 4 blocks | 8 blocks |",
}


def main() -> None:
    """Measure one part and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=HEADS)
    parser.add_argument("pools", nargs="*")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the workspaces are kept [default: nowhere]")
    arguments = parser.parse_args()
    print(HEADS[arguments.part], "|---" * (HEADS[arguments.part].count("|") - 1) + "|", sep="\n", flush=True)
    if arguments.part == "seconds":
        return cpu_seconds(arguments.seeds)
    part = {"blocks": blocks, "networks": networks, "proxies": proxies, "images": images}[arguments.part]
    with tempfile.TemporaryDirectory() as folder:
        for pool in arguments.pools:
            part(pool, arguments.folder or Path(folder), arguments.seeds)
    return None


if __name__ == "__main__":
    main()
