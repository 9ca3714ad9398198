"""Cluster heads to one pseudo-label a sample, with a confidence."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from elfs.annotations.groups import ARTIFACT as GROUPS
from elfs.annotations.groups import kept_groups
from elfs.annotations.kept import ARTIFACT, kept_annotations
from elfs.config import LabelConfig
from elfs.data.samples import SampleTable
from elfs.errors import UsageError
from elfs.models.heads import ClusterHeads
from elfs.ops.calibration import powered_confidence
from elfs.ops.kmeans import kmeans_probabilities
from elfs.ops.turtle import log_labels, unit_parts
from elfs.parallel.limits import require_rows
from elfs.parallel.runtime import Task
from elfs.pipeline.cluster_facts import ClustersFacts, HeadFacts
from elfs.pipeline.job import Job, Result, StageCode
from elfs.stages.annotated_labels import Learned, learn_classes
from elfs.train.features import Features
from elfs.train.head_consensus import TENSORS, HeadConsensus
from elfs.workspace.pieces import Pieces, Run, deal

__all__ = ["CODE", "run"]

_BLOCK_ROWS = 16_384
_PIECE_BLOCKS = 64
"""Blocks that are written to the draft together: the most that a killed run does again, for each rank."""

_FILE_ROWS = 1 << 26
"""Rows of one file of pseudo-labels at most."""

_CONFIDENT = 0.9
"""A pseudo-label above this confidence counts as confident in the summary. The mean confidence of the pool is how often
clusterings agree: those that the consensus of ``graph`` is of, and one of another kind for the other methods."""

_FEW = 0.1
"""Share of confident pseudo-labels below which it is said that they are few."""

Labels = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Label and confidence of some samples."""


def run(job: Job, config: LabelConfig) -> Result:
    """Write ``pseudo_labels``: of every sample that has an embedding, train and test.

    The ranks share the samples, in blocks that do not depend on how many ranks there are, so neither do the labels.

    Refused where a head is asked for that does not exist, or there are more ranks than images.
    """
    ranks = job.runtime.ranks
    table = SampleTable.from_tensors(job.workspace.arrays("samples"))
    clustering = job.workspace.document("clusters", ClustersFacts)
    head = config.head
    if head is None and clustering.consensus is None:
        head = clustering.chosen
    if head is not None and head >= len(clustering.heads):
        raise UsageError(
            f"--head is {head}, expected at most {len(clustering.heads) - 1}: cluster made that many heads."
        )
    rows = np.flatnonzero(table.usable())
    require_rows(len(rows), ranks)
    pieces = Pieces(job.draft.directory / "pieces", f"labels-{_BLOCK_ROWS}")
    found = _missing(job, pieces, len(rows)) if ranks.is_first else None
    missing = [(start, stop) for start, stop in ranks.broadcast(found)]
    mine = _dealt(missing, len(rows), ranks.size)[ranks.rank]
    with job.runtime.progress.task("label", len(rows), "images") as task:
        task.resume(len(rows) - sum(stop - start for start, stop in missing))
        if mine:
            _label(job, _Labeller.of(job, head, clustering), rows, mine, pieces, task)
    ranks.wait()
    if not ranks.is_first:
        return Result("", {})
    learned = _learned(job, table, rows, pieces)
    clusters = clustering.clusters if learned is None else len(learned.names)
    sizes, num_confident = _publish(job, table, rows, _Labelled(pieces, learned), clusters)
    confident = num_confident / int(sizes.sum())
    summary: dict[str, Any] = {"clusters": clusters, "head": head, "confident": round(confident, 6)}
    summary |= {"smallest_cluster": int(sizes.min()), "largest_cluster": int(sizes.max())}
    chosen = clustering.labelling if head is None else clustering.heads[head]
    summary |= {"trust": chosen.trust, "agreement": chosen.agreement}
    facts: dict[str, Any] = {"trust": chosen.trust, "clusters": clusters}
    if learned is None:
        return Result(_clusters_headline(job, chosen, clusters, confident), summary, {"pseudo_labels": facts})
    facts |= learned.facts | {"names": list(learned.names)}
    return Result(_headline(learned), summary | learned.facts, {"pseudo_labels": facts})


