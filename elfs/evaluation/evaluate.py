"""What true labels say about a workspace: the clusters, and each selection."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.data.samples import SampleTable, Split
from elfs.errors import InputDataError
from elfs.evaluation.labels import TrueLabels, true_labels
from elfs.evaluation.metrics import ClusteringMetrics, clustering_metrics, match_clusters
from elfs.pipeline.selections import selected_rows
from elfs.pipeline.upstream import require
from elfs.workspace.workspace import Workspace

__all__ = ["EvaluateReport", "SelectionQuality", "evaluate"]


@dataclass(frozen=True)
class SelectionQuality:
    """What true labels say about one selection.

    Attributes
    ----------
    name : str
        Name of the selection.
    count : int
        Images in it.
    labelled : int
        How many of them have a true label and a pseudo-label; the rest of what is said is about these.
    classes : int
        True classes among them.
    wrong : float
        Share of them whose cluster stands for another class, in ``[0, 1]``.
    """

    name: str
    count: int
    labelled: int
    classes: int
    wrong: float

    @property
    def wrong_for_people(self) -> str:
        """A share, or how many of how many where not all have a label: few say little."""
        if self.labelled == self.count:
            return f"{self.wrong:.1%}"
        wrong = round(self.wrong * self.labelled)
        return f"{wrong:,} of {self.labelled:,} ({self.labelled:,} of {self.count:,} labelled)"


@dataclass(frozen=True)
class EvaluateReport:
    """What true labels say.

    Attributes
    ----------
    splits : dict of str to (int, ClusteringMetrics)
        Split to the number of labelled samples and the agreement of their pseudo-labels.
    selections : tuple of SelectionQuality
        One for each selection of which images are labelled, as far as they are in the pool.
    remarks : tuple of str
        What came to nothing of a file of labels.
    """

    splits: dict[str, tuple[int, ClusteringMetrics]]
    selections: tuple[SelectionQuality, ...]
    remarks: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        splits = {name: {"samples": count} | asdict(metrics) for name, (count, metrics) in self.splits.items()}
        return {"splits": splits, "selections": [asdict(selection) for selection in self.selections]} | {
            "remarks": list(self.remarks)
        }

    def lines(self) -> list[str]:
        """Return the report for people."""
        found = ["split        samples     ACC    NMI    AMI    ARI"]
        for name, (count, m) in self.splits.items():
            found.append(f"{name:<10} {count:>9,}  {m.accuracy:6.3f} {m.nmi:6.3f} {m.ami:6.3f} {m.ari:6.3f}")
        if self.selections:
            width = max(len(selection.name) for selection in self.selections)
            found += ["", f"{'selection':<{width}}    images  classes  wrong pseudo-labels"]
            for s in self.selections:
                found.append(f"{s.name:<{width}} {s.count:>9,}  {s.classes:>7}  {s.wrong_for_people:>19}")
        return found + [""] * bool(self.remarks) + [f"{remark}." for remark in self.remarks]


def evaluate(path: Path, labels: str | None) -> EvaluateReport:
    """Compare pseudo-labels and selections with true labels.

    Parameters
    ----------
    path : Path
        The workspace.
    labels : str or None
        What an annotation tool gave, ``folders``, or None for the source's own labels.

    Returns
    -------
    EvaluateReport
        For people and as JSON.

    Raises
    ------
    InputDataError
        If there are no true labels.
    MissingUpstreamError, StaleUpstreamError
        If the pseudo-labels are not there, or stale.
    """
    workspace = Workspace.open(path)
    require(workspace, "evaluate", ("samples", "pseudo_labels"))
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    truth = true_labels(workspace, table, labels)
    pseudo_labels = np.asarray(workspace.arrays("pseudo_labels")["pseudo_labels"])
    known = (truth.values >= 0) & (pseudo_labels >= 0)
    splits = {}
    for split in Split:
        rows = np.flatnonzero(known & (table.split == split))
        if len(rows):
            metrics = clustering_metrics(truth.values[rows], pseudo_labels[rows])
            splits[split.name.lower()] = (len(rows), metrics)
    remarks = () if truth.given is None else tuple(truth.given.remarks())
    if not splits:
        said = "".join(f" {remark}." for remark in remarks)
        raise InputDataError(f"none of the samples has both a pseudo-label and a true label.{said}")
    return EvaluateReport(splits, tuple(_selections(workspace, table, truth, pseudo_labels, known)), remarks)


def _selections(
    workspace: Workspace,
    table: SampleTable,
    truth: TrueLabels,
    pseudo_labels: NDArray[np.int64],
    known: NDArray[np.bool_],
) -> list[SelectionQuality]:
    mapping = match_clusters(truth.values[known], pseudo_labels[known])
    found = []
    for name in sorted(workspace.manifest.artifacts):
        if not name.startswith("selections/"):
            continue
        rows, _ = selected_rows(workspace, table, name.partition("/")[2])
        labelled = rows[known[rows]]
        if len(labelled):
            classes = truth.values[labelled]
            wrong = float(np.mean(mapping[pseudo_labels[labelled]] != classes))
            quality = SelectionQuality(name.partition("/")[2], len(rows), len(labelled), len(np.unique(classes)), wrong)
            found.append(quality)
    return found
