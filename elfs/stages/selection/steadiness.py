"""How many of the picks would be the same with other proxies, where what the dynamics kept tells it."""

import dataclasses

from elfs.catalog import SELECTORS
from elfs.config import SelectConfig
from elfs.ops.selection.pool import required
from elfs.ops.selection.steadiness import in_place_of, share_in_common
from elfs.pipeline.facts import ScoreFacts
from elfs.pipeline.job import Job
from elfs.stages.selection.candidates import Candidates, read_rows
from elfs.stages.selection.choice import Choice, number_to_pick, picked_from

__all__ = ["same_with_other_proxies"]

_MOST_ROWS = 200_000
"""Larger pools take too long to select from twice more."""

_OF_KEY = {"aum": "margin_difference", "confidence": "target_probability_difference"}
"""Scores that are sums or means of a trace over the epochs, and what is kept of the halves of the proxies."""


def same_with_other_proxies(job: Job, config: SelectConfig, found: Candidates, choice: Choice) -> float | None:
    """Return how many of the picks would be the same if as many other proxies had been trained.

    The embeddings, the clusters, the pseudo-labels, their trust and the hard rate stay as they are.

    Parameters
    ----------
    job : Job
        Workspace, and what of it may be read.
    config : SelectConfig
        What is selected and how.
    found : Candidates
        The pool.
    choice : Choice
        What was picked of it.

    Returns
    -------
    float or None
        Share of the picks, in [0, 1], to 4 digits: the mean of two selections with scores that others could have
        given. None where it is not known: with one proxy, or an odd number of rounds of the folds; for scores other
        than aum and confidence, and methods that read none; where annotations take the place of the score; for pools
        above 200,000 images, and where all of them are taken.
    """
    tensor = _OF_KEY.get(config.key)
    if tensor is None or not SELECTORS[config.method].keyed or "agreement" not in job.inputs:
        return None
    if found.pool.unsure is not None or len(found.rows) > _MOST_ROWS or len(choice.picked) == len(found.rows):
        return None
    if tensor not in job.workspace.tensors("agreement"):
        return None
    difference = read_rows(job, "agreement", tensor, found.rows).float()
    if config.key == "aum":
        difference *= job.workspace.summary("score", ScoreFacts).epochs
    count, shares = number_to_pick(config, found), []
    for hardness in in_place_of(required(found.pool, "hardness"), difference):
        pool = dataclasses.replace(found.pool, scores=found.pool.scores, hardness=hardness)
        other = picked_from(config, pool, count, choice.hard_rate, trust=choice.trust)
        shares.append(share_in_common(choice.picked, other))
    return round(sum(shares) / len(shares), 4)