def _clusters_headline(job: Job, head: HeadFacts, clusters: int, confident: float) -> str:
    """Return what there is to say of clusters that nobody has annotated; note where few labels are confident."""
    if confident < _FEW:
        job.runtime.note(
            f"{confident:.0%} of the pseudo-labels are confident, above {_CONFIDENT}: most images lie between "
            "clusters. Another --clusters, --method or encoder may tell more of them apart."
        )
    said = f"{confident:.0%} confident" if head.trust is None else f"trust {head.trust:.2f}"
    said += "" if head.agreement is None else f"   others agree: {head.agreement:.0%}"
    return f"{clusters} clusters, {said}"


def _learned(job: Job, table: SampleTable, rows: NDArray[np.int64], pieces: Pieces) -> Learned | None:
    """Return what annotations make of the clusters; None where there are none, or nothing follows from them."""
    if ARTIFACT not in job.inputs:
        return None
    clusters, sure = np.full(len(table), -1, np.int64), np.full(len(table), np.nan, np.float32)
    found = pieces.read((0, len(rows)))
    clusters[rows], sure[rows] = found["pseudo_labels"], found["confidence"]
    groups = kept_groups(job.workspace, table) if GROUPS in job.inputs else None
    learned = learn_classes(job.workspace, table, kept_annotations(job.workspace), (clusters, sure), groups)
    if learned is None:
        job.runtime.warn(
            "the annotated images that can be learned from have fewer than two classes: the clusters stay as they are."
        )
    elif learned.facts["estimated_wrong"] is None:
        job.runtime.warn("no class has two annotated images, so how many pseudo-labels are wrong cannot be told yet.")
    return learned


def _headline(learned: Learned) -> str:
    facts = learned.facts
    kept = f" and {facts['kept_clusters']} clusters" if facts["kept_clusters"] else ""
    said = f"{facts['classes']} classes{kept} from {facts['annotated']:,} annotations, {facts['learned_by']}"
    if facts["estimated_wrong"] is None:
        return said
    low, high = facts["estimated_wrong_interval"]
    return f"{said}   {facts['estimated_wrong']:.0%} wrong ({low:.0%} to {high:.0%})"


def _missing(job: Job, pieces: Pieces, num_positions: int) -> list[Run]:
    for path in pieces.drop_damaged():
        job.runtime.warn(f"{path.name} is damaged: its images are labelled again.")
    return pieces.missing(num_positions)


