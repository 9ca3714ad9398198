"""What a method picks of a pool under one config."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from elfs.budget import Budget
from elfs.catalog import SCORES, SELECTORS
from elfs.config import SelectConfig
from elfs.config.cheaper import HARD_RATE_SEARCH
from elfs.data.samples import SampleTable
from elfs.errors import UsageError
from elfs.ops.selection import Pool, SelectorOptions, eligible_rows, select
from elfs.ops.selection.hard_rate import CoverageJudge, best_hard_rate, num_windows, usual_hard_rate
from elfs.ops.selection.pool import required
from elfs.pipeline.job import Job
from elfs.stages.selection.candidates import Candidates
from elfs.stages.selection.grouping import refuse_no_pick, takes_whole_groups
from elfs.stages.selection.trust import witnesses
from elfs.train.seeding import generator
from elfs.train.window_search import ProxyJudge

__all__ = ["Choice", "choose", "number_to_pick", "picked_from"]

_LONG_SECONDS = 60
_TIMED_ROWS = 65_536


@dataclass(frozen=True, eq=False)
class Choice:
    """What was picked, and what was worked out for it.

    Attributes
    ----------
    picked : Tensor of shape (n_picked,), int64
        Positions in the pool, besides those of the included images, first pick first.
    hard_rate : float
        Share that was pruned from the hard end; 0 for methods that do not prune.
    curve : list of (float, float)
        Shares that were tried, and what was found of each.
    trust_by : dict of str to float
        How far the pseudo-labels are to be believed, by whom; empty where the method reads no scores.
    """

    picked: Tensor
    hard_rate: float
    curve: list[tuple[float, float]]
    trust_by: dict[str, float]

    @property
    def trust(self) -> float:
        """The least of all who know."""
        return min(self.trust_by.values(), default=1.0)


def choose(job: Job, config: SelectConfig, found: Candidates, table: SampleTable) -> Choice:
    """Pick as many images as the budget pays for.

    Parameters
    ----------
    job : Job
        Workspace, runtime.
    config : SelectConfig
        Budget, method, key, hard rate.
    found : Candidates
        The pool.
    table : SampleTable
        The samples.

    Returns
    -------
    Choice
        The picks and why they are these.

    Raises
    ------
    UsageError
        If the budget, the hard rate and the lists of images do not fit the pool.
    """
    count = number_to_pick(config, found)
    _announce(job, config, found.pool, count)
    trust_by = _witnesses(job, found) if "scores" in SELECTORS[config.method].reads else {}
    trust = min(trust_by.values(), default=1.0)
    pick = partial(picked_from, config, found.pool, count, trust=trust)
    hard_rate, curve = _hard_rate(job, config, found, table, count, pick)
    picked = pick(hard_rate)
    refuse_no_pick(config, found.pool, picked, count)
    whole = takes_whole_groups(config, found.pool)
    return Choice(_in_order(found, picked) if whole else picked, hard_rate, curve, trust_by)


def _witnesses(job: Job, found: Candidates) -> dict[str, float]:
    neighbors = job.workspace.tensors("neighbors")["indices"] if "neighbors" in job.inputs else None
    return witnesses(job.workspace, found.rows, found.pool.pseudo_labels, neighbors)


def picked_from(config: SelectConfig, pool: Pool, count: int, hard_rate: float, *, trust: float) -> Tensor:
    """Pick from a pool.

    Parameters
    ----------
    config : SelectConfig
        Method, seed, limits.
    pool : Pool
        In canonical order.
    count : int
        How many.
    hard_rate : float
        Share to prune from the hard end.
    trust : float
        How far the pseudo-labels are to be believed.

    Returns
    -------
    Tensor of shape (n_picked,), int64
        Positions in the pool, first pick first.
    """
    balance = None if config.balance == "none" else "pseudo_labels" if config.balances_pseudo_labels else "column"
    options = SelectorOptions(
        hard_rate=hard_rate,
        trust=_believed(config, trust),
        per_group=config.per_group,
        whole_groups=takes_whole_groups(config, pool),
    )
    draw = generator(config.seed, "select")
    return select(config.method, pool, count, options, draw, balance=balance, num_blocks=config.blocks)


def _believed(config: SelectConfig, trust: float) -> float:
    """Return how far the score is to be believed: no pseudo-label went into those of the embeddings."""
    return trust if SCORES[config.key].source == "dynamics" else 1.0


def _in_order(found: Candidates, picked: Tensor) -> Tensor:
    """Return whole groups with the images of each in the order of the workspace, as the frames of a film come."""
    rows = picked[torch.from_numpy(found.rows)[picked].argsort()]
    groups = required(found.pool, "groups")
    place = torch.empty(int(groups.max()) + 1, dtype=torch.int64)
    place[groups[picked.flip(0)]] = torch.arange(len(picked)).flip(0)
    return rows[place[groups[rows]].argsort(stable=True)]


def number_to_pick(config: SelectConfig, found: Candidates) -> int:
    """Return how many images are to be picked besides the included ones.

    Parameters
    ----------
    config : SelectConfig
        Budget, method, rounds.
    found : Candidates
        The pool.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    UsageError
        If the budget and the lists of images do not fit the pool.
    """
    budget, num_included = Budget.parse(config.budget), len(found.included)
    num_open = int(found.pool.candidates().sum())
    num_eligible = int(eligible_rows(config.method, found.pool).sum())
    total = budget.count or budget.resolve(len(found.pool))
    if budget.share == 1:
        total = num_eligible + num_included
    count = total - num_included
    settled = "included, excluded or annotated" if found.num_annotated else "included or excluded"
    left_out = [f"{len(found.pool) - num_open:,} are {settled}"] if len(found.pool) > num_open else []
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
    job: Job, config: SelectConfig, found: Candidates, table: SampleTable, count: int, pick: Callable[[float], Tensor]
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
        steps = num_windows(count / len(found.pool)) * proxy.builder.recipe.iterations
        with job.runtime.long_task("select: search", steps, "steps", HARD_RATE_SEARCH) as task:
            return best_hard_rate(pick, lambda picked: round(proxy.accuracy(torch.cat([settled, picked]), task), 6))
    paid_for = count + len(found.included) + found.num_annotated
    usual = usual_hard_rate(min(1.0, paid_for / len(found.pool)))
    judge = CoverageJudge.of(found.pool, generator(config.seed, "judge"))
    return best_hard_rate(pick, lambda picked: round(judge.worth(torch.cat([settled, picked])), 6), usual)


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
