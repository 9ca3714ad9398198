"""Training dynamics and embeddings to difficulty scores."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.catalog import SCORES, required_epochs
from elfs.config import ScoreConfig
from elfs.data.samples import SampleTable
from elfs.ops.distances import unit_clusters, unit_rows
from elfs.ops.scores import EMBEDDING_SCORES, TRACE_SCORES, Geometry, compute_scores
from elfs.ops.threads import in_threads
from elfs.pipeline.facts import ScoreFacts
from elfs.pipeline.job import Job, Result, StageCode
from elfs.train.seeding import generator
from elfs.workspace.tensors import RowArray

__all__ = ["CODE", "run"]

_BLOCK_ROWS = 65_536
"""Samples whose traces a thread has in memory at a time."""

_EMBEDDING_ROWS = 16_384
"""Samples whose embeddings a thread has in memory at a time."""

_KMEANS_ROWS = 65_536
"""Images of the pool, evenly spread, to which k-means is fitted where there are more."""

Scores = dict[str, NDArray[np.float32]]


def run(job: Job, config: ScoreConfig) -> Result:
    """Write ``scores``: one tensor [N] per key, NaN for samples that cannot be selected.

    The result says which keys there are and why others were left out; the metadata states each key's direction.
    """
    traces = job.workspace.tensors("dynamics")
    num_epochs = traces["correct"].shape[0]
    left_out = {
        key: f"needs {needed} epochs, dynamics recorded {num_epochs}"
        for key in sorted(TRACE_SCORES)
        if (needed := required_epochs(key, config.window)) > num_epochs
    }
    scores = _trace_scores(job, traces, config.window, TRACE_SCORES.keys() - left_out)
    scores |= _embedding_scores(job, config.seed)
    for score in scores.values():
        score[np.isnan(score)] = np.nan  # one of the many NaNs: which one arithmetic gives depends on the blocks
    job.draft.save("scores", scores)
    directions = {key: f"{SCORES[key].harder} = harder" for key in sorted(scores)}
    num_scored = int(np.isfinite(scores["aum"]).sum())
    facts = ScoreFacts(tuple(sorted(scores)), num_scored, num_epochs, left_out)
    headline = f"{len(scores)} scores"
    if left_out:
        headline += f", {', '.join(left_out)} left out: too few epochs"
    return Result(headline, facts.as_json(), {"scores": {"directions": directions}})


def _trace_scores(job: Job, traces: dict[str, np.ndarray | RowArray], window: int, keys: Iterable[str]) -> Scores:
    """Return the scores of the training run."""
    num_rows = traces["correct"].shape[1]
    scores = {key: np.empty(num_rows, dtype=np.float32) for key in keys}

    def fill(rows: slice) -> int:
        block = {name: torch.from_numpy(_columns(trace, rows)) for name, trace in traces.items()}
        for key, score in compute_scores(block, window).items():
            scores[key][rows] = score.numpy()
        return int(rows.stop - rows.start)

    _in_blocks(job, "score", fill, num_rows, _BLOCK_ROWS)
    return scores


def _embedding_scores(job: Job, seed: int) -> Scores:
    """Return the scores of the embeddings, for the images that can be selected."""
    pool_N = SampleTable.from_tensors(job.workspace.arrays("samples")).eligible()
    embeddings = job.workspace.tensors("embeddings")["embeddings"]
    similarity = job.workspace.tensors("neighbors")["similarity"]
    prototypes = _prototypes(job, embeddings, np.flatnonzero(pool_N), seed)
    scores = {key: np.full(len(pool_N), np.nan, dtype=np.float32) for key in EMBEDDING_SCORES}

    def fill(block: slice) -> int:
        rows = block.start + np.flatnonzero(pool_N[block])
        geometry = Geometry(unit_rows(_rows(embeddings, rows)), _rows(similarity, rows), prototypes)
        for key, score in EMBEDDING_SCORES.items():
            scores[key][rows] = score(geometry).numpy()
        return int(block.stop - block.start)

    _in_blocks(job, "score: embeddings", fill, len(pool_N), _EMBEDDING_ROWS)
    return scores


def _in_blocks(job: Job, name: str, fill: Callable[[slice], int], num_rows: int, block_rows: int) -> None:
    """Call a function with one slice of rows after the other, which says how many it has done."""
    slices = (slice(start, min(start + block_rows, num_rows)) for start in range(0, num_rows, block_rows))
    with job.runtime.progress.task(name, num_rows, "images") as task:
        for count in in_threads(fill, slices):
            task.advance(count)


def _prototypes(job: Job, embeddings: np.ndarray | RowArray, rows: NDArray[np.int64], seed: int) -> Tensor:
    """Return as many centres of k-means as there are pseudo-labels."""
    num_prototypes = len(np.unique(job.workspace.arrays("pseudo_labels")["pseudo_labels"][rows]))
    num_seen = min(len(rows), max(_KMEANS_ROWS, num_prototypes))
    seen = rows[np.linspace(0, len(rows) - 1, num_seen).round().astype(np.int64)]
    with job.runtime.progress.task("score: k-means", 1, "pass") as task:
        clusters = unit_clusters(_rows(embeddings, seen), num_prototypes, generator(seed, "prototypes"))
        task.advance()
    return clusters.centroids


def _rows(array: np.ndarray | RowArray, rows: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(array.take(rows) if isinstance(array, RowArray) else array[rows])


def _columns(trace: np.ndarray | RowArray, rows: slice) -> np.ndarray:
    """Copy the columns of some samples out of a trace [E, N]."""
    return trace.columns(rows.start, rows.stop) if isinstance(trace, RowArray) else np.array(trace[:, rows])


CODE = StageCode(run)
