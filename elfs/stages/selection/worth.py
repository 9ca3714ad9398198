"""What a verdict on a selection goes by, found when it is made and kept with it."""

import math
from typing import Any

import torch
from torch import Tensor

from elfs.config import SelectConfig
from elfs.ops.selection.chance import coverage_and_chance
from elfs.pipeline.job import Job
from elfs.stages.selection.candidates import Candidates, read_rows
from elfs.train.seeding import generator

__all__ = ["worth"]

_MOST_ROWS = 2_000_000
"""Where the method itself reads no embeddings, those of larger pools are not read for this either."""


def worth(job: Job, config: SelectConfig, found: Candidates, picked: Tensor) -> dict[str, Any]:
    """Return how well a selection covers the pool, compared with chance, and how many pseudo-labels are confident.

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
    dict
        ``coverage`` where there are finite embeddings: ``selected``, ``random`` (mean of the draws), ``lowest`` and
        ``highest`` of them, each in [0, 1], to 4 digits, and how many of the ``draws`` it has ``beaten``.
        ``confident``, a share of the pool, where there are pseudo-labels. ``balance`` as it was asked for, and the
        ``encoder`` of the embeddings.
    """
    records = job.workspace.manifest.records
    facts: dict[str, Any] = {"balance": config.balance}
    if "embed" in records:
        facts["encoder"] = records["embed"].summary.get("encoder")
    embeddings = found.pool.embeddings
    if embeddings is None and "embeddings" in job.inputs and len(found.rows) <= _MOST_ROWS:
        embeddings = read_rows(job, "embeddings", "embeddings", found.rows)
    if embeddings is not None:
        draw = generator(config.seed, "chance")
        chance = coverage_and_chance(embeddings, picked, found.pool.candidates(), draw)
        values = torch.tensor(chance.draws, dtype=torch.float64)
        if math.isfinite(chance.selected) and bool(values.isfinite().all()):
            facts["coverage"] = {
                "selected": round(chance.selected, 4),
                "random": round(float(values.mean()), 4),
                "lowest": round(float(values.min()), 4),
                "highest": round(float(values.max()), 4),
                "beaten": int((values < chance.selected).sum()),
                "draws": len(values),
            }
    if "pseudo_labels" in job.inputs:
        made = records[job.workspace.manifest.artifacts["pseudo_labels"].record].summary
        facts |= {"confident": made["confident"]} if "confident" in made else {}
    return facts
