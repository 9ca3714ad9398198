"""``elfs embed --shard i/n`` and ``--merge``: parts of a pool made by commands that know nothing of each other.

A shard is written as pieces into the draft of the config, without the writer's lock; a merge checks and publishes them.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import elfs
from elfs.config import EmbedConfig, as_json, from_json
from elfs.errors import CorruptArtifactError, InputDataError, MissingUpstreamError, UsageError
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import recorded_root, run_call
from elfs.pipeline.graph import STAGES
from elfs.pipeline.job import Job, Outcome, Result, StageCall, StageCode
from elfs.pipeline.recorded_config import draft_key, portable
from elfs.stages.embedding.encoder import noted_encoder
from elfs.stages.embedding.listing import Listing, prepare, read_listing, write_listing
from elfs.stages.embedding.pool import Embedded, finish, row_encoder
from elfs.stages.embedding.rows import check_broken, embedding_pieces, noted, publish_pieces
from elfs.stages.embedding.touched import note_times
from elfs.workspace.commands import command_line
from elfs.workspace.draft import REQUEST_NAME, open_draft
from elfs.workspace.files import atomic_write, json_bytes
from elfs.workspace.manifest import PARTIAL_NAME
from elfs.workspace.pieces import Pieces, Run
from elfs.workspace.workspace import Workspace

__all__ = ["ShardReport", "make_shard", "merge", "shard_run"]

_RECORD = "embed"
_SHOWN = 4


@dataclass(frozen=True)
class ShardReport:
    """What is there after a shard was made.

    Attributes
    ----------
    start, stop : int
        First row and last row + 1 of the shard.
    num_made : int
        Rows that this call has made; the others of the shard were there.
    num_left_out : int
        Images of the shard that cannot be used.
    num_finished, num_rows : int
        Rows of the pool that are there, and all.
    is_published : bool
        Whether the whole pool has been merged before, so that there was nothing to do.
    next_command : str
        What to type next.
    """

    start: int
    stop: int
    num_made: int
    num_left_out: int
    num_finished: int
    num_rows: int
    is_published: bool
    next_command: str


@dataclass(frozen=True)
class _Request:
    """What the shards in a draft are parts of."""

    directory: Path
    config: EmbedConfig
    inputs: dict[str, str]
    source_root: Path | None
    smoke: bool
    num_shards: int
    version: str

    @classmethod
    def read(cls, path: Path) -> "_Request":
        noted = json.loads(path.read_bytes())
        config, root = from_json(EmbedConfig, noted.pop("config")), noted.pop("source_root")
        return cls(path.parent, config=config, source_root=None if root is None else Path(root), **noted)

    def write(self) -> None:
        facts = dataclasses.asdict(self) | {"config": as_json(self.config)}
        del facts["directory"]
        facts["source_root"] = None if self.source_root is None else str(self.source_root)
        with atomic_write(self.directory / REQUEST_NAME) as file:
            file.write(json_bytes(facts))

    def command(self, path: Path, ending: str) -> str:
        root = None if self.source_root is None else str(self.source_root)
        return f"{command_line('embed', self.config, path, root)} {ending}"

    def unfinished(self, pieces: Pieces, num_rows: int) -> list[int]:
        """Return the numbers of the shards that lack rows, from 1."""
        runs = [(number, shard_run(number, self.num_shards, num_rows)) for number in range(1, self.num_shards + 1)]
        missing = pieces.missing(num_rows)
        return [number for number, run in runs if any(_overlap(run, other) for other in missing)]


def shard_run(number: int, count: int, num_rows: int) -> Run:
    """Return the rows of a shard.

    Parameters
    ----------
    number, count : int
        Which, from 1, and how many there are.
    num_rows : int
        Rows of the pool.

    Returns
    -------
    tuple of (int, int)
        First row and last row + 1; equal where there are more shards than rows.
    """
    return num_rows * (number - 1) // count, num_rows * number // count


def make_shard(
    path: Path,
    config: EmbedConfig,
    runtime: Runtime,
    shard: tuple[int, int],
    source_root: Path | None = None,
    *,
    force: bool = False,
    smoke: bool = False,
) -> ShardReport:
    """Make the rows of one shard, unless they are there, in one process; any number of shards can run at once.

    Parameters
    ----------
    path : Path
        The workspace; made where there is none.
    config : EmbedConfig
        What to embed and how; the same for all shards.
    runtime : Runtime
        Device, workers, progress.
    shard : tuple of (int, int)
        Which, from 1, and how many there are.
    source_root : Path or None
        Folder of the images; None keeps the recorded one.
    force : bool
        Make it even if the workspace holds the merged pool.
    smoke : bool
        Record that these are smoke settings.

    Returns
    -------
    ShardReport
        What is there now.

    Raises
    ------
    UsageError
        If there are embeddings of one's own: nothing is to be made then.
    InputDataError
        If too many images of the shard are broken, or this host would make other embeddings than those of the other
        shards.
    """
    if config.embeddings is not None:
        raise UsageError("--shard makes embeddings, --embeddings brings them: leave one of the two out.")
    runtime.device()
    source_root = source_root or recorded_root(path, config)
    prepared = prepare(config, source_root)
    workspace, run = Workspace.create(path), shard_run(*shard, len(prepared.table))
    if not force and _is_published(workspace, config, prepared.inputs):
        num_left_out = int(np.count_nonzero(workspace.arrays("samples")["outcome"][slice(*run)]))
        num_rows = len(prepared.table)
        return ShardReport(*run, 0, num_left_out, num_rows, num_rows, True, command_line("cluster", None, path))
    draft = open_draft(workspace, _RECORD, draft_key(config, prepared.inputs), tidy=False)
    request = _Request(draft.directory, config, prepared.inputs, source_root, smoke, shard[1], elfs.__version__)
    request.write()
    job = Job(workspace, draft, runtime, source_root, prepared, frozenset(), force)
    return _make(job, request, run)


def _make(job: Job, request: _Request, run: Run) -> ShardReport:
    prepared, config = job.prepared, request.config
    assert isinstance(prepared, Listing)
    table = prepared.table
    rows, pool = row_encoder(job, config)
    if pool.difference:
        raise InputDataError(
            f"the other shards are made in another way: {pool.difference}. All need the same kind of device and "
            "the same versions; to begin anew with those of this host, remove the others.",
            hint=f"rm -r {job.draft.directory}",
        )
    (runs,) = rows.plan(run, 1)
    rows.encode(runs, lambda failures: check_broken(table, failures, config.max_broken, run))
    usable = table.usable()
    failures, _ = noted(rows.pieces, len(table))
    if run[0] < run[1]:
        check_broken(table, failures, config.max_broken, run)
    usable[list(failures)] = False
    num_missing = sum(stop - start for start, stop in rows.pieces.missing(len(table)))
    unfinished = request.unfinished(rows.pieces, len(table))
    ending = f"--shard {unfinished[0]}/{request.num_shards}" if unfinished else "--merge"
    path = job.workspace.path
    return ShardReport(
        *run,
        num_made=sum(stop - start for start, stop in runs),
        num_left_out=int(np.count_nonzero(~usable[slice(*run)])),
        num_finished=len(table) - num_missing,
        num_rows=len(table),
        is_published=False,
        next_command=request.command(path, ending) if unfinished else f"{_plain(path)} --merge",
    )


def merge(
    path: Path, runtime: Runtime, wanted: Mapping[str, Any] | None = None, source_root: Path | None = None
) -> Outcome:
    """Publish a pool whose shards have all been made; all ranks call this.

    Parameters
    ----------
    path : Path
        The workspace.
    runtime : Runtime
        Device and ranks, for the neighbours.
    wanted : mapping of str to Any, optional
        Fields of the config, to choose among several pools that wait.
    source_root : Path or None
        Folder of the images, where it has moved since.

    Returns
    -------
    Outcome
        What was made: the same as of an embed in one go.

    Raises
    ------
    MissingUpstreamError
        If no shard waits, or rows are missing.
    UsageError
        If several pools wait, or none of those that are wanted.
    InputDataError
        If the source has changed since, or the shards were made by another version.
    CorruptArtifactError
        If a piece is not what was written; it is removed, so that its shard can be made again.
    """
    request = _waiting(path, wanted or {})
    if request.version != elfs.__version__:
        raise InputDataError(
            f"the shards in {request.directory} were made by elfs {request.version}, this is {elfs.__version__}."
        )
    key = draft_key(request.config, request.inputs)
    merging = StageCode(functools.partial(_merge, request), prepare, write_listing, read_listing, note=note_times)
    call = StageCall(STAGES["embed"], _RECORD, (), force=True, smoke=request.smoke, code=merging, draft_key=key)
    return run_call(call, path, request.config, runtime, source_root or request.source_root)


def _merge(request: _Request, job: Job, config: EmbedConfig) -> Result:
    prepared = job.prepared
    assert isinstance(prepared, Listing)
    num_rows, note = len(prepared.table), noted_encoder(job.draft.directory)
    pieces = embedding_pieces(job.draft.directory, "" if note is None else note["key"])
    found = Embedded("", None, None, {}, np.zeros(num_rows, np.uint8))
    if job.runtime.ranks.is_first:
        if prepared.inputs != request.inputs:
            raise InputDataError(
                "the images, or the files that were named, have changed since the shards were made: make them again.",
                hint=request.command(job.workspace.path, f"--shard 1/{request.num_shards}"),
            )
        _require_complete(request, job.workspace.path, pieces, num_rows)
        assert note is not None
        failures, remarks = noted(pieces, num_rows)
        publish_pieces(job.draft, pieces, num_rows)
        found = Embedded(note["name"], note["image_side"], note["key"], failures, remarks, tuple(note["widths"]))
    return finish(job, config, found)


def _require_complete(request: _Request, path: Path, pieces: Pieces, num_rows: int) -> None:
    """Check every piece, and that no row is missing."""
    damaged = pieces.drop_damaged()
    missing = pieces.missing(num_rows)
    if not missing:
        return
    numbers = request.unfinished(pieces, num_rows)
    hint = " && ".join(request.command(path, f"--shard {number}/{request.num_shards}") for number in numbers[:_SHOWN])
    rows = _listed([f"{start:,} to {stop - 1:,}" for start, stop in missing])
    text = f"rows {rows} of {num_rows:,} are missing: shards {_listed(numbers)} of {request.num_shards}."
    if damaged:
        names = _listed([piece.name for piece in damaged])
        raise CorruptArtifactError(
            f"{names} in {pieces.directory} were damaged and have been removed; {text}", hint=hint
        )
    raise MissingUpstreamError(text, hint=hint)


def _waiting(path: Path, wanted: Mapping[str, Any]) -> _Request:
    """Return the only pool that waits to be merged, among those that are wanted."""
    Workspace.open(path)
    found = [_Request.read(name) for name in sorted((path / PARTIAL_NAME / _RECORD).glob(f"*/{REQUEST_NAME}"))]
    if not found:
        raise MissingUpstreamError(f"no shard waits in {path}.", hint=f"{_plain(path, 'SOURCE')} --shard 1/8")
    chosen = [item for item in found if all(as_json(item.config)[name] == value for name, value in wanted.items())]
    if len(chosen) == 1:
        return chosen[0]
    each = "; ".join(f"{item.command(path, f'--shard i/{item.num_shards}')} in {item.directory}" for item in found)
    if chosen:
        raise UsageError(
            f"shards of {len(chosen)} pools wait: {each}. Name SOURCE and the options that differ, or remove a folder."
        )
    raise UsageError(f"no shards with these options wait, but those of {each}.")


def _is_published(workspace: Workspace, config: EmbedConfig, inputs: dict[str, str]) -> bool:
    record = workspace.manifest.records.get(_RECORD)
    return record is not None and record.config == as_json(portable(config)) and record.inputs == inputs


def _plain(path: Path, source: str = "") -> str:
    """Return the command without options."""
    words = command_line("embed", None, path).split(" ")
    words[words.index("SOURCE")] = source
    return " ".join(word for word in words if word)


def _overlap(one: Run, other: Run) -> bool:
    return max(one[0], other[0]) < min(one[1], other[1])


def _listed(items: Sequence[Any]) -> str:
    shown = ", ".join(str(item) for item in items[:_SHOWN])
    return shown if len(items) <= _SHOWN else f"{shown} and {len(items) - _SHOWN:,} more"
