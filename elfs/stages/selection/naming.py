"""Under which name a list of images is kept: no list takes the name of another."""

from collections.abc import Sequence

from elfs.config import SelectConfig
from elfs.errors import UsageError
from elfs.pipeline.graph import is_automatic, record_name, series
from elfs.pipeline.job import Job
from elfs.pipeline.selections import read_images

__all__ = ["settle_name"]


def settle_name(job: Job, config: SelectConfig, ids: Sequence[str]) -> tuple[str, bool]:
    """Return the name of a selection.

    Parameters
    ----------
    job : Job
        Workspace, and whether a list that has the name may be replaced.
    config : SelectConfig
        The name that was chosen, or what the automatic one is made of.
    ids : sequence of str
        The selected images, best first.

    Returns
    -------
    name : str
        The one that was chosen; else the automatic one, with ``-2``, ``-3`` and so on where others hold other lists.
    is_there : bool
        Whether it holds this list already, and nothing is to be written.

    Raises
    ------
    UsageError
        If the name that was chosen holds another list, and ``--force`` was not given.
    CorruptArtifactError
        If a list that has one of the names cannot be read.
    """
    wanted = record_name("select", config)
    records = job.workspace.manifest.records
    if not is_automatic(config):
        name = wanted.partition("/")[2]
        if job.force or wanted not in records:
            return name, False
        if not _holds(job, name, ids):
            headline = records[wanted].summary.get("headline", "")
            raise UsageError(
                f"selection '{name}' holds another list ({headline}), and keeps it. Give this one another --name, or "
                "--force to replace it."
            )
        return name, True
    *taken, free = (record.partition("/")[2] for record in series(wanted, records))
    for name in taken:
        if _holds(job, name, ids):
            return name, not job.force
    if taken:
        default = ", the default from now on" if config.name is None else ""
        job.runtime.note(f"selection '{taken[-1]}' holds another list, and keeps it: this one is '{free}'{default}.")
    return free, False


def _holds(job: Job, name: str, ids: Sequence[str]) -> bool:
    return [image.id for image in read_images(job.workspace, name)] == list(ids)
