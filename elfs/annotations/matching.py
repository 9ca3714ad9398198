"""Answers to labels of a workspace's images, and what is to be said about those that did not fit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elfs.annotations.answers import Answer
from elfs.annotations.spellings import alike_remarks
from elfs.annotations.voting import vote
from elfs.data.addresses import find_images
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError

__all__ = ["Labels", "match_answers"]

_NAMED = 3


@dataclass(frozen=True)
class Labels:
    """What people say about the images of a workspace.

    Attributes
    ----------
    values : ndarray of shape (n_samples,), int64
        Position in `names` of the label of each row; -1 where it has none.
    names : tuple of str
        Classes in sorted order, each with an image at least.
    unknown : tuple of str
        Labelled images of the file that are not in the workspace.
    ambiguous : tuple of str
        Labelled images of the file that could be several of the workspace.
    ties : tuple of (str, tuple of str)
        Id of each image that people do not agree about, and the classes that it could have.
    skipped : int
        Images of the workspace that the file names and to which nobody gave a label.
    """

    values: NDArray[np.int64]
    names: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()
    ties: tuple[tuple[str, tuple[str, ...]], ...] = ()
    skipped: int = 0

    def remarks(self) -> list[str]:
        """Return what a person should know.

        Returns
        -------
        list of str
            A sentence for each kind of answer that came to nothing; empty where all went well.
        """
        found = []
        if self.ties:
            named = ", ".join(f"{name!r} ({' or '.join(labels)})" for name, labels in self.ties[:_NAMED])
            more = _more(len(self.ties))
            what, count = ("image has", "counts") if len(self.ties) == 1 else ("images have", "count")
            found.append(
                f"{len(self.ties):,} {what} several labels and no majority, and {count} as not labelled: {named}{more}"
            )
        for names, what in ((self.unknown, "not in the workspace"), (self.ambiguous, "the name of several images")):
            if names:
                labels = "label of an image" if len(names) == 1 else "labels of images"
                shown = ", ".join(map(repr, names[:_NAMED])) + _more(len(names))
                found.append(f"{len(names):,} {labels} ignored ({what}): {shown}")
        if self.skipped:
            verb = "image is" if self.skipped == 1 else "images are"
            found.append(f"{self.skipped:,} {verb} named without a label: skipped, or not annotated")
        return found + alike_remarks(self.names)

    def counts(self) -> dict[str, int]:
        """Return how many answers came to nothing, by the reason."""
        counts = {"unknown": len(self.unknown), "ambiguous": len(self.ambiguous), "ties": len(self.ties)}
        return counts | {"skipped": self.skipped}


def match_answers(answers: Sequence[Answer], table: SampleTable, *, root: str | None, said: str) -> Labels:
    """Bring answers into the row order of a workspace.

    Parameters
    ----------
    answers : sequence of Answer
        As they were read.
    table : SampleTable
        The samples.
    root : str or None
        Folder of the images.
    said : str
        What the answers are called in messages, as in "labels.csv".

    Returns
    -------
    Labels
        The majority of the answers about each image.

    Raises
    ------
    InputDataError
        If there are labels, and none is of an image of the workspace.
    """
    found = find_images(table, [answer.image for answer in answers], root)
    about: dict[int, list[Answer]] = {}
    for answer, row in zip(answers, found.rows.tolist(), strict=True):
        if row >= 0:
            about.setdefault(row, []).append(answer)
    lost = [place for place in np.flatnonzero(found.rows < 0).tolist() if answers[place].classes]
    several = set(found.ambiguous)
    unknown = dict.fromkeys(answers[place].image for place in lost if place not in several)
    ambiguous = dict.fromkeys(answers[place].image for place in lost if place in several)
    if lost and not any(answer.classes for group in about.values() for answer in group):
        raise InputDataError(_nothing_fits(said, list(ambiguous) or list(unknown), table, several=bool(ambiguous)))
    votes = {row: vote(group) for row, group in sorted(about.items())}
    names = sorted({labels[0] for labels in votes.values() if len(labels) == 1})
    index = {name: position for position, name in enumerate(names)}
    values = np.full(len(table), -1, np.int64)
    for row, labels in votes.items():
        if len(labels) == 1:
            values[row] = index[labels[0]]
    return Labels(
        values,
        tuple(names),
        tuple(unknown),
        tuple(ambiguous),
        tuple((table.id(row), labels) for row, labels in votes.items() if len(labels) > 1),
        sum(not labels for labels in votes.values()),
    )


def _more(count: int) -> str:
    return f" and {count - _NAMED:,} more" if count > _NAMED else ""


def _nothing_fits(said: str, names: Sequence[str], table: SampleTable, *, several: bool) -> str:
    shown = ", ".join(repr(name[:200]) for name in names[:_NAMED]) + _more(len(names))
    what = "the end of several ids" if several else "unknown"
    example = f"; ids look like {table.id(0)!r}" if len(table) else ""
    return f"{said}: {len(names):,} of {len(names):,} ids are {what}: {shown}{example}."
