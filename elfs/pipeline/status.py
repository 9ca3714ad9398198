"""Where a workspace stands, by its manifest alone. Importing this costs neither torch nor numpy."""

from dataclasses import dataclass
from pathlib import Path

from elfs.catalog import STAGES as STAGE_NAMES
from elfs.config import StageConfig
from elfs.errors import MissingUpstreamError
from elfs.pipeline.graph import COMPARE_PREFIX, needed_artifacts
from elfs.workspace.commands import command_line, config_of, told_config
from elfs.workspace.freshness import changed_inputs, stale_reason
from elfs.workspace.manifest import Manifest, open_manifest

__all__ = ["StageState", "default_selection", "older_inputs", "recorded_config", "states"]


@dataclass(frozen=True)
class StageState:
    """Where one record of the workspace stands.

    Attributes
    ----------
    record, stage : str
        Name of the record and of its stage.
    state : {"fresh", "kept", "stale", "missing"}
        Whether it can be used; a selection is kept, and can, where what it was made from has changed since.
    reason : str or None
        Why it is stale, or what a kept one was made from.
    command : str
        What makes it, or makes it again.
    headline : str
        What it says about itself.
    smoke : bool
        Whether it comes from a smoke run.
    seconds : float or None
        How long it took.
    """

    record: str
    stage: str
    state: str
    reason: str | None
    command: str
    headline: str
    smoke: bool
    seconds: float | None = None


def recorded_config(path: Path, stage: str) -> StageConfig | None:
    """Return what a stage was told last; what ``--smoke`` set is no part of it.

    Parameters
    ----------
    path : Path
        The workspace.
    stage : str
        Name of the stage.

    Returns
    -------
    StageConfig or None
        None if the workspace or the record is not there. For select, the selection that was made last, test
        sets left out: who draws one asks for no second.
    """
    try:
        manifest = open_manifest(path)
    except MissingUpstreamError:
        return None
    records = manifest.records.items()
    names = [name for name, record in records if record.stage == stage and record.config.get("holdout") is None]
    if not names:
        return None
    latest = max(names, key=lambda name: str(manifest.runs.get(name, {}).get("started", "")))
    return told_config(manifest.records[latest])


def older_inputs(manifest: Manifest, selection: str) -> list[str]:
    """Return what a selection was made from and has changed since.

    Parameters
    ----------
    manifest : Manifest
        What its workspace holds.
    selection : str
        Name of a selection that is there.

    Returns
    -------
    list of str
        Artifacts that its method reads, sorted; what only fills the columns of its table does not count.
    """
    record = f"select/{selection}"
    needs = needed_artifacts("select", config_of(manifest.records[record]))
    return [name for name in changed_inputs(manifest, record) if name in needs]


def states(path: Path) -> list[StageState]:
    """Return where every stage, and every selection, stands.

    Parameters
    ----------
    path : Path
        The workspace.

    Returns
    -------
    list of StageState
        In running order; a stage that never ran is ``missing``.

    Raises
    ------
    MissingUpstreamError
        If there is no workspace.
    """
    manifest = open_manifest(path)
    found = []
    for stage in STAGE_NAMES:
        records = sorted(name for name, record in manifest.records.items() if record.stage == stage)
        if not records:
            found.append(StageState(stage, stage, "missing", None, command_line(stage, None, path), "", False))
        for name in records:
            record = manifest.records[name]
            state, reason = _standing(manifest, name)
            found.append(
                StageState(
                    record=name,
                    stage=stage,
                    state=state,
                    reason=reason,
                    command=command_line(stage, told_config(record), path, manifest.source_root),
                    headline=str(record.summary.get("headline", "")),
                    smoke=record.smoke,
                    seconds=_seconds(manifest, name),
                )
            )
    return found


def _standing(manifest: Manifest, record: str) -> tuple[str, str | None]:
    """Return the state of a record that is there, and the reason."""
    if manifest.records[record].stage == "select":
        older = older_inputs(manifest, record.partition("/")[2])
        return ("kept", f"made from older {', '.join(older)}") if older else ("fresh", None)
    reason = stale_reason(manifest, record)
    return ("fresh" if reason is None else "stale"), reason


def _seconds(manifest: Manifest, record: str) -> float | None:
    """Return how long a record took; None where the manifest does not say so."""
    seconds = manifest.runs.get(record, {}).get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else None


def default_selection(manifest: Manifest) -> str | None:
    """Return the selection that commands take where none is named.

    Parameters
    ----------
    manifest : Manifest
        What the workspace holds.

    Returns
    -------
    str or None
        The one that was made last, those of ``elfs compare`` and test sets after all others; None where there is none.
    """
    names = [name.partition("/")[2] for name, record in manifest.records.items() if record.stage == "select"]
    drawn = [name for name in names if manifest.records[f"select/{name}"].config.get("holdout") is None]
    names = [name for name in drawn if not name.startswith(COMPARE_PREFIX)] or drawn or names
    started = {name: str(manifest.runs.get(f"select/{name}", {}).get("started", "")) for name in names}
    return max(names, key=started.__getitem__, default=None)
