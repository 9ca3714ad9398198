"""Groups and columns that a selection goes by: read, kept for those that come later, and put into words."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.annotations.groups import Groups, keep_groups, kept_groups, read_groups
from elfs.annotations.image_tables import ImageTable, read_image_table
from elfs.annotations.spellings import alike
from elfs.config import SelectConfig
from elfs.data.samples import SampleTable
from elfs.data.table_names import table_name
from elfs.errors import UsageError
from elfs.ops.selection import Pool
from elfs.pipeline.annotated import require_class_names
from elfs.pipeline.facts import ColumnFacts, GroupFacts
from elfs.pipeline.job import Job
from elfs.pipeline.selections import some
from elfs.stages.selection.candidates import Candidates

__all__ = ["Grouping", "gather_grouping", "refuse_no_pick", "takes_whole_groups", "warn_of_few"]

_NAMED = 3
_MOST_VALUES = 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Grouping:
    """What a selection knows of groups, and of the column that it balances.

    Attributes
    ----------
    groups : Groups or None
        None where there are none.
    is_new : bool
        Whether they were named with this selection.
    column : ndarray of shape (n_rows,), int64, or None
        Number of each row's value in the column; the last one stands for images without a value.
    values : tuple of str
        The values.
    """

    groups: Groups | None = None
    is_new: bool = False
    column: NDArray[np.int64] | None = None
    values: tuple[str, ...] = ()

    def into(self, found: Candidates, config: SelectConfig) -> Candidates:
        """Return the candidates with their groups and the column.

        Parameters
        ----------
        found : Candidates
            Without.
        config : SelectConfig
            Whether a test set is drawn: a group that has a settled row does not come into it.

        Returns
        -------
        Candidates
            As they were where there is nothing to know.

        Raises
        ------
        UsageError
            If every group has a settled row, so that no test set can be drawn.
        """
        fields: dict[str, Tensor] = {}
        if self.groups is not None:
            group_M = fields["groups"] = torch.from_numpy(self.groups.of_rows(found.rows))
            if config.holdout is not None:
                held_G = torch.bincount(group_M[found.pool.held()], minlength=int(group_M.max()) + 1)
                barred_M = fields["barred"] = held_G[group_M] > 0
                if bool((barred_M | found.pool.held()).all()):
                    raise UsageError(
                        f"every one of {len(group_M.unique()):,} groups has an image that is in a selection or "
                        "annotated already, and a test set splits no group. Draw it before the first selection."
                    )
        if self.column is not None:
            fields["column"] = torch.from_numpy(self.column[found.rows])
        return dataclasses.replace(found, pool=dataclasses.replace(found.pool, **fields)) if fields else found  # type: ignore[arg-type]

    def names(self, rows: NDArray[np.int64]) -> list[str] | None:
        """Return the name of each row's group, empty for none; None where there are no groups."""
        if self.groups is None:
            return None
        return [self.groups.names[number] if number >= 0 else "" for number in self.groups.number[rows].tolist()]

    def keep(self, job: Job, table: SampleTable) -> None:
        """Write the groups into the workspace where they are new, so that nobody has to name them again."""
        if self.groups is None or not self.is_new:
            return
        if not self.groups.same_as(kept_groups(job.workspace, table)):
            keep_groups(job.workspace, table, self.groups)

    def of_groups(self, config: SelectConfig, found: Candidates, rows: NDArray[np.int64]) -> GroupFacts | None:
        """Return what there is to say of the groups of the selected rows, where there are any."""
        if self.groups is None:
            return None
        number, of_rows = self.groups.number[found.rows], self.groups.of_rows(rows)
        return GroupFacts(
            said_by=self.groups.said_by,
            groups=len(np.unique(number[number >= 0])),
            alone=int((number < 0).sum()),
            picked=len(np.unique(of_rows)),
            most=int(np.unique(of_rows, return_counts=True)[1].max()),
            per_group=config.per_group,
            whole=takes_whole_groups(config, found.pool),
        )

    def of_column(self, config: SelectConfig, rows: NDArray[np.int64]) -> ColumnFacts | None:
        """Return how many of the selected rows have each value of the column, where one is balanced."""
        if self.column is None:
            return None
        counts = np.bincount(self.column[rows], minlength=len(self.values))
        return ColumnFacts(str(config.column), dict(zip(self.values, counts.tolist(), strict=True)))


def takes_whole_groups(config: SelectConfig, pool: Pool) -> bool:
    """Return whether all of a group is taken or nothing of it, as in a test set where groups are known."""
    return config.by_group or (config.holdout is not None and pool.groups is not None)


