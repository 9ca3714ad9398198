"""Scores to a selection: row indices for programs, a table for people."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elfs.catalog import SELECTORS
from elfs.config import SelectConfig
from elfs.data.samples import SampleTable
from elfs.ops.selection import eligible_rows
from elfs.pipeline.facts import EmbedFacts, SelectionFacts, TrustFacts
from elfs.pipeline.job import Job, Prepared, Result, StageCode
from elfs.stages.selection.candidates import Candidates, gather_candidates, picks_per_cluster, read_rows
from elfs.stages.selection.choice import Choice, choose, number_to_pick
from elfs.stages.selection.coverage import coverage
from elfs.stages.selection.grouping import Grouping, gather_grouping, takes_whole_groups, warn_of_few
from elfs.stages.selection.naming import settle_name
from elfs.stages.selection.reasons import reasons, selection_csv
from elfs.stages.selection.rounds import list_digests, refuse_circle
from elfs.stages.selection.steadiness import same_with_other_proxies

__all__ = ["CODE", "prepare", "run"]

_BY_HAND = "by hand"


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
    found = replace(found, pool=replace(found.pool))  # without the orders that the choice has worked out
    picked, hard_rate = choice.picked, choice.hard_rate
    warn_of_few(job, config, found.pool, len(picked), number_to_pick(config, found))
    rows = found.rows_with(picked)
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
    facts = _facts(job, config, found, choice, grouping, name)
    headline = f"{len(rows):,} of {len(found.pool):,} by {_by(config)}"
    if facts.hard_rate is not None:
        chosen = facts.hard_rate_chosen
        headline += f", hard rate {hard_rate:.2f}" + ("" if chosen == _BY_HAND else f" ({chosen})")
    return Result(headline, facts.as_json(), {artifact: {"key": config.key, "method": config.method}}, f"select/{name}")


def _column(job: Job, artifact: str, tensor: str, rows: NDArray[np.int64]) -> np.ndarray | None:
    """Return the values of some rows; None where there are none that this selection reads."""
    if artifact not in job.inputs or tensor not in job.workspace.tensors(artifact):
        return None
    return read_rows(job, artifact, tensor, rows).numpy()


def _by(config: SelectConfig) -> str:
    if config.method == "random":
        return "chance"
    return f"{config.method}, {config.key}" if SELECTORS[config.method].keyed else config.method


def _facts(
    job: Job, config: SelectConfig, found: Candidates, choice: Choice, grouping: Grouping, name: str
) -> SelectionFacts:
    """Return what there is to say of a selection."""
    rows, method = found.rows_with(choice.picked), SELECTORS[config.method]
    num_open, num_eligible = int(found.pool.candidates().sum()), int(eligible_rows(config.method, found.pool).sum())
    num_settled = len(found.pool) - num_open
    builds = bool(config.include or config.exclude or num_settled)
    sizes = picks_per_cluster(job, found, rows)
    labelled = job.workspace.manifest.artifacts["pseudo_labels"].record if sizes is not None else None
    return SelectionFacts(
        name=name,
        method=config.method,
        count=len(rows),
        eligible=len(found.pool),
        share=round(len(rows) / len(found.pool), 6),
        copies_left_out=found.num_copies,
        balance=config.balance,
        encoder=job.workspace.summary("embed", EmbedFacts).encoder,
        holdout=config.holdout is not None,
        included=len(found.included) if builds else None,
        excluded=num_settled - len(found.included) if builds else None,
        annotated=found.num_annotated,
        key=config.key if method.keyed else None,
        without_score=num_open - num_eligible if method.keyed or method.scores else None,
        clusters=None if sizes is None else len(sizes),
        clusters_covered=None if sizes is None else int((sizes > 0).sum()),
        fewest_per_cluster=None if sizes is None else int(sizes.min()),
        most_per_cluster=None if sizes is None else int(sizes.max()),
        clusters_missed=_missed(job, found, rows),
        coverage=coverage(job, config, found, choice.picked),
        confident=None if labelled is None else job.workspace.summary(labelled, TrustFacts).confident,
        groups=grouping.of_groups(config, found, rows),
        column=grouping.of_column(config, rows),
        trust=choice.trust if choice.trust_by else None,
        trust_by=choice.trust_by,
        same_with_other_proxies=same_with_other_proxies(job, config, found, choice),
        hard_rate=choice.hard_rate if method.prunes else None,
        hard_rate_chosen=_how_hard(config) if method.prunes else None,
        hard_rate_curve=tuple(choice.curve) if method.prunes else None,
    )


def _missed(job: Job, found: Candidates, rows: NDArray[np.int64]) -> int | None:
    """Return how many clusters have neither one of the rows nor a settled image; None where no image is settled."""
    settled = found.rows[found.pool.held().numpy()]
    if not len(settled):
        return None
    sizes = picks_per_cluster(job, found, np.concatenate([rows, settled]))
    return None if sizes is None else int((sizes == 0).sum())


def _how_hard(config: SelectConfig) -> str:
    """Return how the hard rate was found."""
    return _BY_HAND if config.fixed_hard_rate is not None else str(config.hard_rate or "auto")


CODE = StageCode(run, prepare)
