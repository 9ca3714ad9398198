"""Which criterion finds the better cluster heads without labels: rank correlation with their true accuracy.

    python benchmarks/head_criteria.py digits synthetic:balanced synthetic:longtail synthetic:shapes --steps 300
    python benchmarks/head_criteria.py FOLDER --encoder lite --method turtle

A pool is a source that knows its classes, or a folder with one folder a class. It is embedded once, and every seed
trains the heads of `cluster --method temi` (or the runs of `turtle`) anew; the second training of a seed is the first
of the next. Accuracy is that on the training rows after Hungarian matching. Criteria, each in such a way that higher is
better; agreement, found again, purity and linear are corrected for chance, so that sizes do not count:

- loss: minus the training loss; TURTLE's is cross-validated by the linear classifiers that it trains;
- agreement: mean share of the images on which another head of the same training agrees, clusters matched;
- found again: that share for the head of the second training which agrees most;
- purity: share of the 10 nearest neighbours that have an image's cluster;
- linear: share of the images whose cluster a linear classifier names that was fitted to the other half of them;
- information: mutual information of the clusters of an image and of its neighbours, in nats;
- trust: purity times agreement.

Prints a Markdown table: for each criterion the mean over the seeds of Spearman's correlation, and in brackets the mean
accuracy, in percent, of the heads that it chose; and the accuracy of the mean head, of the best, and of all heads
together (matched to the one of most information, each image's commonest cluster).
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from elfs.config import ClusterConfig, EmbedConfig
from elfs.data.samples import SampleTable
from elfs.evaluation.labels import FOLDERS, true_labels
from elfs.evaluation.metrics import clustering_metrics
from elfs.models.heads import ClusterHeads
from elfs.ops.consensus import aligned, trust
from elfs.ops.folds import deal_folds
from elfs.ops.linear_classifier import fit_linear_classifier
from elfs.ops.neighbor_information import information, pair_joint
from elfs.ops.turtle import soft_labels, unit_parts
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.train.features import Features, centring
from elfs.train.head_choice import labels_of
from elfs.train.head_consensus import TENSORS
from elfs.train.seeding import generator
from elfs.workspace.workspace import Workspace

CRITERIA = ("loss", "agreement", "found again", "purity", "linear", "information", "trust")
NEIGHBORS = 10
PENALTY = 0.01
BATCH = 256
CPU = torch.device("cpu")


class Pool:
    """Embeddings, neighbours and true classes of the training rows.

    Parameters
    ----------
    path : Path
        Of the workspace, which is made.
    source : str
        A source that knows its classes, or a folder.
    encoder : str
        Of `embed`.
    """

    def __init__(self, path: Path, source: str, encoder: str) -> None:
        self.path, self.runtime = path, Runtime(devices="cpu")
        root = Path(source) if Path(source).is_dir() else None
        config = EmbedConfig(source="folder" if root else source, encoder=encoder)
        execute("embed", path, config, self.runtime, source_root=root)
        workspace = Workspace.open(path)
        table = SampleTable.from_tensors(workspace.arrays("samples"))
        self.rows = np.flatnonzero(table.eligible())
        self.truth = true_labels(workspace, table, FOLDERS if root else None).values[self.rows]
        self.num_clusters = len(set(self.truth.tolist()))
        position = np.full(len(table), -1, np.int64)
        position[self.rows] = np.arange(len(self.rows))
        near = workspace.arrays("neighbors")["indices"][self.rows, :NEIGHBORS]
        self.neighbors_MK = torch.from_numpy(position[near])
        embeddings = workspace.tensors("embeddings")["embeddings"]
        mean, scale = centring(embeddings, self.rows)
        centred = Features(embeddings, self.rows, CPU, mean=mean, inverse_deviation=scale)
        self.inputs_MD = centred.take(torch.arange(len(self.rows)))

    def trained(self, method: str, steps: int | None, seed: int) -> tuple[Tensor, Tensor]:
        """Train heads; return the clusters [H, M] that each gives, and minus their loss [H]."""
        epochs = None if steps is None else -(-steps // -(-len(self.rows) // BATCH))
        config = ClusterConfig(method=method, clusters=self.num_clusters, epochs=epochs, seed=seed)
        execute("cluster", self.path, config, self.runtime)
        workspace = Workspace.open(self.path)
        arrays = {name: torch.from_numpy(np.array(part)) for name, part in workspace.arrays("heads").items()}
        mean, scale = arrays.pop("mean"), arrays.pop("inverse_deviation")
        arrays = {name: part for name, part in arrays.items() if name not in TENSORS}
        embeddings = workspace.tensors("embeddings")["embeddings"]
        features = Features(embeddings, self.rows, CPU, mean=mean, inverse_deviation=scale)
        loss_H = torch.tensor([head["loss"] for head in workspace.json("clusters")["heads"]])
        if "turtle.0" not in arrays:
            heads = ClusterHeads.from_tensors({name: part.numpy() for name, part in arrays.items()})
            return labels_of(heads, features, torch.arange(len(self.rows))), -loss_H
        weights = [arrays[f"turtle.{number}"] for number in range(len(arrays))]
        parts = unit_parts(features.take(torch.arange(len(self.rows))), [len(part) for part in weights])
        soft_MRC = soft_labels(parts, [part.flatten(1) for part in weights], self.num_clusters)
        return soft_MRC.argmax(dim=2).T, -loss_H

    def accuracy(self, labels_M: Tensor) -> float:
        """Return the share of rows whose cluster stands for their class, in percent."""
        return 100 * clustering_metrics(self.truth, labels_M.numpy()).accuracy

    def predicted(self, labels_M: Tensor, seed: int) -> Tensor:
        """Return the clusters that linear classifiers name which were fitted to the other half."""
        folds_M = deal_folds(labels_M, 2, generator(seed, "halves"))
        named_M = torch.empty_like(labels_M)
        for fold in range(2):
            test = folds_M == fold
            found = fit_linear_classifier(
                self.inputs_MD[~test], labels_M[~test], self.num_clusters, penalty=PENALTY, most_steps=50
            )
            named_M[test] = found.probabilities(self.inputs_MD[test]).argmax(dim=1)
        return named_M

    def judged(self, labels_HM: Tensor, loss_H: Tensor, again_HM: Tensor, seed: int) -> dict[str, NDArray[np.float64]]:
        """Return each criterion of each head, higher = better."""
        found: dict[str, list[float]] = {name: [] for name in CRITERIA}
        num, none = self.num_clusters, labels_HM[:0]
        for head, own_M in enumerate(labels_HM):
            near_MK, others = own_M[self.neighbors_MK], torch.cat([labels_HM[:head], labels_HM[head + 1 :]])
            found["loss"].append(float(loss_H[head]))
            found["agreement"].append(trust(own_M, own_M[:, None], others, num))
            found["found again"].append(max(trust(own_M, own_M[:, None], other[None], num) for other in again_HM))
            found["purity"].append(trust(own_M, near_MK, none, num))
            found["linear"].append(trust(own_M, self.predicted(own_M, seed)[:, None], none, num))
            found["information"].append(information(pair_joint(own_M, near_MK, num), 0.0))
            found["trust"].append(found["purity"][-1] * found["agreement"][-1])
        return {name: np.array(values) for name, values in found.items()}

    def together(self, labels_HM: Tensor, best: int) -> Tensor:
        """Return each image's commonest cluster, clusters matched to those of one head."""
        named_HM = torch.stack([aligned(labels, labels_HM[best], self.num_clusters) for labels in labels_HM])
        return F.one_hot(named_HM, self.num_clusters).sum(dim=0).argmax(dim=1)


