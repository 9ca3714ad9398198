"""How the ranks run a stage together: the first invites, the others follow it into its draft."""

import platform
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from elfs.config import StageConfig
from elfs.errors import CorruptArtifactError, DeviceError, RankLostError
from elfs.parallel.ranks import Ranks
from elfs.parallel.runtime import Runtime
from elfs.pipeline.job import Job, Prepared, StageCall, code_of
from elfs.workspace.draft import Draft
from elfs.workspace.files import atomic_write
from elfs.workspace.workspace import Workspace

__all__ = ["follow", "invite", "require_same_call", "withdraw"]

_TOKEN_NAME = "ranks"
_PATIENCE_S = 30.0
"""For how long a network file system may take to show a rank what another one has written, in seconds."""


def require_same_call(ranks: Ranks, call: list[Any]) -> None:
    """Refuse ranks that were told different things.

    Parameters
    ----------
    ranks : Ranks
        All of them call this.
    call : list
        Record, config as a dict and switches of the stage that this rank is about to run, as plain JSON values.

    Raises
    ------
    DeviceError
        If they differ; the message names what does.
    """
    calls = ranks.collect([platform.node(), call])
    host, first = calls[0]
    for rank, (other_host, other) in enumerate(calls):
        if other != first:
            here, there = first, other
            for one, two in zip(first, other, strict=True):
                if isinstance(one, dict) and isinstance(two, dict) and one != two:
                    different = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
                    here, there = ({name: said.get(name) for name in different} for said in (one, two))
                    break
            with suppress(RankLostError):
                ranks.wait()  # until all have heard what differs: the first one keeps what is said
            raise DeviceError(
                f"the ranks were given different options: rank 0 ({host}) {here}, rank {rank} ({other_host}) {there}. "
                "All ranks run the same command."
            )


def invite(job: Job) -> None:
    """Tell the other ranks where the first one writes, and make sure that they see it.

    Parameters
    ----------
    job : Job
        What the first rank is about to run.

    Raises
    ------
    DeviceError
        If a rank does not see the workspace.
    """
    token = uuid.uuid4().hex
    with atomic_write(job.draft.directory / _TOKEN_NAME) as file:
        file.write(token.encode())
    job.runtime.ranks.broadcast(
        {
            "token": token,
            "draft": job.draft.directory.relative_to(job.workspace.path).as_posix(),
            "source_root": None if job.source_root is None else str(job.source_root),
            "inputs": sorted(job.inputs),
        }
    )
    _require_sight(job.runtime.ranks, job.workspace.path, seen=True)


def withdraw(job: Job) -> None:
    """Take back what `invite` wrote.

    Parameters
    ----------
    job : Job
        What the first rank ran.
    """
    (job.draft.directory / _TOKEN_NAME).unlink(missing_ok=True)


def follow(call: StageCall, path: Path, config: StageConfig, runtime: Runtime) -> None:
    """Run a stage as one of the ranks that do not write the workspace.

    Parameters
    ----------
    call : StageCall
        What to run.
    path : Path
        The workspace.
    config : StageConfig
        The stage's config.
    runtime : Runtime
        Devices, workers, ranks.

    Raises
    ------
    DeviceError
        If a rank does not see the workspace.
    RankLostError
        If the first rank has given up.
    """
    order = runtime.ranks.broadcast()
    if order is None:  # everything is fresh
        return
    directory = path / order["draft"]
    _require_sight(runtime.ranks, path, seen=_sees(directory / _TOKEN_NAME, order["token"]))
    try:
        _run(call, path, config, runtime, order)
    except (CorruptArtifactError, OSError) as error:  # of what this rank reads the first one may have withdrawn
        if _reads(directory / _TOKEN_NAME, order["token"]):
            raise
        raise RankLostError("rank 0 has given up, and so has this one.") from error
    runtime.ranks.wait()


def _run(call: StageCall, path: Path, config: StageConfig, runtime: Runtime, order: dict[str, Any]) -> None:
    code, directory = code_of(call), path / order["draft"]
    workspace = Workspace.open(path)
    root = None if order["source_root"] is None else Path(order["source_root"])
    prepared: Prepared = code.join(config, root, directory)
    draft = Draft(workspace, call.record, directory)
    job = Job(workspace, draft, runtime, root, prepared, frozenset(order["inputs"]), call.force)
    code.run(job, config)


def _reads(path: Path, token: str) -> bool:
    try:
        return path.read_text() == token
    except OSError:
        return False


def _sees(path: Path, token: str) -> bool:
    """Return whether a file says what the first rank wrote, after some patience."""
    deadline = time.monotonic() + _PATIENCE_S
    while not _reads(path, token):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _require_sight(ranks: Ranks, path: Path, *, seen: bool) -> None:
    blind = [
        f"rank {rank} ({host})" for rank, (host, sees) in enumerate(ranks.collect([platform.node(), seen])) if not sees
    ]
    if blind:
        raise DeviceError(
            f"{', '.join(blind)} cannot see the workspace {path} that rank 0 writes: it has to lie on a file system "
            "that all hosts share, under the same path."
        )
