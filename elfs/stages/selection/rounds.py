"""Images that are annotated already or not wanted: what ``--include`` and ``--exclude`` name. Costs no torch."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from elfs.annotations.groups import expression
from elfs.annotations.kept import ARTIFACT, kept_annotations
from elfs.annotations.reading import is_document, read_answers
from elfs.config import SelectConfig
from elfs.data.addresses import find_images
from elfs.data.id_lists import read_ids
from elfs.data.samples import SampleTable
from elfs.data.table_names import table_name
from elfs.errors import InputDataError, UsageError
from elfs.pipeline.graph import named_parts, record_name
from elfs.pipeline.holdouts import holdouts, rows_of_selections, selections_but
from elfs.pipeline.job import Job
from elfs.pipeline.selections import selected_rows, some
from elfs.workspace.files import sha256_file
from elfs.workspace.workspace import Workspace

__all__ = ["Settled", "digests_outside", "list_digests", "refuse_circle", "settled_rows"]


def digests_outside(config: SelectConfig, path: Path, source_root: Path | None) -> dict[str, str]:
    """Return `list_digests`, wherever workspace and images are: the selection names its files."""
    return list_digests(config)


def list_digests(config: SelectConfig) -> dict[str, str]:
    """Return the digests of the files that a selection reads.

    Parameters
    ----------
    config : SelectConfig
        Names them.

    Returns
    -------
    dict of str to str
        ``external:include`` or ``external:exclude``, the place in the list and the file's name, to its digest; so for
        ``groups`` and ``metadata``.

    Raises
    ------
    InputDataError
        If there is no such file.
    UsageError
        If the groups are neither a file nor a regular expression.
    """
    digests = {}
    for option in ("include", "exclude"):
        for place, part in enumerate(named_parts(getattr(config, option))):
            if not _is_selection(part):
                if Path(part).is_dir():
                    raise InputDataError(
                        f"--{option} {part} is a folder; an earlier selection is written selections/{Path(part).name}."
                    )
                if not Path(part).is_file():
                    is_name = not Path(part).suffix[1:].isalpha()  # first or aum-0.1, not list.csv
                    advice = f"; an earlier selection is written selections/{Path(part).name}" if is_name else ""
                    raise InputDataError(f"--{option} {part}: there is no such file{advice}.")
                digests[f"external:{option}:{place}:{Path(part).name}"] = sha256_file(Path(part))
    for option in ("groups", "metadata"):
        if (named := table_name(getattr(config, option) or "")) is not None:
            if not named.path.is_file():
                raise InputDataError(f"--{option} {named.path}: there is no such file.")
            digests[f"external:{option}:{named.path.name}"] = sha256_file(named.path)
        elif option == "groups" and config.groups is not None:
            expression(config.groups)
    return digests


def refuse_circle(workspace: Workspace, config: SelectConfig) -> None:
    """Check that a selection does not build on itself.

    Parameters
    ----------
    workspace : Workspace
        Holds earlier selections.
    config : SelectConfig
        Its name, ``include`` and ``exclude``.

    Raises
    ------
    UsageError
        If it is one of those that it names, or of those that these build on.
    """
    own, seen = f"selections/{config.name}", set[str]()
    waiting = [part for part in named_parts(config.include) + named_parts(config.exclude) if _is_selection(part)]
    while waiting:
        artifact = waiting.pop()
        if artifact == own:
            raise UsageError(
                f"selection '{config.name}' would build on itself and lose its images. Give it another --name."
            )
        if artifact not in seen and workspace.has(artifact):
            seen.add(artifact)
            record = workspace.manifest.records[workspace.manifest.artifacts[artifact].record]
            waiting += [name for name in record.inputs if _is_selection(name)]


@dataclass(frozen=True, eq=False)
class Settled:
    """Images about which a selection has nothing to decide.

    Attributes
    ----------
    included : ndarray of shape (n_included,), int64
        Rows that it begins with, each once, in the order in which they are named.
    excluded : ndarray of shape (n_excluded,), int64
        Rows that must not come into it, each once; none of them is included.
    annotated : ndarray of shape (n_annotated,), int64
        Those of the excluded rows that people have named already, test sets left out, ascending.
    """

    included: NDArray[np.int64]
    excluded: NDArray[np.int64]
    annotated: NDArray[np.int64]


def settled_rows(job: Job, table: SampleTable, config: SelectConfig) -> Settled:
    """Return the rows that are in the selection from the start, and those that must not come into it.

    Images that are named and not in the pool any more are counted in a warning, and block nothing.

    Parameters
    ----------
    job : Job
        Its workspace holds earlier selections.
    table : SampleTable
        The samples.
    config : SelectConfig
        ``include`` and ``exclude``.

    Returns
    -------
    Settled
        What ``--include`` and ``--exclude`` name, test sets, and what people have annotated.

    Raises
    ------
    InputDataError
        If a file names no image of the pool.
    UsageError
        If an image is both included and excluded.
    """
    included, excluded = (_rows(job, table, option, getattr(config, option)) for option in ("include", "exclude"))
    held = _held_out(job, table, config)
    if len(both := np.intersect1d(included, held)):
        job.runtime.warn(
            f"--include names {len(both):,} images of a test set, which stay out: {some(table.ids(both))}."
        )
        included = included[~np.isin(included, held)]
    if len(both := np.intersect1d(included, excluded)):
        raise UsageError(f"--include and --exclude both name {some(table.ids(both))}.")
    annotated = np.setdiff1d(_annotated(job, table), included)
    return Settled(included, np.union1d(np.union1d(excluded, held), annotated), np.setdiff1d(annotated, held))


def _annotated(job: Job, table: SampleTable) -> NDArray[np.int64]:
    """Return the rows that people have named: nobody is asked twice."""
    return kept_annotations(job.workspace).rows(table)[0] if ARTIFACT in job.inputs else np.zeros(0, np.int64)


def _held_out(job: Job, table: SampleTable, config: SelectConfig) -> NDArray[np.int64]:
    """Return rows that other selections keep from this one: test sets; a test set itself takes no selected image."""
    has_no_name = config.name is None and (config.include or config.exclude)  # of a plan: nothing will be selected
    own = "" if has_no_name else record_name("select", config).partition("/")[2]
    if config.holdout is None:
        return rows_of_selections(job.workspace, table, holdouts(job.workspace, but=own))
    taken = rows_of_selections(job.workspace, table, selections_but(job.workspace, own))
    if len(taken):
        job.runtime.warn(
            f"{len(taken):,} images are in selections already and are not drawn: the test set is a random sample of "
            "the others. Drawn before the first selection it is one of the whole pool."
        )
    return taken


def _is_selection(part: str) -> bool:
    return part.startswith("selections/")


def _rows(job: Job, table: SampleTable, option: str, text: str | None) -> NDArray[np.int64]:
    found: list[int] = []
    for part in named_parts(text):
        if _is_selection(part):
            rows, said = selected_rows(job.workspace, table, part.partition("/")[2])
            tell = job.runtime.note
        else:
            rows, said = _listed_rows(job, table, option, part)
            tell = job.runtime.warn
        if said is not None:
            tell(said)
        found += rows.tolist()
    return np.array(list(dict.fromkeys(found)), dtype=np.int64)


def _listed_rows(job: Job, table: SampleTable, option: str, file: str) -> tuple[NDArray[np.int64], str | None]:
    """Return the rows that a file names, and how many others it names; all of them means that it is the wrong file."""
    ids = _named_images(Path(file), labelled=option == "include")
    root = None if job.source_root is None else str(job.source_root)
    rows = find_images(table, ids, root).rows
    known = np.flatnonzero(rows >= 0)
    rows[known[~table.eligible()[rows[known]]]] = -1
    gone = [ids[place] for place in np.flatnonzero(rows < 0).tolist()]
    if not gone:
        return rows, None
    if len(gone) == len(ids):
        if not len(known):
            table.rows_of(ids)  # refuses unknown ones, and says what ids look like
        if option == "include":
            raise InputDataError(f"--include {file} names images that are broken or in the test split: {some(ids)}.")
    said = f"--{option} {file}: {len(gone):,} of {len(ids):,} images are not in the pool: {some(gone)}."
    return rows[rows >= 0], said


def _named_images(path: Path, *, labelled: bool) -> list[str]:
    """Return the images that a file names: a list or table of ids, or what an annotation tool exports."""
    if is_document(path):
        with contextlib.suppress(InputDataError):  # a list of ids may begin like a document
            found = [answer.image for answer in read_answers(path) if answer.classes or not labelled]
            return list(dict.fromkeys(found))
    return read_ids(path)
