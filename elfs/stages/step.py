"""One call of a stage, as those who run it are told."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from elfs.stages.graph import Stage
from elfs.stages.job import Job, Result

__all__ = ["Step"]


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
