"""Run one stage: check what it builds on, skip what is there, publish what it makes."""

import dataclasses
import datetime
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elfs.config import EmbedConfig, StageConfig, as_json
from elfs.errors import CorruptArtifactError, DeviceError, ElfsError, MissingUpstreamError, StorageError
from elfs.parallel.runtime import Runtime
from elfs.pipeline.following import follow, invite, require_same_call, withdraw
from elfs.pipeline.job import Job, Outcome, Prepared, Result, StageCall, code_of
from elfs.pipeline.known import fresh_record, kept, resolved
from elfs.pipeline.noting import NotedProgress
from elfs.pipeline.recorded_config import draft_key, portable
from elfs.workspace.draft import Draft, open_draft
from elfs.workspace.lock import writer_lock
from elfs.workspace.manifest import MANIFEST_NAME
from elfs.workspace.progress import Doing, forget_progress
from elfs.workspace.workspace import Workspace

__all__ = ["execute", "recorded_root", "run_call", "writing"]


def execute(
    stage: str,
    path: Path,
    config: StageConfig,
    runtime: Runtime,
    *,
    force: bool = False,
    smoke: bool = False,
    source_root: Path | None = None,
) -> Outcome:
    """Run one of the six stages, unless what it would make is there already.

    Parameters
    ----------
    stage : str
        Name of the stage.
    path : Path
        The workspace; embed makes it where there is none.
    config : StageConfig
        The stage's config.
    runtime : Runtime
        Devices, workers, progress.
    force : bool
        Run even if everything is fresh.
    smoke : bool
        Record that these are smoke settings.
    source_root : Path or None
        Folder of the images; None keeps the recorded one.

    Returns
    -------
    Outcome
        What was made or found.

    Raises
    ------
    ElfsError
        Whatever the stage refuses; the workspace is then as it was.
    """
    call = StageCall.of(stage, config, force=force, smoke=smoke)
    return run_call(call, path, config, runtime, source_root)


def run_call(
    call: StageCall, path: Path, config: StageConfig, runtime: Runtime, source_root: Path | None = None
) -> Outcome:
    """Run a stage of the table, or one that is not in it, such as the training on a coreset.

    Parameters
    ----------
    call : StageCall
        What to run.
    path : Path
        The workspace.
    config : StageConfig
        The stage's config.
    runtime : Runtime
        Devices, workers, progress.
    source_root : Path or None
        Folder of the images; None keeps the recorded one.

    Returns
    -------
    Outcome
        What was made or found.

    Raises
    ------
    ElfsError
        Whatever the stage refuses; the workspace is then as it was.
    """
    runtime.device()  # one that is not here is refused before anything is read or made
    ranks = runtime.ranks
    if ranks.size > 1:
        require_same_call(ranks, [call.record, as_json(portable(config)), call.force, call.smoke])
    if ranks.is_first:
        outcome = _lead(call, path, config, runtime, source_root)
        ranks.broadcast(dataclasses.asdict(outcome))
        return outcome
    if call.stage.parallel:
        follow(call, path, config, runtime)
    return Outcome(**ranks.broadcast())


def _lead(call: StageCall, path: Path, config: StageConfig, runtime: Runtime, source_root: Path | None) -> Outcome:
    """Run a stage as the rank that writes the workspace; tell the others, if there are any, what there is to do."""
    if not call.stage.parallel:
        runtime = runtime.by_itself()
    source_root = source_root or recorded_root(path, config)
    prepared: Prepared = code_of(call).prepare(config, source_root)
    with writing(path, create=call.stage.name == "embed") as workspace:
        call, inputs = resolved(call, workspace, prepared.inputs)
        manifest, reads = workspace.manifest, [name for name in inputs if name not in prepared.inputs]
        stored = as_json(portable(config))
        known = None if call.force else fresh_record(workspace, call, stored, inputs)
        if known is not None and code_of(call).is_current(prepared, workspace, runtime):
            runtime.ranks.broadcast(None)
            if source_root is not None and manifest.source_root != str(source_root):
                workspace.set_source_root(str(source_root))
            return kept(workspace, call, known)
        workspace.check(reads)
        smoke = call.smoke or any(manifest.records[manifest.artifacts[name].record].smoke for name in reads)
        draft = open_draft(workspace, call.record, call.draft_key or draft_key(config, inputs))
        job = Job(workspace, draft, runtime, source_root, prepared, frozenset(reads), call.force)
        started, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
        result = _run(call, _noting(call, job, config), config)
        forget_progress(path)
        seconds = time.perf_counter() - clock
        record = result.record or call.record
        if result.is_there:
            draft.discard()
            return kept(workspace, call, record)
        _check_again(workspace, reads, draft, runtime)
        made = Outcome(call.stage.name, record, True, seconds, result.summary | {"headline": result.headline}, smoke)
        _publish(job, made, stored, inputs, result.metadata, started)
        code_of(call).note(prepared, workspace)
    return made