def measured(pool: Pool, method: str, steps: int | None, seeds: range) -> list[dict[str, tuple[float, float]]]:
    """Return of each seed, for each criterion, its correlation and the accuracy of its head; nan for no criterion."""
    trainings = [pool.trained(method, steps, seed) for seed in seeds]
    found = []
    for number, (labels_HM, loss_H) in enumerate(trainings):
        again_HM, _ = trainings[(number + 1) % len(trainings)]
        accuracy_H = np.array([pool.accuracy(labels) for labels in labels_HM])
        criteria = pool.judged(labels_HM, loss_H, again_HM, number)
        together = pool.together(labels_HM, int(criteria["information"].argmax()))
        facts = (("mean head", accuracy_H.mean()), ("best head", accuracy_H.max()))
        run = {name: (float("nan"), float(value)) for name, value in facts}
        run["together"] = (float("nan"), pool.accuracy(together))
        for name, values in criteria.items():
            run[name] = (float(spearmanr(values, accuracy_H).statistic), float(accuracy_H[values.argmax()]))
        found.append(run)
    return found


def cell(pairs: list[tuple[float, float]]) -> str:
    """Return mean correlation, where there is one, and mean accuracy."""
    correlation, accuracy = (statistics.fmean(column) for column in zip(*pairs, strict=True))
    return f"{accuracy:.1f}" if np.isnan(correlation) else f"{correlation:+.2f} ({accuracy:.1f})"


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", nargs="+")
    parser.add_argument("--encoder", default="patches")
    parser.add_argument("--method", default="temi", choices=("temi", "turtle"))
    parser.add_argument("--steps", type=int, help="of TEMI; by default as many as cluster takes")
    parser.add_argument("--seeds", type=int, default=3, help="at least 2")
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args()
    columns = ("mean head", "best head", "together", *CRITERIA)
    print(f"| pool | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for source in options.pools:
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        with tempfile.TemporaryDirectory() as folder:
            runs = measured(Pool(Path(folder) / "pool", source, options.encoder), options.method, options.steps, seeds)
        cells = [cell([run[name] for run in runs]) for name in columns]
        print(f"| {Path(source).name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