def gather_grouping(job: Job, config: SelectConfig, table: SampleTable) -> Grouping:
    """Read the groups and the column of a selection.

    Parameters
    ----------
    job : Job
        Its workspace keeps the groups that were named before.
    config : SelectConfig
        ``groups``, ``metadata``, ``balance`` and the limits.
    table : SampleTable
        The samples.

    Returns
    -------
    Grouping
        Empty where nothing is asked for.

    Raises
    ------
    InputDataError
        If a file is not there or no table of images.
    UsageError
        If groups are asked for and not known; a column is not there, is empty, or has too many values; or classes are
        to be balanced and no pseudo-label was learned as one.
    """
    require_class_names(config, job.workspace)
    root = None if job.source_root is None else str(job.source_root)
    column, values = (None, ()) if config.column is None else _column(job, config, table, root)
    groups = None
    if config.groups is not None:
        groups = read_groups(config.groups, table, root)
        _warn_of_groups(job, table, groups)
    elif "groups" in job.inputs and config.is_limited:
        groups = kept_groups(job.workspace, table)
    elif config.per_group is not None or config.by_group:
        option = "--by-group" if config.by_group else f"--per-group {config.per_group}"
        raise UsageError(
            f"{option} needs to know the group of each image, and no selection of this workspace has named groups. "
            "Give --groups FILE.csv, or a regular expression such as --groups '^[^/]+' for the folder of each image."
        )
    return Grouping(groups, config.groups is not None, column, values)


def _warn_of_groups(job: Job, table: SampleTable, groups: Groups) -> None:
    """Say which images are of no group, which are unknown, and what looks like a mistake."""
    eligible = table.eligible()
    alone = np.flatnonzero(eligible & (groups.number < 0))
    if len(alone):
        job.runtime.warn(
            f"{len(alone):,} of {int(eligible.sum()):,} images are of no group by {groups.said_by} "
            f"({some(table.ids(alone[:_NAMED]))}): each counts as a group of its own."
        )
    if groups.unknown:
        shown = some(groups.unknown)
        job.runtime.warn(f"{len(groups.unknown):,} images of {groups.said_by} are not in the workspace: {shown}.")
    if len(groups.names) == 1:
        job.runtime.warn(f"{groups.said_by} puts all images into one group, {groups.names[0]!r}.")
    for names in alike(groups.names)[:_NAMED]:
        listed = ", ".join(map(ascii, names))
        job.runtime.warn(f"groups differ by case, blanks or Unicode form alone, and count as different: {listed}.")


def _column(
    job: Job, config: SelectConfig, table: SampleTable, root: str | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return the number of each row's value in the column that is balanced, and the values."""
    found = _metadata(config, table, root)
    name = found.column(str(config.column))
    number, values = found.values(name)
    eligible = table.eligible()
    missing = np.flatnonzero(eligible & (number < 0))
    if len(missing) == int(eligible.sum()):
        raise UsageError(f"{found.path}: the column {name} is empty for every image that can be selected.")
    if len(values) > _MOST_VALUES:
        raise UsageError(
            f"{found.path}: the column {name} has {len(values):,} values, expected at most {_MOST_VALUES:,}, which "
            "images share, such as weather or camera."
        )
    if len(missing):
        job.runtime.warn(
            f"{len(missing):,} of {int(eligible.sum()):,} images have no {name} in {found.path.name} "
            f"({some(table.ids(missing[:_NAMED]))}): together they get as many images as a value."
        )
        number, values = np.where(number < 0, len(values), number), (*values, "")
    return number, values


def _metadata(config: SelectConfig, table: SampleTable, root: str | None) -> ImageTable:
    if config.metadata is not None:
        return read_image_table(Path(config.metadata), table, root=root, option="--metadata")
    named = table_name(config.groups or "")
    if named is None:
        raise UsageError(f"--balance {config.balance} needs a table with that column: --metadata FILE.csv.")
    return read_image_table(named.path, table, root=root, option="--groups")


def refuse_no_pick(config: SelectConfig, pool: Pool, picked: Tensor, count: int) -> None:
    """Refuse that groups leave no image to select.

    Parameters
    ----------
    config : SelectConfig
        The limits.
    pool : Pool
        With groups, where any are known.
    picked : Tensor of shape (n_picked,), int64
        Positions in it.
    count : int
        How many were asked for.

    Raises
    ------
    UsageError
        If nothing is picked; the message names the least that would do.
    """
    if len(picked) or pool.groups is None:
        return
    if config.per_group is not None:
        raise UsageError(
            f"--per-group {config.per_group}: every group has as many that are included, excluded or annotated, "
            "so no image is left to select. Give a higher one."
        )
    sizes = Counter(pool.groups[pool.candidates()].tolist())
    option, least = "--budget" if config.holdout is None else "--holdout", min(sizes.values(), default=0)
    raise UsageError(
        f"{option} pays for {count:,} images, and the smallest of {len(sizes):,} groups has {least:,}: no whole "
        f"group fits. Give at least {least:,}."
    )


def warn_of_few(job: Job, config: SelectConfig, pool: Pool, num_picked: int, count: int) -> None:
    """Say that a limit on groups leaves fewer images than the budget pays for.

    Parameters
    ----------
    job : Job
        Warns.
    config : SelectConfig
        The limits.
    pool : Pool
        With groups, where any are known.
    num_picked : int
        How many were picked.
    count : int
        How many were asked for.
    """
    if pool.groups is not None and config.per_group is not None and num_picked < count:
        num_groups = len(pool.groups.unique())
        job.runtime.warn(
            f"{num_picked:,} images are selected and not {count:,}: --per-group {config.per_group} leaves no more in "
            f"{num_groups:,} group{'s' * (num_groups != 1)}. A higher one does."
        )
