"""Artifacts to the pool that a selector looks at. Axes: M rows of the pool, K neighbours."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.catalog import SELECTORS
from elfs.config import SelectConfig
from elfs.data.hashing import id_hashes
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError, MissingUpstreamError
from elfs.ops.duplicates import kept_of_equal, kept_of_near, near_distances, near_pairs
from elfs.ops.scores import hardness
from elfs.ops.selection import Pool
from elfs.ops.selection.pool import required, take
from elfs.ops.threads import in_threads
from elfs.pipeline.annotated import require_annotations
from elfs.pipeline.job import Job
from elfs.pipeline.status import recorded_config
from elfs.pipeline.upstream import require_key
from elfs.stages.selection.informed import informed, is_informed, with_annotated_settled
from elfs.stages.selection.rounds import settled_rows
from elfs.train.annotated import Annotated
from elfs.train.gradients import proxy_outputs
from elfs.workspace.commands import command_line
from elfs.workspace.tensors import RowArray

__all__ = ["Candidates", "gather_candidates", "picks_per_cluster", "read_rows"]


_READ_ROWS = 262_144


@dataclass(frozen=True, eq=False)
class Candidates:
    """The pool of a selection and where its rows come from.

    Attributes
    ----------
    pool : Pool
        With the fields that the config asks for, in canonical order.
    rows : ndarray of shape (n_rows,), int64
        Row of the workspace of each row of the pool.
    included : ndarray of shape (n_included,), int64
        Rows of the workspace with which the selection starts.
    num_copies : int
        Images that are left out as copies of others.
    num_annotated : int
        Images that are left out because people have named them.
    """

    pool: Pool
    rows: NDArray[np.int64]
    included: NDArray[np.int64]
    num_copies: int
    num_annotated: int = 0

    def rows_with(self, picked: Tensor) -> NDArray[np.int64]:
        """Return the rows of a selection: those that it starts with, then the picks, given by their positions."""
        return np.concatenate([self.included, self.rows[picked.numpy()]])


def gather_candidates(
    job: Job, config: SelectConfig, table: SampleTable, annotated: Annotated | None = None
) -> Candidates:
    """Read what a selection needs.

    Parameters
    ----------
    job : Job
        Workspace.
    config : SelectConfig
        Method, key, rounds, copies.
    table : SampleTable
        The samples.
    annotated : Annotated or None
        What is to count as annotated. None: the annotations of the workspace, where they are among the job's inputs.

    Returns
    -------
    Candidates
        Pool and rows.

    Raises
    ------
    InputDataError
        If there is no eligible image, or a list of images names an unknown one.
    UsageError
        If an image is both included and excluded.
    """
    rows, tie_breaker = _in_order(table, config.seed)
    known = settled_rows(job, table, config)
    settled = torch.from_numpy(np.isin(rows, np.concatenate([known.included, known.excluded])))
    pool = Pool(tie_breaker=tie_breaker, settled=settled)
    if "neighbors" in SELECTORS[config.method].reads or config.dedup == "near":
        pool = _with_neighbors(job, pool, rows, len(table))
    num_before = len(rows)
    if config.dedup != "off":
        rows, pool = _without_copies(job, config, pool, rows)
    num_copies = num_before - len(rows)
    num_annotated = len(known.annotated) if annotated is None else len(annotated.rows)
    if annotated is None and "annotations" in job.inputs:
        annotated = Annotated.of(job.workspace, table, grouped="groups" in job.inputs)
    require_annotations(config.method, annotated=annotated is not None)
    pool = _with_fields(job, config, table, pool, rows, is_annotated=annotated is not None)
    if annotated is not None:
        pool = with_annotated_settled(pool, rows, annotated)
        if is_informed(config.method):
            pool = informed(pool, rows, config, annotated, job.workspace.tensors("embeddings")["embeddings"])
    return Candidates(pool, rows, known.included, num_copies, num_annotated)


def read_rows(job: Job, artifact: str, tensor: str, rows: NDArray[np.int64]) -> Tensor:
    """Return some rows of a tensor of the workspace.

    Parameters
    ----------
    job : Job
        Workspace.
    artifact, tensor : str
        Names.
    rows : ndarray of shape (n_rows,), int64
        Rows of the workspace, in any order.

    Returns
    -------
    Tensor of shape (n_rows, ...)
        A copy.
    """
    values: np.ndarray | RowArray = job.workspace.tensors(artifact)[tensor]
    whole = values if isinstance(values, RowArray) else RowArray([values])
    found = np.empty((len(rows), *whole.shape[1:]), dtype=whole.dtype)
    parts = (slice(start, start + _READ_ROWS) for start in range(0, len(rows), _READ_ROWS))
    for _ in in_threads(lambda part: whole.take(rows[part], out=found[part]), parts):
        pass
    return torch.from_numpy(found)


def picks_per_cluster(job: Job, found: Candidates, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return how many of some rows each cluster of the pool has.

    Parameters
    ----------
    job : Job
        Workspace, and what of it may be read.
    found : Candidates
        The pool.
    rows : ndarray of shape (n_rows,), int64
        Rows of the workspace.

    Returns
    -------
    ndarray of shape (n_clusters,), int64, or None
        None where the pseudo-labels may not be read.
    """
    if "pseudo_labels" not in job.inputs:
        return None
    of_pool = torch.nonzero(required(found.pool, "pseudo_labels").bincount()).flatten()
    of_rows = read_rows(job, "pseudo_labels", "pseudo_labels", rows).numpy()
    return np.array([np.count_nonzero(of_rows == cluster) for cluster in of_pool.tolist()])


