"""How well a selection covers the pool, found when it is made and kept with it."""

import math

import torch
from torch import Tensor

from elfs.config import SelectConfig
from elfs.ops.selection.chance import coverage_and_chance
from elfs.pipeline.facts import Coverage
from elfs.pipeline.job import Job
from elfs.stages.selection.candidates import Candidates, read_rows
from elfs.train.seeding import generator

__all__ = ["coverage"]

_MOST_ROWS = 2_000_000
"""Where the method itself reads no embeddings, those of larger pools are not read for this either."""


def coverage(job: Job, config: SelectConfig, found: Candidates, picked: Tensor) -> Coverage | None:
    """Return how well a selection covers the pool, compared with chance.

    Parameters
    ----------
    job : Job
        Workspace, and what of it may be read.
    config : SelectConfig
        Its seed draws the random selections.
    found : Candidates
        The pool.
    picked : Tensor of shape (n_picked,), int64
        Positions in the pool.

    Returns
    -------
    Coverage or None
        To 4 digits; None where there are no finite embeddings.
    """
    embeddings = found.pool.embeddings
    if embeddings is None and "embeddings" in job.inputs and len(found.rows) <= _MOST_ROWS:
        embeddings = read_rows(job, "embeddings", "embeddings", found.rows)
    if embeddings is None:
        return None
    chance = coverage_and_chance(embeddings, picked, found.pool.candidates(), generator(config.seed, "chance"))
    values = torch.tensor(chance.draws, dtype=torch.float64)
    if not (math.isfinite(chance.selected) and bool(values.isfinite().all())):
        return None
    return Coverage(
        selected=round(chance.selected, 4),
        random=round(float(values.mean()), 4),
        lowest=round(float(values.min()), 4),
        highest=round(float(values.max()), 4),
        beaten=int((values < chance.selected).sum()),
        draws=len(values),
    )
