"""Which head labels the images, or all of them together, and what is reported of each. Shape suffix: C clusters."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from torch import Tensor

from elfs.config import ClusterConfig
from elfs.pipeline.job import Job
from elfs.stages.clustering.pool import Pool, calibrated_heads
from elfs.train.head_choice import HeadQuality, JudgedRows, SaidByHeads, head_report
from elfs.train.head_consensus import TENSORS, HeadConsensus

__all__ = ["Choice", "choose", "reported"]


@dataclass(frozen=True)
class Choice:
    """What labels the images.

    Attributes
    ----------
    head : int
        The best head by the criterion; for a consensus the most trusted one, whose names the clusters have.
    consensus : HeadConsensus or None
        Of all heads, where several label together.
    qualities : list of HeadQuality
        Of each head, and at last of the consensus where there is one.
    """

    head: int
    consensus: HeadConsensus | None
    qualities: list[HeadQuality]

    def together(self, said: SaidByHeads) -> SaidByHeads:
        """Return what asks every head, and then the consensus where there is one."""
        return said if self.consensus is None else self.consensus.after(said)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return what ``heads`` has of the consensus: nothing where there is none."""
        return {} if self.consensus is None else self.consensus.to_tensors()

    def as_json(self) -> dict[str, Any]:
        """Return what other ranks need, as JSON: no qualities."""
        tensors = self.tensors()
        return {"head": self.head} | {name: values.tolist() for name, values in tensors.items()}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Return the choice as another rank has it."""
        tensors = {name: np.array(found[name], kind) for name, kind in TENSORS.items() if name in found}
        return cls(found["head"], HeadConsensus.from_tensors(tensors) if tensors else None, [])

    def said(self, one: str) -> str:
        """Return for people what labels, heads being called `one`."""
        return f"all {one}s together" if self.consensus is not None else f"{one} {self.head} chosen"


def choose(config: ClusterConfig, said: SaidByHeads, loss: Tensor, neighbors: Tensor, clusters: int) -> Choice:
    """Judge every head on a sample of the pool, and choose.

    Parameters
    ----------
    config : ClusterConfig
        By what to choose.
    said : Callable
        Positions to what each head says of them.
    loss : Tensor of shape (n_heads,), float32
        Of each head, lower = better.
    neighbors : Tensor of shape (n_rows, n_neighbors), integer
        Positions of each row's neighbours, most similar first, on the CPU.
    clusters : int
        Number of clusters.

    Returns
    -------
    Choice
        The same for equal arguments.
    """
    rows = JudgedRows.of(neighbors)
    labels = rows.clusters(said)
    qualities = rows.qualities(labels, None, clusters)
    by = {
        "loss": (-loss).tolist(),
        "information": [quality.information for quality in qualities],
        "trust": [quality.trust for quality in qualities],
    }
    values = by.get(config.head_choice, by["trust"])
    best = max(range(len(values)), key=lambda head: values[head])
    if config.head_choice in by or len(values) == 1:
        return Choice(best, None, qualities)
    consensus = HeadConsensus.of(labels[:, : rows.num_sampled], by["trust"], clusters)
    together = rows.clusters(consensus.after(said))[-1:]
    return Choice(best, consensus, qualities + rows.qualities(together, labels, clusters))


def reported(
    job: Job, config: ClusterConfig, pool: Pool, choice: Choice, said: SaidByHeads, loss: Tensor, counts: Tensor
) -> dict[str, Any]:
    """Return what ``clusters.json`` says of the heads and of what labels.

    Parameters
    ----------
    job : Job
        Workspace and runtime.
    config : ClusterConfig
        By what was chosen.
    pool : Pool
        What was clustered.
    choice : Choice
        What labels the images.
    said : Callable
        Positions to what each head says of them, up to a constant for each row.
    loss : Tensor of shape (n_heads,), float32
        Of each head.
    counts : Tensor of shape (n_said, n_clusters), int64
        Images of each cluster, by each head, and at last by the consensus where there is one.

    Returns
    -------
    dict
        Plain JSON.
    """
    calibrated = calibrated_heads(job, pool, counts.shape[1], config.seed, choice.together(said))
    losses = [*loss.tolist(), None][: len(counts)]
    reports = [
        head_report(own_C, own_loss, asdict(quality) | asdict(calibration))
        for own_C, own_loss, quality, calibration in zip(counts, losses, choice.qualities, calibrated, strict=True)
    ]
    consensus = None if choice.consensus is None else reports.pop()
    return {"head_choice": config.head_choice, "chosen": choice.head, "heads": reports, "consensus": consensus}