def _publish(
    job: Job,
    made: Outcome,
    config: dict[str, Any],
    inputs: dict[str, str],
    metadata: dict[str, dict[str, Any]],
    started: datetime.datetime,
) -> None:
    """Commit the draft of a job under the record that its stage named."""
    Draft(job.workspace, made.record, job.draft.directory).commit(
        made.record,
        stage=made.stage,
        config=config,
        inputs=inputs,
        seed=config.get("seed"),
        smoke=made.smoke,
        summary=made.summary,
        metadata=metadata,
        run=_run_facts(started, made.seconds, job.runtime),
        source_root=None if job.source_root is None else str(job.source_root),
    )


def _check_again(workspace: Workspace, reads: list[str], draft: Draft, runtime: Runtime) -> None:
    """Refuse what was made from files that somebody has changed meanwhile: it would be recorded under their digests."""
    try:
        workspace.check(reads)
    except CorruptArtifactError:
        _discard(draft, runtime)
        raise


def _discard(draft: Draft, runtime: Runtime) -> None:
    """Throw a draft away on the way out; what cannot be removed is told, and costs only space."""
    try:
        draft.discard()
    except StorageError as error:
        runtime.warn(error.message)


def recorded_root(path: Path, config: StageConfig) -> Path | None:
    """Return the folder that was recorded; embed looks at it only if it embeds the same kind of source again.

    Parameters
    ----------
    path : Path
        The workspace, which need not exist.
    config : StageConfig
        Of the stage that is to run.

    Returns
    -------
    Path or None
        None if there is none, or it does not count.
    """
    try:
        manifest = Workspace.open(path).manifest
    except MissingUpstreamError:
        return None
    if isinstance(config, EmbedConfig):
        record = manifest.records.get("embed")
        if record is None or record.config["source"] != config.source:
            return None
    return None if manifest.source_root is None else Path(manifest.source_root)


def _run_facts(started: datetime.datetime, seconds: float, runtime: Runtime) -> dict[str, Any]:
    """Return the wall-clock facts of a run, which stay outside every digest."""
    facts = {
        "started": started.isoformat(timespec="milliseconds"),
        "seconds": round(seconds, 3),
        "host": platform.node(),
        "device": str(runtime.device()),
    }
    return facts | ({"ranks": runtime.ranks.size} if runtime.ranks.size > 1 else {})


def _noting(call: StageCall, job: Job, config: StageConfig) -> Job:
    """Return the job with its progress noted in the workspace, too."""
    path, root = job.workspace.path, None if job.source_root is None else str(job.source_root)
    draft = str(job.draft.directory.relative_to(path))
    doing = Doing(call.record, call.stage.name, draft, as_json(config), call.force, source_root=root)
    progress = NotedProgress(job.runtime.progress, path, doing)
    return dataclasses.replace(job, runtime=dataclasses.replace(job.runtime, progress=progress))


def _run(call: StageCall, job: Job, config: StageConfig) -> Result:
    """Run a stage; a refusal throws its draft away unless told otherwise, a kill, a full disk or memory never does."""
    code, ranks = code_of(call), job.runtime.ranks
    has_begun = any(job.draft.directory.iterdir())
    try:
        if ranks.size > 1:
            code.hand_over(job.prepared, job.draft.directory)
            invite(job)
        has_begun = True
        result: Result = code.run(job, config)
        ranks.wait()  # until the others have written what is theirs
    except ElfsError as error:
        withdraw(job)
        is_empty = not any(job.draft.directory.iterdir())
        if isinstance(error, StorageError | DeviceError):
            useless = not has_begun or (is_empty and ranks.size > 1)
        else:
            useless = is_empty or (call.draft_key is None and not job.draft.is_shared)
        if useless:
            _discard(job.draft, job.runtime)
            forget_progress(job.workspace.path)
        raise
    return result


@contextmanager
def writing(path: Path, *, create: bool) -> Iterator[Workspace]:
    """Open a workspace for writing; one that was made for a stage that then failed is removed again."""
    directory_existed, existed = path.exists(), (path / MANIFEST_NAME).exists()
    workspace = Workspace.create(path) if create else Workspace.open(path)
    try:
        with writer_lock(path):
            workspace.reload()
            workspace.clean_leftovers()
            yield workspace
    finally:
        if not existed:
            workspace.remove_if_empty(keep_directory=directory_existed)
