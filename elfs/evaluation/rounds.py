"""Rounds played through: the true labels answer as an annotator would, and each batch is chosen with those before."""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from elfs.budget import Budget
from elfs.config import CompareConfig
from elfs.evaluation.comparison_plan import Planned, Setting
from elfs.evaluation.comparison_selections import Selections
from elfs.evaluation.entries import Entry, first_entry, round_names
from elfs.evaluation.training import labelled_rows
from elfs.pipeline.graph import needed_artifacts
from elfs.pipeline.job import Job
from elfs.stages.selection.candidates import gather_candidates
from elfs.stages.selection.choice import choose
from elfs.train.annotated import Annotated

__all__ = ["needed_in_rounds", "play_rounds"]

Rows = NDArray[np.int64]


def needed_in_rounds(setting: Setting, config: CompareConfig) -> tuple[str, ...]:
    """Return the artifacts that the methods read.

    Parameters
    ----------
    setting : Setting
        What is compared.
    config : CompareConfig
        Names the method of the first round.

    Returns
    -------
    tuple of str
        Artifact names, each once.
    """
    entries = dict.fromkeys([first_entry(config), *(plan.entry for plan in setting.plans)])
    needs = [name for entry in entries for name in needed_artifacts("select", entry.select_config("1.0", 0))]
    return tuple(dict.fromkeys(["samples", "embeddings", *needs]))


def play_rounds(job: Job, setting: Setting, config: CompareConfig) -> Selections:
    """Choose batch after batch with every method and seed; the first rank does, all ranks get the result.

    Parameters
    ----------
    job : Job
        Workspace, ranks; its inputs are those of `needed_in_rounds`.
    setting : Setting
        What is compared, and the true labels.
    config : CompareConfig
        Rounds, batch, the method of the first round.

    Returns
    -------
    Selections
        Of each round, all images that are annotated after it.

    Raises
    ------
    UsageError
        If the pool has too few images for so many rounds.
    InputDataError
        If an image that is asked for has no label.
    """
    ranks = job.runtime.ranks
    played: list[list[int]] | None = None
    if ranks.is_first:
        played = [rows.tolist() for rows in _Simulation(job, setting, config).everything()]
    rows = [np.array(found, dtype=np.int64) for found in ranks.broadcast(played)]
    return Selections(dict.fromkeys(setting.plans, ""), dict(zip(setting.plans, rows, strict=True)), {})


@dataclasses.dataclass(frozen=True)
class _Simulation:
    """One comparison in rounds, played by methods whose questions the true labels answer."""

    job: Job
    setting: Setting
    config: CompareConfig

    def everything(self) -> list[Rows]:
        """Return what is annotated after each round, sorted, in the order of the plans."""
        players = dict.fromkeys((plan.seed, plan.entry) for plan in self.setting.plans)
        openings: dict[int, Rows] = {}
        found: dict[tuple[int, Entry, str], Rows] = {}
        with self.job.runtime.progress.task("compare: rounds", len(players), "methods x seeds") as task:
            for seed, entry in players:
                if seed not in openings:
                    openings[seed] = self._batch(first_entry(self.config), seed, None)
                annotated = openings[seed]
                for number, name in enumerate(round_names(self.config)):
                    if number:
                        annotated = np.union1d(annotated, self._batch(entry, seed, annotated))
                    found[seed, entry, name] = annotated
                task.advance(note=entry.label)
        return [found[_key(plan)] for plan in self.setting.plans]

    def _batch(self, entry: Entry, seed: int, annotated: Rows | None) -> Rows:
        """Return the rows of the next batch, sorted, once some are annotated; all of them have a label."""
        setting, truth = self.setting, self.setting.truth
        known = None if annotated is None else Annotated(annotated, truth.values[annotated], truth.names)
        select = entry.select_config(self.config.batch, seed)
        candidates = gather_candidates(self.job, select, setting.table, known)
        count = Budget.parse(self.config.batch).resolve(len(candidates.pool))
        picked = choose(self.job, dataclasses.replace(select, budget=str(count)), candidates, setting.table).picked
        rows = np.sort(candidates.rows[picked.numpy()])
        return labelled_rows(setting.table, truth, rows, len(rows))


def _key(plan: Planned) -> tuple[int, Entry, str]:
    return plan.seed, plan.entry, plan.budget
