"""One call of a stage: what is to run, what the stage is given and what it gives back."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from elfs.config import StageConfig
from elfs.parallel.runtime import Runtime
from elfs.pipeline.graph import Stage, needed_artifacts, record_name, stage_of
from elfs.workspace.draft import Draft
from elfs.workspace.workspace import Workspace

__all__ = ["Job", "Outcome", "Prepared", "Result", "StageCode", "StageCall", "code_of"]

C = TypeVar("C", bound=StageConfig)


@dataclass(frozen=True)
class Prepared:
    """What a stage looked at outside the workspace, before it is known whether there is anything to do.

    Attributes
    ----------
    inputs : dict of str to str
        ``external:<what>`` to its digest; part of the record's inputs.
    """

    inputs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One run of one stage.

    Attributes
    ----------
    workspace : Workspace
        Where the upstream artifacts are read from.
    draft : Draft
        Where the new artifacts go; what is in it survives a kill and is found again by the next run.
    runtime : Runtime
        Devices, workers, progress.
    source_root : Path or None
        Folder of the images, where the source is one.
    prepared : Prepared
        What the stage's ``prepare`` returned, if it has one.
    inputs : frozenset of str
        Artifacts that this run may read: those that it needs, and those that it uses where they are there.
    force : bool
        Whether everything is to be made anew, whatever is there.
    """

    workspace: Workspace
    draft: Draft
    runtime: Runtime
    source_root: Path | None = None
    prepared: Prepared = field(default_factory=Prepared)
    inputs: frozenset[str] = frozenset()
    force: bool = False


@dataclass(frozen=True)
class Result:
    """What a stage says about what it made.

    Attributes
    ----------
    headline : str
        One line for people.
    summary : dict
        Plain JSON facts: every value that the stage worked out where an option said ``auto``, and its quality figures.
        The same inputs and config give the same summary, so no times.
    metadata : dict
        Artifact name to plain JSON facts that its reader needs (a score's direction).
    record : str or None
        Record that it belongs to; None for that of the call.
    is_there : bool
        Whether that record holds the same already, so that there is nothing to publish.
    """

    headline: str
    summary: dict[str, Any]
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)
    record: str | None = None
    is_there: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of one call of a stage.

    Attributes
    ----------
    stage, record : str
        The stage, and the name of its record in the manifest.
    ran : bool
        False where everything was there already.
    seconds : float
        Wall-clock time; 0 where nothing ran.
    summary : dict
        The record's summary.
    smoke : bool
        True where ``--smoke`` settings went into it or into anything it was made from.
    """

    stage: str
    record: str
    ran: bool
    seconds: float
    summary: dict[str, Any]
    smoke: bool

    @property
    def headline(self) -> str:
        """One line for people."""
        return str(self.summary.get("headline", ""))


def _prepare_nothing(config: StageConfig, source_root: Path | None) -> Prepared:
    """Look at nothing."""
    return Prepared()


def _hand_nothing_over(prepared: Prepared, directory: Path) -> None:
    """Write nothing."""


def _join_nothing(config: StageConfig, source_root: Path | None, directory: Path) -> Prepared:
    """Read nothing."""
    return Prepared()


def _always_current(prepared: Prepared, workspace: Workspace, runtime: Runtime) -> bool:
    """Look at nothing."""
    return True


def _note_nothing(prepared: Prepared, workspace: Workspace) -> None:
    """Write nothing."""


@dataclass(frozen=True)
class StageCode(Generic[C]):
    """What a stage's module offers, as its constant ``CODE``: the moments in which the pipeline calls it.

    Attributes
    ----------
    run : Callable
        From job and config to the result: makes the stage's artifacts in the job's draft. All ranks call it where the
        stage is parallel; the result of the first one counts. What it refuses, it refuses with an `ElfsError`.
    prepare : Callable
        From config and folder of the images to what lies outside the workspace. The first rank calls it before it is
        known whether there is anything to do.
    hand_over : Callable
        Takes what `prepare` returned and the draft's directory: writes down what the other ranks need of it.
    join : Callable
        From config, folder of the images and the draft's directory to what `prepare` returned on the first rank, on
        another one.
    is_current : Callable
        From what `prepare` returned, workspace and runtime to whether what lies outside is still what a fresh record
        was made from, as far as its inputs do not tell.
    note : Callable
        Takes what `prepare` returned and the workspace once the record is published: notes what `is_current` goes by.
    """

    run: Callable[[Job, C], Result]
    prepare: Callable[[C, Path | None], Prepared] = _prepare_nothing
    hand_over: Callable[[Any, Path], None] = _hand_nothing_over
    join: Callable[[C, Path | None, Path], Prepared] = _join_nothing
    is_current: Callable[[Any, Workspace, Runtime], bool] = _always_current
    note: Callable[[Any, Workspace], None] = _note_nothing


@dataclass(frozen=True)
class StageCall:
    """One call of a stage.

    Attributes
    ----------
    stage : Stage
        What runs.
    record : str
        Name of its record.
    needs : tuple of str
        Artifacts that must be there; the stage's other needs are read where they are there.
    force, smoke : bool
        Run even if fresh; mark as smoke.
    code : StageCode or None
        What runs; None for that of the stage's module.
    draft_key : str or None
        Digest under which the draft is kept. None: that of config, inputs and version, and a refusal throws the draft
        away. A call whose drafts hold parts that other configs and inputs can use gives one of its own.
    """

    stage: Stage
    record: str
    needs: tuple[str, ...]
    force: bool = False
    smoke: bool = False
    code: StageCode[Any] | None = None
    draft_key: str | None = None

    @classmethod
    def of(cls, stage: str, config: StageConfig, *, force: bool = False, smoke: bool = False) -> "StageCall":
        """Return the call of a stage of the table with a config."""
        return cls(stage_of(stage, config), record_name(stage, config), needed_artifacts(stage, config), force, smoke)


def code_of(call: StageCall) -> StageCode[Any]:
    """Return what a call runs; the stage's module is imported only now.

    Parameters
    ----------
    call : StageCall
        What is to run.

    Returns
    -------
    StageCode
        The call's own, or the ``CODE`` of the stage's module.
    """
    code: StageCode[Any] = call.code or importlib.import_module(call.stage.module).CODE
    return code
