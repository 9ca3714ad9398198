"""Scores to a selection: row indices for programs, a table for people."""

import csv
import io

import numpy as np
import torch

from elfs.budget import Budget
from elfs.config import SelectConfig
from elfs.data.hashing import id_hashes
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError
from elfs.ops.scores import hardness
from elfs.ops.selection import SELECTORS, Pool, SelectorOptions, default_hard_rate
from elfs.stages.graph import default_selection_name
from elfs.stages.job import Job, Result
from elfs.train.seeding import generator

__all__ = ["run"]


def run(job: Job, config: SelectConfig) -> Result:
    """Write ``selections/<name>``: ``indices.safetensors`` and ``selection.csv``.

    Parameters
    ----------
    job : Job
        Workspace, draft, runtime.
    config : SelectConfig
        Budget, method, key, hard rate.

    Returns
    -------
    Result
        How many images, of which clusters, pruned how far.

    Raises
    ------
    InputDataError
        If nothing can be selected.
    UsageError
        If the budget and the hard rate do not fit the pool.
    """
    table = SampleTable.from_tensors(job.workspace.arrays("samples"))
    rows = np.flatnonzero(table.eligible())
    if len(rows) == 0:
        raise InputDataError("no image can be selected: every one is broken or in the test split.")
    budget = Budget.parse(config.budget).resolve(len(rows))
    scores = _column(job, "scores", config.key, rows)
    labels = _column(job, "pseudo_labels", "pseudo_labels", rows)
    pool = Pool(
        tie_breaker=torch.from_numpy(id_hashes(table, rows, config.seed)),
        hardness=None if scores is None else hardness(torch.from_numpy(scores), config.key),
        pseudo_labels=None if labels is None else torch.from_numpy(labels),
    )
    hard_rate = default_hard_rate(budget / len(rows)) if config.hard_rate is None else config.hard_rate
    select = SELECTORS[config.method]
    picked = select(pool, budget, SelectorOptions(hard_rate=hard_rate), generator(config.seed, "select")).numpy()
    name = config.name or default_selection_name(config)
    artifact = f"selections/{name}"
    job.draft.save(artifact, {"indices": rows[picked]})
    reasons = _reasons(config, pool, picked, hard_rate)
    text = _csv(table.ids(rows[picked]), picked, labels, scores, reasons)
    job.draft.save_bytes(artifact, f"{artifact}/selection.csv", text)
    summary = _summary(config, pool, picked, labels) | {"name": name, "eligible": len(rows)}
    headline = f"{budget:,} of {len(rows):,} by {config.key if config.method != 'random' else 'chance'}"
    if config.method == "elfs":
        summary |= {"hard_rate": hard_rate, "hard_rate_chosen": "by budget" if config.hard_rate is None else "by hand"}
        headline += f", hard rate {hard_rate:.2f}" + (" (auto)" if config.hard_rate is None else "")
    return Result(headline, summary, {artifact: {"key": config.key, "method": config.method}})


def _column(job: Job, artifact: str, tensor: str, rows: np.ndarray) -> np.ndarray | None:
    """Return the values of some rows; None where this selection does not read the artifact."""
    if artifact not in job.inputs:
        return None
    return np.asarray(job.workspace.arrays(artifact)[tensor][rows])


def _reasons(config: SelectConfig, pool: Pool, picked: np.ndarray, hard_rate: float) -> list[str]:
    """Return one sentence for each picked position: why it is in."""
    if config.method == "random" or pool.hardness is None:
        return [f"drawn at random with seed {config.seed}"] * len(picked)
    finite = pool.hardness.isfinite().numpy()
    ordered = np.sort(-pool.hardness.numpy()[finite])
    harder = np.searchsorted(ordered, -pool.hardness.numpy()[picked]) / len(ordered)
    ends = {
        "elfs": f"the hardest {hard_rate:.1%} are pruned and the next hardest are kept",
        "hardest": "the hardest are kept",
        "easiest": "the easiest are kept",
    }
    return [f"{share:.1%} of the pool is harder by {config.key}; {ends[config.method]}" for share in harder]


def _csv(
    ids: list[str], picked: np.ndarray, labels: np.ndarray | None, scores: np.ndarray | None, reasons: list[str]
) -> bytes:
    """Return the table for people; unknown columns stay empty."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rank", "id", "pseudo_label", "score", "why"])
    for rank, (name, position, why) in enumerate(zip(ids, picked, reasons, strict=True), 1):
        label = "" if labels is None else int(labels[position])
        score = "" if scores is None else f"{scores[position]:.6g}"
        writer.writerow([rank, name, label, score, why])
    return text.getvalue().encode("utf-8", "surrogateescape")


def _summary(
    config: SelectConfig, pool: Pool, picked: np.ndarray, labels: np.ndarray | None
) -> dict[str, str | int | float]:
    facts: dict[str, str | int | float] = {"method": config.method, "count": len(picked)}
    facts["share"] = round(len(picked) / len(pool), 6)
    if pool.hardness is not None:
        facts["key"] = config.key
        facts["without_score"] = int((~pool.hardness.isfinite()).sum())
    if labels is not None:
        sizes = np.bincount(labels[picked], minlength=int(labels.max()) + 1)
        facts |= {"clusters": len(np.unique(labels)), "clusters_covered": int((sizes > 0).sum())}
        facts |= {"fewest_per_cluster": int(sizes.min()), "most_per_cluster": int(sizes.max())}
    return facts