def _in_order(table: SampleTable, seed: int) -> tuple[NDArray[np.int64], Tensor]:
    """Return the rows of the pool in canonical order, and the numbers that it goes by."""
    rows = np.flatnonzero(table.eligible())
    if len(rows) == 0:
        raise InputDataError("no image can be selected: every one is broken or in the test split.")
    # a third of the time of NumPy's argsort
    tie_breaker, order = torch.sort(torch.from_numpy(id_hashes(table, rows, seed)), stable=True)
    return rows[order.numpy()], tie_breaker


def _without_copies(
    job: Job, config: SelectConfig, pool: Pool, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Pool]:
    """Return the rows and the pool with one of all copies of an image; everything where all are copies of one."""
    kept = _kept(job, config, pool, rows)
    num_kept = int(kept.sum())
    if num_kept == 1 < len(rows):
        job.runtime.warn(
            f"all {len(rows):,} images are copies of one, so none is left out: there is no signal of difficulty, "
            "and any of them is as good as any other."
        )
    elif num_kept < len(rows):
        positions = torch.nonzero(kept).flatten()
        return rows[positions.numpy()], take(pool, positions)
    return rows, pool


def _with_neighbors(job: Job, pool: Pool, rows: NDArray[np.int64], num_rows: int) -> Pool:
    position = np.full(num_rows + 1, -1, dtype=np.int32)  # the last entry stands for the neighbour -1
    position[rows] = np.arange(len(rows), dtype=np.int32)
    neighbors = torch.from_numpy(position[read_rows(job, "neighbors", "indices", rows).numpy()])
    return dataclasses.replace(pool, neighbors=neighbors, similarity=read_rows(job, "neighbors", "similarity", rows))


def _kept(job: Job, config: SelectConfig, pool: Pool, rows: NDArray[np.int64]) -> Tensor:
    """Return which rows stay when of all copies of an image only one does, bool [M]."""
    assert pool.settled is not None
    if "content" not in job.workspace.tensors("embeddings"):
        raise MissingUpstreamError(
            "the embeddings were made by an older elfs, which did not note which pictures are equal.",
            hint=f"{command_line('embed', recorded_config(job.workspace.path, 'embed'), job.workspace.path)} --force",
        )
    kept = kept_of_equal(read_rows(job, "embeddings", "content", rows), pool.settled)
    if config.dedup == "near":
        assert pool.neighbors is not None
        assert pool.similarity is not None
        distances = near_distances(pool.similarity)
        pairs = near_pairs(pool.neighbors, pool.similarity, distances)
        pairs = pairs[kept[pairs].all(dim=1)]
        kept &= kept_of_near(pairs, pool.settled)
    return kept


def _with_fields(
    job: Job, config: SelectConfig, table: SampleTable, pool: Pool, rows: NDArray[np.int64], *, is_annotated: bool
) -> Pool:
    """Return the pool with what the method reads and what the search for a hard rate reads."""
    method = SELECTORS[config.method]
    for key in [config.key] * method.keyed + list(method.scores):
        require_key(job.workspace, key)
    fields: dict[str, Tensor] = {}
    if method.keyed:
        fields["hardness"] = hardness(read_rows(job, "scores", config.key, rows), config.key)
    if "pseudo_labels" in job.inputs:
        fields["pseudo_labels"] = read_rows(job, "pseudo_labels", "pseudo_labels", rows)
    if "embeddings" in method.reads or (method.prunes and config.hard_rate is None):
        embeddings = read_rows(job, "embeddings", "embeddings", rows)
        fields["embeddings"] = embeddings.float() if embeddings.dtype == torch.float64 else embeddings
    if "proxy" in method.reads and not is_annotated:
        labels = read_rows(job, "pseudo_labels", "pseudo_labels", rows)
        fields["features"], fields["errors"] = proxy_outputs(
            job.workspace, table, rows, labels, job.runtime, job.source_root
        )
    scores = {key: read_rows(job, "scores", key, rows) for key in method.scores}
    return dataclasses.replace(pool, scores=scores, **fields)
