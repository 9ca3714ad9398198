"""Whether cluster heads can be retired half way: what is known of them after half of the steps, against the end.

    python -m benchmarks.early_heads digits synthetic:balanced synthetic:shapes

A pool is a source that knows its classes, or a folder with one folder a class. Every seed trains the heads of
`cluster --method temi`, all of them to the end, and looks at them half way. For each criterion (see head_criteria.py)
the table says which place the head that is the most trusted in the end has half way, 1 = best, mean and worst over the
seeds; and, in percent, the accuracy of all heads together in the end where only the better half by that criterion goes
on. Together is a vote, weighted by trust. Heads learn side by side and do not see each other, so those that go on end
as they would among all.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import statistics
import tempfile
from collections import defaultdict
from copy import deepcopy
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.head_criteria import Pool
from elfs.ops.consensus import trust
from elfs.parallel.runtime import Task
from elfs.train import clustering
from elfs.train.head_choice import labels_of
from elfs.train.head_consensus import HeadConsensus

SURE = 30.0


class HalfWay:
    """Looks at the heads of a training after half of its epochs.

    Attributes
    ----------
    labels, loss : Tensor
        What each head says of each row [H, M], and minus its loss over the last epoch [H].
    """

    labels: Tensor
    loss: Tensor

    def __enter__(self) -> "HalfWay":
        epoch = clustering._HeadState.epoch

        def watched(training: clustering._HeadState, number: int, neighbors_NK: Tensor, task: Task) -> None:
            epoch(training, number, neighbors_NK, task)
            if number + 1 == training.settings.epochs // 2:
                rows = torch.arange(len(training.features))
                self.labels = labels_of(deepcopy(training.teacher).eval(), training.features, rows)
                self.loss = -training.loss_H.cpu()

        self._patch = patch.object(clustering._HeadState, "epoch", watched)
        self._patch.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._patch.stop()


def judged(pool: Pool, labels_HM: Tensor, loss_H: Tensor) -> dict[str, list[float]]:
    """Return each criterion of each head, higher = better."""
    found: dict[str, list[float]] = {"loss": loss_H.tolist(), "agreement": [], "purity": []}
    for head, own_M in enumerate(labels_HM):
        others = torch.cat([labels_HM[:head], labels_HM[head + 1 :]])
        found["agreement"].append(trust(own_M, own_M[:, None], others, pool.num_clusters))
        found["purity"].append(trust(own_M, own_M[pool.neighbors_MK], labels_HM[:0], pool.num_clusters))
    found["trust"] = [a * p for a, p in zip(found["agreement"], found["purity"], strict=True)]
    return found


def together(pool: Pool, labels_HM: Tensor, trust_H: list[float]) -> float:
    """Return the accuracy of a vote of heads, in percent."""
    votes = HeadConsensus.of(labels_HM, trust_H, pool.num_clusters)
    said = (SURE * F.one_hot(labels, pool.num_clusters).float() for labels in labels_HM)
    return pool.accuracy(votes(said).argmax(dim=1))


def measured(pool: Pool, seed: int) -> dict[str, dict[str, float]]:
    """Return, for each criterion, the place of the head that is best in the end, and how good the survivors are."""
    with HalfWay() as half:
        labels_HM, loss_H = pool.trained("temi", None, seed)
    then, end = judged(pool, half.labels, half.loss), judged(pool, labels_HM, loss_H)["trust"]
    best, num = max(range(len(end)), key=end.__getitem__), len(end)
    found = {"": {"all": together(pool, labels_HM, end), "chosen": pool.accuracy(labels_HM[best])}}
    for name, values in then.items():
        order = sorted(range(num), key=values.__getitem__, reverse=True)
        kept = order[: num // 2]
        survivors = together(pool, labels_HM[kept], [end[head] for head in kept])
        found[name] = {"place": order.index(best) + 1, "survivors": survivors}
    return found


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", nargs="+")
    parser.add_argument("--encoder", default="patches")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    print("| pool | most trusted | all together | half way | its place, mean (worst) | better half together |")
    print("|---|---|---|---|---|---|")
    for source in options.pools:
        columns: dict[tuple[str, str], list[float]] = defaultdict(list)
        with tempfile.TemporaryDirectory() as folder:
            pool = Pool(Path(folder) / "pool", source, options.encoder)
            for seed in range(options.seeds):
                for criterion, values in measured(pool, seed).items():
                    for name, value in values.items():
                        columns[criterion, name].append(value)
        mean = {key: statistics.fmean(values) for key, values in columns.items()}
        for criterion in ("loss", "agreement", "purity", "trust"):
            place = f"{mean[criterion, 'place']:.1f} ({max(columns[criterion, 'place']):.0f})"
            start = f"| {Path(source).name} | {mean['', 'chosen']:.1f} | {mean['', 'all']:.1f} "
            print(f"{start}| {criterion} | {place} | {mean[criterion, 'survivors']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