def _dealt(missing: list[Run], num_positions: int, num_ranks: int) -> list[list[Run]]:
    """Return which positions each rank labels: whole blocks, a piece of them at a time."""
    blocks = [(start // _BLOCK_ROWS, -(-stop // _BLOCK_ROWS)) for start, stop in missing]
    return [
        [(start * _BLOCK_ROWS, min(stop * _BLOCK_ROWS, num_positions)) for start, stop in runs]
        for runs in deal(blocks, num_ranks, most=_PIECE_BLOCKS)
    ]


@dataclass(frozen=True)
class _Labeller:
    """What labels: log-probabilities by one head or several, up to a constant for each row, and the way together."""

    said: Callable[[Tensor], Iterable[Tensor]]
    consensus: HeadConsensus | None
    power: float
    standardization: dict[str, Tensor]

    @classmethod
    def of(cls, job: Job, head: int | None, clusters: ClustersFacts) -> "_Labeller":
        """Take one head, or all of them where there is none."""
        device, arrays = job.runtime.device(), job.workspace.arrays("heads")
        scale = {name: torch.from_numpy(np.array(arrays.pop(name))) for name in ("mean", "inverse_deviation")}
        kept = {name: arrays.pop(name) for name in TENSORS if name in arrays}
        power = (clusters.labelling if head is None else clusters.heads[head]).confidence_power
        together = HeadConsensus.from_tensors(kept) if head is None else None
        temperature = 1.0 if clusters.temperature is None else clusters.temperature
        return cls(_said(arrays, head, temperature, device), together, 1.0 if power is None else power, scale)

    @torch.inference_mode()
    def __call__(self, inputs_BD: Tensor) -> Labels:
        if self.consensus is None:
            (logits_BC,) = self.said(inputs_BD)
        else:
            logits_BC = self.consensus(self.said(inputs_BD))
        return logits_BC.argmax(dim=1).cpu().numpy(), powered_confidence(logits_BC, self.power).cpu().numpy()


def _said(
    arrays: Mapping[str, np.ndarray], head: int | None, temperature: float, device: torch.device
) -> Callable[[Tensor], Iterable[Tensor]]:
    """Return what asks the centres of k-means, TURTLE's weights for each encoder, or networks: one head, or all."""
    if "centroids" in arrays:
        centroids = torch.from_numpy(np.array(arrays["centroids"])).to(device)
        return lambda inputs_BD: [kmeans_probabilities(F.normalize(inputs_BD), centroids).log()]
    if "turtle.0" in arrays:
        some = slice(None) if head is None else slice(head, head + 1)
        parts = [torch.from_numpy(np.array(arrays[f"turtle.{e}"][:, some])).to(device) for e in range(len(arrays))]
        weights, widths, clusters = [p.flatten(1) for p in parts], [len(p) for p in parts], parts[0].shape[2]
        return lambda inputs_BD: log_labels(unit_parts(inputs_BD, widths), weights, clusters)
    heads = ClusterHeads.from_tensors(arrays)
    taken = range(heads.num_heads) if head is None else [head]
    networks = [heads.select_head(number).to(device) for number in taken]
    return lambda inputs_BD: (network(inputs_BD)[0].float() / temperature for network in networks)


def _label(job: Job, labeller: _Labeller, rows: NDArray[np.int64], runs: list[Run], pieces: Pieces, task: Task) -> None:
    """Label runs of positions and keep each in the draft as soon as it is finished."""
    embeddings = job.workspace.tensors("embeddings")["embeddings"]
    features = Features(embeddings, rows, job.runtime.device(), in_memory=False, **labeller.standardization)
    advance = job.runtime.advancing(task)
    with job.runtime.ranks.working():
        for start, stop in runs:
            found: list[Labels] = []
            for positions_B in torch.arange(start, stop).split(_BLOCK_ROWS):
                found.append(labeller(features.take(positions_B)))
                advance(len(positions_B))
            labels, confidence = (np.concatenate(parts) for parts in zip(*found, strict=True))
            pieces.save((start, stop), {"pseudo_labels": labels, "confidence": confidence})


@dataclass(frozen=True)
class _Labelled:
    """Where labels come from: the pieces of the draft, or what was learned from annotations."""

    pieces: Pieces
    learned: Learned | None

    def read(self, rows: NDArray[np.int64], first: int, last: int) -> Labels:
        """Return the labels of usable rows ``first`` to ``last``, which are not none."""
        if self.learned is not None:
            return self.learned.classes[rows[first:last]], self.learned.confidence[rows[first:last]]
        found = self.pieces.read((first, last))
        return found["pseudo_labels"], found["confidence"]


def _publish(
    job: Job, table: SampleTable, rows: NDArray[np.int64], labelled: _Labelled, num_clusters: int
) -> tuple[NDArray[np.int64], int]:
    """Lay the labels out over all rows of the workspace; return the clusters' sizes and the number of confident ones.

    Both count the samples that can be selected.
    """
    eligible = table.eligible()
    sizes, num_confident = np.zeros(num_clusters, np.int64), 0
    num_files = -(-len(table) // _FILE_ROWS)
    for index in range(num_files):
        start, stop = index * _FILE_ROWS, min((index + 1) * _FILE_ROWS, len(table))
        labels, confidence = np.full(stop - start, -1, np.int64), np.full(stop - start, np.nan, np.float32)
        first, last = np.searchsorted(rows, [start, stop])
        if last > first:
            own = rows[first:last] - start
            labels[own], confidence[own] = labelled.read(rows, int(first), int(last))
        pool = eligible[start:stop]
        sizes += np.bincount(labels[pool], minlength=num_clusters)
        num_confident += int(np.count_nonzero(confidence[pool] > _CONFIDENT))
        shard = (index, num_files) if num_files > 1 else None
        job.draft.save("pseudo_labels", {"pseudo_labels": labels, "confidence": confidence}, shard=shard)
    return sizes, num_confident


CODE = StageCode(run)
