"""The trainings of a comparison: which are needed, which are recorded already, and the others, dealt out to ranks."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elfs.evaluation.comparison import WHOLE_POOL
from elfs.evaluation.comparison_plan import Planned, Setting
from elfs.evaluation.recorded import Journal, published
from elfs.evaluation.training import Accuracy, Trainer
from elfs.pipeline.job import Job

__all__ = ["Results", "Training", "missing_labels", "needed_trainings", "train_all"]


@dataclass(frozen=True)
class Training:
    """One network that is needed.

    Attributes
    ----------
    plan : Planned or None
        What its images were selected by; None for the whole pool.
    seed : int
        Of the training.
    rows : ndarray of shape (n,), int64
        Sorted rows that it learns from.
    """

    plan: Planned | None
    seed: int
    rows: NDArray[np.int64]

    @property
    def label(self) -> str:
        """As it is shown while it runs."""
        return WHOLE_POOL if self.plan is None else f"{self.plan.entry.label} {self.plan.budget}"


@dataclass(frozen=True)
class Results:
    """What trainings came to.

    Attributes
    ----------
    digests : tuple of str
        Of all that decides each training of this comparison, in their order.
    known : dict of str to Accuracy
        Digest to result, of all trainings ever; complete on the first rank.
    """

    digests: tuple[str, ...]
    known: dict[str, Accuracy]


def missing_labels(setting: Setting, rows: NDArray[np.int64]) -> str | None:
    """Return why images cannot be trained on.

    Parameters
    ----------
    setting : Setting
        What is compared.
    rows : ndarray of shape (n,), int64
        Their rows.

    Returns
    -------
    str or None
        None if every one has a label.
    """
    missing = int(np.count_nonzero(setting.truth.values[rows] < 0))
    return f"{missing:,} of {len(rows):,} images have no label." if missing else None


def needed_trainings(setting: Setting, rows: Mapping[Planned, NDArray[np.int64]], *, reference: bool) -> list[Training]:
    """Return every training whose result is needed, the whole pool last.

    Parameters
    ----------
    setting : Setting
        What is compared.
    rows : mapping of Planned to ndarray of shape (n,), int64
        What was selected.
    reference : bool
        Whether networks are trained on the whole pool, where all of it has labels.

    Returns
    -------
    list of Training
        Seed by seed.
    """
    found = [Training(plan, plan.seed, selected) for plan, selected in rows.items()]
    pool = np.flatnonzero(setting.table.eligible())
    if reference and missing_labels(setting, pool) is None:
        found += [Training(None, seed, pool) for seed in dict.fromkeys(plan.seed for plan in setting.plans)]
    return found


def train_all(
    job: Job, trainer: Trainer, trainings: Sequence[Training], *, force: bool, say: Callable[[str], None]
) -> Results:
    """Train what no comparison in this workspace has trained before; each rank its part.

    Parameters
    ----------
    job : Job
        Draft, workspace, ranks.
    trainer : Trainer
        Trains one network.
    trainings : sequence of Training
        All that are needed.
    force : bool
        Train again what earlier comparisons trained.
    say : Callable
        Takes one line about how much there is to do.

    Returns
    -------
    Results
        Complete on the first rank.

    Raises
    ------
    CorruptArtifactError
        If the table of earlier trainings is not what was written, unless `force`.
    """
    journal, ranks = Journal(job.draft.directory), job.runtime.ranks
    earlier = published(job.workspace, forgo_damaged=force)
    digests = tuple(trainer.digest(training.rows, training.seed) for training in trainings)
    known = journal.everything() if force else earlier | journal.everything()
    todo: list[str] = ranks.broadcast([digest for digest in dict.fromkeys(digests) if digest not in known])
    if ranks.is_first:
        count = f"{len(todo)} training{'' if len(todo) == 1 else 's'} of {trainer.iterations:,} steps"
        say(f"{count}, {len(set(digests)) - len(todo)} recorded already")
    work = dict(zip(reversed(digests), reversed(trainings), strict=True))  # the first of those with one digest
    found = _train_own(job, trainer, {digest: work[digest] for digest in todo}, journal, say)
    for results in ranks.collect({digest: [result.correct, result.total] for digest, result in found.items()}):
        known |= {digest: Accuracy(*result) for digest, result in results.items()}
    return Results(digests, earlier | known)


def _train_own(
    job: Job, trainer: Trainer, todo: Mapping[str, Training], journal: Journal, say: Callable[[str], None]
) -> dict[str, Accuracy]:
    """Train what is this rank's, note each result at once, and return them by digest."""
    ranks, found = job.runtime.ranks, dict[str, Accuracy]()
    own = dict(list(todo.items())[ranks.rank :: ranks.size])
    if own:
        rows = np.unique(np.concatenate([work.rows for work in own.values()]))
        trainer = dataclasses.replace(trainer, rows=rows)
        trainer.read()  # so that the time of the first training tells that of the others
    with job.runtime.progress.task("compare", len(own), "trainings") as task:
        for number, (digest, work) in enumerate(own.items(), 1):
            started = time.perf_counter()
            _, result = trainer.train_on_rows(work.rows, seed=work.seed, label=work.label)
            found[digest] = result
            journal.put(digest, result)
            task.advance(note=f"{work.label}: {100 * (result.share or 0.0):.1f} %")
            if number == 1 and len(own) > 1 and ranks.is_first:
                say(_estimate(time.perf_counter() - started, len(own) - 1, len(todo) - ranks.size))
    return found


def _estimate(seconds: float, num_rounds: int, num_left: int) -> str:
    """Return how long the other trainings will take if each round of them takes as long as the first one."""
    left = seconds * num_rounds
    shown = f"{left:.0f} s" if left < 100 else f"{left / 60:.0f} min" if left < 6000 else f"{left / 3600:.1f} h"
    return f"the first took {seconds:.0f} s, so about {shown} for the other {num_left}"
