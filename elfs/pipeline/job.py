"""One call of a stage: what is to run, what the stage is given and what it gives back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elfs.parallel.runtime import Runtime
from elfs.pipeline.graph import Stage
from elfs.workspace.draft import Draft
from elfs.workspace.workspace import Workspace

__all__ = ["Job", "Prepared", "Result", "Step"]


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
    """

    headline: str
    summary: dict[str, Any]
    metadata: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
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
    run : Callable or None
        What runs, from job and config to result; None for ``run`` of the stage's module.
    draft_key : str or None
        Digest under which the draft is kept. None: that of config, inputs and version, and a refusal throws the draft
        away. A step whose drafts hold parts that other configs and inputs can use gives one of its own.
    """

    stage: Stage
    record: str
    needs: tuple[str, ...]
    force: bool = False
    smoke: bool = False
    run: Callable[[Job, Any], Result] | None = None
    draft_key: str | None = None
