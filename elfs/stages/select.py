"""Scores to a selection: row indices for programs, a table for people."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.budget import Budget
from elfs.catalog import SCORES, SELECTORS
from elfs.config import SelectConfig
from elfs.data.samples import SampleTable
from elfs.errors import UsageError
from elfs.ops.selection import Pool, SelectorOptions, eligible_rows, select
from elfs.ops.selection.hard_rate import CoverageJudge, best_hard_rate, usual_hard_rate
from elfs.ops.selection.pool import required
from elfs.pipeline.job import Job, Prepared, Result, StageCode
from elfs.stages.selection.candidates import Candidates, gather_candidates
from elfs.stages.selection.naming import settle_name
from elfs.stages.selection.reasons import reasons, selection_csv
from elfs.stages.selection.rounds import list_digests, refuse_circle
from elfs.stages.selection.trust import witnesses
from elfs.stages.selection.worth import worth
from elfs.train.seeding import generator
from elfs.train.window_search import ProxyJudge

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
    found = gather_candidates(job, config, table)
    count = _count(config, found)
    _announce(job, config, found.pool, count)
    trust_by = witnesses(job.workspace, found.pool) if "scores" in SELECTORS[config.method].reads else {}
    trust = min(trust_by.values(), default=1.0)
    known = trust if SCORES[config.key].source == "dynamics" else 1.0  # no pseudo-label went into the others

    def pick(rate: float) -> Tensor:
        options = SelectorOptions(hard_rate=rate, trust=known)
        draw = generator(config.seed, "select")
        balance = config.balance == "cluster"
        return select(config.method, found.pool, count, options, draw, balance=balance, num_blocks=config.blocks)

    usual = usual_hard_rate((count + len(found.included)) / len(found.pool), wrong=1 - known)
    hard_rate, curve = _hard_rate(job, config, found, table, usual, pick)
    picked = pick(hard_rate)
    rows = np.concatenate([found.included, found.rows[picked.numpy()]])
    ids = table.ids(rows)
    name, is_there = settle_name(job, config, ids)
    if is_there:
        return Result("", {}, record=f"select/{name}", is_there=True)
    labels, scores = _column(job, "pseudo_labels", "pseudo_labels", rows), _column(job, "scores", config.key, rows)
    why = ["annotated before"] * len(found.included) + reasons(config, found.pool.hardness, picked, hard_rate)
    artifact = f"selections/{name}"
    job.draft.save(artifact, {"indices": rows})
    job.draft.save_bytes(artifact, f"{artifact}/selection.csv", selection_csv(ids, labels, scores, why))
    summary = {"name": name} | _summary(config, found, rows) | _clusters(job, found, labels)
    summary |= worth(job, config, found, picked)
    headline = f"{len(rows):,} of {len(found.pool):,} by {_by(config)}"
    if trust_by:
        summary |= {"trust": trust, "trust_by": trust_by}
    if SELECTORS[config.method].prunes:
        chosen = "by hand" if config.fixed_hard_rate is not None else config.hard_rate or "auto"
        summary |= {"hard_rate": hard_rate, "hard_rate_chosen": chosen, "hard_rate_curve": curve}
        headline += f", hard rate {hard_rate:.2f}" + ("" if chosen == "by hand" else f" ({chosen})")
    return Result(headline, summary, {artifact: {"key": config.key, "method": config.method}}, f"select/{name}")


def _count(config: SelectConfig, found: Candidates) -> int:
    """Return how many images are to be picked besides the included ones."""
    budget, num_included = Budget.parse(config.budget), len(found.included)
    num_open = int(found.pool.candidates().sum())
    num_eligible = int(eligible_rows(config.method, found.pool).sum())
    total = budget.count or budget.resolve(len(found.pool))
    if budget.share == 1:
        total = num_eligible + num_included
    count = total - num_included
    left_out = [f"{len(found.pool) - num_open:,} are included or excluded"] if len(found.pool) > num_open else []
    left_out += [f"{num_open - num_eligible:,} have no score"] if num_open > num_eligible else []
    left_out += [f"{found.num_copies:,} are copies (--dedup off keeps them)"] if found.num_copies else []
    reason = f": of {len(found.pool) + found.num_copies:,}, {', '.join(left_out)}" if left_out else ""
    if num_eligible == 0:
        raise UsageError(f"no image is left to select{reason}.")
    if count < 1:
        raise UsageError(f"--budget is {total:,} images, and --include names {num_included:,}: none is left to select.")
    if count > num_eligible:
        raise UsageError(
            f"--budget asks for {count:,}{' more' if num_included else ''} images, but only {num_eligible:,} can be "
            f"selected{reason}."
        )
    return count


def _hard_rate(
    job: Job, config: SelectConfig, found: Candidates, table: SampleTable, usual: float, pick: Callable[[float], Tensor]
) -> tuple[float, list[tuple[float, float]]]:
    """Return the share to prune, and what was found out about others."""
    if not SELECTORS[config.method].prunes:
        return 0.0, []
    if config.fixed_hard_rate is not None:
        return config.fixed_hard_rate, []
    settled = torch.nonzero(~found.pool.candidates()).flatten()
    if config.hard_rate == "search":
        labels = required(found.pool, "pseudo_labels")
        proxy = ProxyJudge.of(job.workspace, table, found.rows, labels, job.runtime, job.source_root, config.seed)
        return best_hard_rate(pick, lambda picked: round(proxy.accuracy(torch.cat([settled, picked])), 6))
    judge = CoverageJudge.of(found.pool, generator(config.seed, "judge"))
    return best_hard_rate(pick, lambda picked: round(judge.coverage(torch.cat([settled, picked])), 6), usual)


def _announce(job: Job, config: SelectConfig, pool: Pool, count: int) -> None:
    """Say before it starts how long a method will take that compares each image with each one that it picks."""
    if not SELECTORS[config.method].pairwise:
        return
    fields = [value for value in (pool.embeddings, pool.features, pool.errors) if value is not None]
    num_dims = sum(value.shape[1] for value in fields)
    block = torch.ones(min(len(pool), _TIMED_ROWS), num_dims)
    block @ block[0]  # the first product pays for threads and pages
    started = time.perf_counter()
    block @ block[0]
    seconds = (time.perf_counter() - started) * count * len(pool) / len(block) / config.blocks
    if seconds > _LONG_SECONDS:
        blocks = config.blocks * int(np.ceil(seconds / _LONG_SECONDS))
        job.runtime.warn(
            f"{config.method} compares {len(pool):,} images with each of {count:,} picks: about "
            f"{seconds / 60:,.0f} minutes here. With --blocks {blocks} it takes about a minute."
        )


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
    if config.include or config.exclude:
        num_settled = len(found.pool) - int(num_open)
        facts |= {"included": len(found.included), "excluded": num_settled - len(found.included)}
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
