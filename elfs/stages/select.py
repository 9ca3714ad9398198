"""Scores to a selection: row indices for programs, a table for people."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elfs.catalog import SELECTORS
from elfs.config import SelectConfig
from elfs.data.samples import SampleTable
from elfs.ops.selection import eligible_rows
from elfs.pipeline.job import Job, Prepared, Result, StageCode
from elfs.stages.selection.candidates import Candidates, gather_candidates
from elfs.stages.selection.choice import choose, number_to_pick
from elfs.stages.selection.grouping import gather_grouping, takes_whole_groups, warn_of_few
from elfs.stages.selection.naming import settle_name
from elfs.stages.selection.reasons import reasons, selection_csv
from elfs.stages.selection.rounds import list_digests, refuse_circle
from elfs.stages.selection.steadiness import same_with_other_proxies
from elfs.stages.selection.worth import worth

__all__ = ["CODE", "prepare", "run"]

_LONG_SECONDS = 60
_TIMED_ROWS = 65_536


def prepare(config: SelectConfig, source_root: Path | None) -> Prepared:
    """Digest the lists of images that are named."""
    return Prepared(list_digests(config))


def run(job: Job, config: SelectConfig) -> Result:
    """Write ``selections/<name>``: ``indices.safetensors`` and ``selection.csv``.

    Parameters
    ----------
    job : Job
        Workspace, draft, runtime.
    config : SelectConfig
        Budget, method, key, hard rate, rounds.

    Returns
    -------
    Result
        How many images, of which clusters, pruned how far.

    Raises
    ------
    InputDataError
        If nothing can be selected, or a list of images names an unknown one.
    MissingUpstreamError
        If the scores lack the key.
    UsageError
        If the budget, the hard rate and the lists of images do not fit the pool, or another list has the name.
    """
    refuse_circle(job.workspace, config)
    table = SampleTable.from_tensors(job.workspace.arrays("samples"))
    grouping = gather_grouping(job, config, table)
    found = grouping.into(gather_candidates(job, config, table), config)
    choice = choose(job, config, found, table)
    picked, hard_rate = choice.picked, choice.hard_rate
    warn_of_few(job, config, found.pool, len(picked), number_to_pick(config, found))
    rows = np.concatenate([found.included, found.rows[picked.numpy()]])
    ids = table.ids(rows)
    name, is_there = settle_name(job, config, ids)
    grouping.keep(job, table)
    if is_there:
        return Result("", {}, record=f"select/{name}", is_there=True)
    labels, scores = _column(job, "pseudo_labels", "pseudo_labels", rows), _column(job, "scores", config.key, rows)
    whole = takes_whole_groups(config, found.pool)
    told = found.pool.unsure is not None
    why = reasons(config, found.pool.hardness, picked, hard_rate, whole_groups=whole, by_annotations=told)
    why = ["annotated before"] * len(found.included) + why
    artifact = f"selections/{name}"
    job.draft.save(artifact, {"indices": rows})
    job.draft.save_bytes(
        artifact, f"{artifact}/selection.csv", selection_csv(ids, labels, scores, why, grouping.names(rows))
    )
    summary = {"name": name} | _summary(config, found, rows) | _clusters(job, found, labels)
    summary |= worth(job, config, found, picked) | grouping.facts(config, found, rows)
    headline = f"{len(rows):,} of {len(found.pool):,} by {_by(config)}"
    if choice.trust_by:
        summary |= {"trust": choice.trust, "trust_by": choice.trust_by}
    if (same := same_with_other_proxies(job, config, found, choice)) is not None:
        summary["same_with_other_proxies"] = same
    if SELECTORS[config.method].prunes:
        chosen = "by hand" if config.fixed_hard_rate is not None else config.hard_rate or "auto"
        summary |= {"hard_rate": hard_rate, "hard_rate_chosen": chosen, "hard_rate_curve": choice.curve}
        headline += f", hard rate {hard_rate:.2f}" + ("" if chosen == "by hand" else f" ({chosen})")
    return Result(headline, summary, {artifact: {"key": config.key, "method": config.method}}, f"select/{name}")


def _column(job: Job, artifact: str, tensor: str, rows: NDArray[np.int64]) -> np.ndarray | None:
    """Return the values of some rows; None where there are none that this selection reads."""
    if artifact not in job.inputs:
        return None
    values = job.workspace.arrays(artifact).get(tensor)
    return None if values is None else np.asarray(values[rows])


def _by(config: SelectConfig) -> str:
    if config.method == "random":
        return "chance"
    return f"{config.method}, {config.key}" if SELECTORS[config.method].keyed else config.method


def _summary(config: SelectConfig, found: Candidates, rows: NDArray[np.int64]) -> dict[str, Any]:
    num_open, num_eligible = found.pool.candidates().sum(), eligible_rows(config.method, found.pool).sum()
    facts: dict[str, Any] = {"method": config.method, "count": len(rows), "eligible": len(found.pool)}
    facts |= {"share": round(len(rows) / len(found.pool), 6), "copies_left_out": found.num_copies}
    if config.holdout is not None:
        facts["holdout"] = True
    if config.include or config.exclude or num_open < len(found.pool):
        num_settled = len(found.pool) - int(num_open)
        facts |= {"included": len(found.included), "excluded": num_settled - len(found.included)}
    if found.num_annotated:
        facts["annotated"] = found.num_annotated
    if SELECTORS[config.method].keyed:
        facts["key"] = config.key
    if SELECTORS[config.method].keyed or SELECTORS[config.method].scores:
        facts["without_score"] = int(num_open - num_eligible)
    return facts


def _clusters(job: Job, found: Candidates, labels: NDArray[np.int64] | None) -> dict[str, int]:
    """Return how the selection spreads over the clusters of the pool, where there are any."""
    if labels is None:
        return {}
    of_pool = np.unique(job.workspace.arrays("pseudo_labels")["pseudo_labels"][found.rows])
    sizes = np.array([np.count_nonzero(labels == cluster) for cluster in of_pool])
    facts = {"clusters": len(of_pool), "clusters_covered": int((sizes > 0).sum())}
    return facts | {"fewest_per_cluster": int(sizes.min()), "most_per_cluster": int(sizes.max())}


CODE = StageCode(run, prepare)
