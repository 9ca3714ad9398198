"""True labels: from the source, from the names of class folders, or from a table after annotation."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elfs.annotations.kept import kept_annotations
from elfs.annotations.matching import Labels, match_answers
from elfs.annotations.reading import read_answers
from elfs.data.samples import SampleTable, Split
from elfs.data.sources.digits import NUM_PIXELS, digits_columns, digits_order
from elfs.data.sources.torchvision_sets import open_torchvision
from elfs.errors import InputDataError
from elfs.evaluation.class_folders import class_folder_labels, coarse_labels
from elfs.evaluation.synthetic import synthetic_classes
from elfs.pipeline.source_facts import SourceFacts
from elfs.source_names import DATASETS, SYNTHETIC_PREFIX
from elfs.workspace.files import digest_json, sha256_file
from elfs.workspace.workspace import Workspace

__all__ = ["FOLDERS", "TrueLabels", "annotated_labels", "labels_digest", "true_labels"]

FOLDERS = "folders"
"""What to write after ``--labels`` to take the name of each image's folder as its label."""

_GIVE_LABELS = (
    "Give them with --labels labels.csv (columns id,label; or what Label Studio, CVAT and others export), or --labels "
    "folders for one folder a class."
)


@dataclass(frozen=True)
class TrueLabels:
    """What annotators, or the makers of a data set, say.

    Attributes
    ----------
    values : ndarray of shape (n_samples,), int64
        Class of every row of the workspace; -1 where it is not known.
    names : tuple of str
        Name of each class.
    given : Labels or None
        What came of a file of annotations; None where the labels come with the source.
    """

    values: NDArray[np.int64]
    names: tuple[str, ...]
    given: Labels | None = None


def labels_digest(labels: str | None) -> dict[str, str]:
    """Return the digest of annotations, as an external input of a record.

    Parameters
    ----------
    labels : str or None
        What was typed after ``--labels``.

    Returns
    -------
    dict of str to str
        Empty where the labels are those of the source.

    Raises
    ------
    InputDataError
        If there is no such file or folder.
    """
    if labels is None or labels == FOLDERS:
        return {}
    path = _existing(labels)
    if path.is_dir():
        return {"external:labels": digest_json([[answer.image, *answer.classes] for answer in read_answers(path)])}
    return {"external:labels": sha256_file(path)}


def _existing(labels: str) -> Path:
    if not Path(labels).exists():
        raise InputDataError(f"--labels {labels}: there is no such file.")
    return Path(labels)


def true_labels(workspace: Workspace, table: SampleTable, labels: str | None) -> TrueLabels:
    """Return the true labels of a workspace's samples.

    Parameters
    ----------
    workspace : Workspace
        Its manifest names the source.
    table : SampleTable
        The samples.
    labels : str or None
        What an annotation tool gave (`elfs.annotations.reading`), the word ``folders``, or None for the source's own
        labels.

    Returns
    -------
    TrueLabels
        Classes in sorted order of their names.

    Raises
    ------
    InputDataError
        If the source has no labels, or the file is not there, is of another kind, or has labels of other images alone.
    """
    if labels == FOLDERS:
        return _from_folders(table)
    if labels is not None:
        return _from_people(_existing(labels), table, workspace.manifest.source_root)
    source = workspace.metadata("samples", SourceFacts).source
    root = workspace.manifest.source_root
    if source == "digits":
        return _named(table, *_digits())
    if source.startswith(SYNTHETIC_PREFIX):
        return _named(table, *synthetic_classes(source))
    if source in DATASETS:
        place = None if root is None else Path(root)
        if DATASETS[source].class_folders:
            return TrueLabels(*class_folder_labels(source, table, place))
        return _named(table, *_torchvision(source, place))
    raise InputDataError(f"the source '{source}' has no true labels of its own. {_GIVE_LABELS}")


def annotated_labels(workspace: Workspace, table: SampleTable) -> TrueLabels:
    """Return what people have annotated; of the test split, which nobody annotates, what the data set itself says.

    Parameters
    ----------
    workspace : Workspace
        With annotations.
    table : SampleTable
        The samples.

    Returns
    -------
    TrueLabels
        Classes in sorted order of their names, or in that of the data set, where it has a test split and all of them.
    """
    kept = kept_annotations(workspace)
    names = kept.names
    values = np.full(len(table), -1, np.int64)
    rows, classes = kept.rows(table)
    values[rows] = classes
    given = Labels(values, names)
    tests = table.rows(Split.TEST)
    source = workspace.metadata("samples", SourceFacts).source
    if len(tests) and (source in DATASETS or source.startswith(SYNTHETIC_PREFIX)):
        truth = true_labels(workspace, table, None)
        if set(names) <= set(truth.names):
            index = np.array([truth.names.index(name) for name in names])
            values = np.where(values >= 0, index[values], -1)
            values[tests] = truth.values[tests]
            names = truth.names
    return TrueLabels(values, names, given)


def _named(table: SampleTable, ids: list[str], values: NDArray[np.int64], names: tuple[str, ...]) -> TrueLabels:
    """Bring labels by id into the workspace's row order, which may hold a part of them only."""
    known = dict(zip(ids, values.tolist(), strict=True))
    rows = table.ids(np.arange(len(table)))
    return TrueLabels(np.array([known.get(name, -1) for name in rows], dtype=np.int64), names)


def _digits() -> tuple[list[str], NDArray[np.int64], tuple[str, ...]]:
    from elfs.data.sources import open_source

    listing = open_source("digits", None).list()
    values = digits_columns([NUM_PIXELS])[digits_order(), 0].astype(np.int64)
    return listing.ids(np.arange(len(listing))), values, tuple("0123456789")


def _torchvision(name: str, root: Path | None) -> tuple[list[str], NDArray[np.int64], tuple[str, ...]]:
    ids, values = [], []
    for split in Split:
        dataset = open_torchvision(name, root, split, download=False)
        targets = dataset.targets if hasattr(dataset, "targets") else dataset.labels
        ids += [f"{name}/{split.name.lower()}/{index:05d}" for index in range(len(dataset))]
        values.append(np.asarray(targets, dtype=np.int64))
    joined = coarse_labels(root) if name == "cifar20" else np.concatenate(values)
    return ids, joined, tuple(str(label) for label in range(int(joined.max()) + 1))


def _from_folders(table: SampleTable) -> TrueLabels:
    folders = [name.rpartition("/")[0].rpartition("/")[2] for name in table.ids(np.arange(len(table)))]
    names = sorted(set(folders))
    if len(names) < 2:
        raise InputDataError("--labels folders: all images lie in one folder, so their folders tell nothing.")
    index = {name: number for number, name in enumerate(names)}
    return TrueLabels(np.array([index[name] for name in folders], dtype=np.int64), tuple(names))


def _from_people(path: Path, table: SampleTable, root: str | None) -> TrueLabels:
    given = match_answers(read_answers(path), table, root=root, said=str(path))
    return TrueLabels(given.values, given.names, given)
