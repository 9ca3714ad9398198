"""Finished trainings by their digest: in a draft, so that a kill loses none, and published for later comparisons."""

import csv
import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path

from elfs.errors import CorruptArtifactError
from elfs.evaluation.training import Accuracy
from elfs.workspace.files import atomic_write, json_bytes, make_directory
from elfs.workspace.workspace import Workspace

__all__ = ["COMPARE", "TRAININGS", "Journal", "published", "trainings_csv"]

COMPARE = "compare"
"""Record of a comparison."""

TRAININGS = "trainings"
"""Artifact that holds what every training of every comparison came to."""

_COLUMNS = ("digest", "correct", "test_images")


class Journal:
    """What the finished trainings of an unfinished run came to, one file for each.

    Parameters
    ----------
    draft : Path
        Directory of the run's draft.
    """

    def __init__(self, draft: Path) -> None:
        self._directory = draft / "trainings"

    def _path(self, digest: str) -> Path:
        return self._directory / f"{digest.removeprefix('sha256:')}.json"

    def get(self, digest: str) -> Accuracy | None:
        """Return the result of a training.

        Parameters
        ----------
        digest : str
            Of all that decides it.

        Returns
        -------
        Accuracy or None
            None if it has not finished, or what was noted of it cannot be read: it is trained again then.
        """
        return _noted(self._path(digest))

    def everything(self) -> dict[str, Accuracy]:
        """Return the results of all trainings that are noted.

        Returns
        -------
        dict of str to Accuracy
            Digest to result.
        """
        paths = sorted(self._directory.glob("*.json"))
        return {f"sha256:{path.stem}": result for path in paths if (result := _noted(path)) is not None}

    def put(self, digest: str, result: Accuracy) -> None:
        """Note the result of a training; it is on the disk when this returns.

        Parameters
        ----------
        digest : str
            Of all that decides it.
        result : Accuracy
            What it came to.

        Raises
        ------
        StorageError
            If the file cannot be written.
        """
        path = self._path(digest)
        make_directory(path.parent)
        with atomic_write(path) as file:
            file.write(json_bytes(dataclasses.asdict(result)))


def _noted(path: Path) -> Accuracy | None:
    try:
        value = json.loads(path.read_bytes())
        confusion = tuple((int(true), int(named), int(count)) for true, named, count in value["confusion"])
        return Accuracy(int(value["correct"]), int(value["total"]), confusion)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def published(workspace: Workspace, *, forgo_damaged: bool = False) -> dict[str, Accuracy]:
    """Return what earlier comparisons trained in a workspace.

    Parameters
    ----------
    workspace : Workspace
        Where to look.
    forgo_damaged : bool
        Whether a damaged table counts as none: everything is trained again anyway.

    Returns
    -------
    dict of str to Accuracy
        Digest to result; empty before the first comparison.

    Raises
    ------
    CorruptArtifactError
        If the file is missing, or not what the manifest states.
    StorageError
        If it may not be read.
    """
    if not workspace.has(TRAININGS):
        return {}
    try:
        lines = csv.DictReader(io.StringIO(workspace.contents(TRAININGS).decode("ascii")))
    except CorruptArtifactError:
        if forgo_damaged:
            return {}
        raise
    return {line["digest"]: Accuracy(int(line["correct"]), int(line["test_images"])) for line in lines}


def trainings_csv(trainings: Mapping[str, Accuracy]) -> bytes:
    """Return the table of trainings.

    Parameters
    ----------
    trainings : mapping of str to Accuracy
        Digest to result.

    Returns
    -------
    bytes
        A CSV file, sorted by digest; `published` reads it.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows((digest, result.correct, result.total) for digest, result in sorted(trainings.items()))
    return text.getvalue().encode("ascii")
