"""The table of stages: what each reads, what it makes, where its code is. Importing this costs no torch."""

from collections.abc import Iterable
from dataclasses import dataclass

from elfs.catalog import STAGES as STAGE_NAMES
from elfs.config import SelectConfig, StageConfig
from elfs.errors import UsageError

__all__ = ["STAGES", "Stage", "ancestors", "default_selection_name", "makers", "needed_artifacts", "record_name"]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what it reads, what it writes, where its code is.

    Attributes
    ----------
    name : str
        The command's name.
    needs : tuple of str
        Artifacts that it reads.
    makes : tuple of str
        Artifacts that it writes; a select makes ``selections/<name>``.
    module : str
        Module with ``run(job, config) -> Result``.
    """

    name: str
    needs: tuple[str, ...]
    makes: tuple[str, ...]
    module: str


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("embed", (), ("samples", "embeddings", "neighbors"), "elfs.stages.embed"),
        Stage("cluster", ("samples", "embeddings", "neighbors"), ("heads", "clusters"), "elfs.stages.cluster"),
        Stage("label", ("samples", "embeddings", "heads"), ("pseudo_labels",), "elfs.stages.label"),
        Stage("dynamics", ("samples", "embeddings", "pseudo_labels"), ("dynamics",), "elfs.stages.dynamics"),
        Stage("score", ("dynamics",), ("scores",), "elfs.stages.score"),
        Stage("select", ("samples", "pseudo_labels", "scores"), ("selections",), "elfs.stages.select"),
    )
}
"""The six stages in the order in which they run."""

_SCORELESS_SELECTORS = frozenset({"random"})
"""Selectors that need the samples alone: they work before the stages that make the rest, and use it if there."""


def needed_artifacts(stage: str, config: StageConfig | None) -> tuple[str, ...]:
    """Return the artifacts that a stage reads under `config`.

    Parameters
    ----------
    stage : str
        Name of the stage.
    config : StageConfig or None
        Its config; None for the usual needs.

    Returns
    -------
    tuple of str
        Artifact names.
    """
    if isinstance(config, SelectConfig) and config.method in _SCORELESS_SELECTORS:
        return ("samples",)
    return STAGES[stage].needs


def default_selection_name(config: SelectConfig) -> str:
    """Return the name of a selection that was given none.

    Parameters
    ----------
    config : SelectConfig
        What is selected and how.

    Returns
    -------
    str
        ``aum-0.1`` for the paper's method, ``random-0.1`` for others; an explicit hard rate is part of the name.
    """
    by_key = config.key if config.method == "elfs" else f"{config.method}-{config.key}"
    parts = [config.method if config.method in _SCORELESS_SELECTORS else by_key, config.budget.replace("%", "pct")]
    if config.hard_rate is not None and config.method == "elfs":
        parts.append(f"hard{config.hard_rate:g}")
    if config.seed:
        parts.append(f"seed{config.seed}")
    return "-".join(parts)


def record_name(stage: str, config: StageConfig) -> str:
    """Return the name under which the manifest keeps a run.

    Parameters
    ----------
    stage : str
        Name of the stage.
    config : StageConfig
        Its config.

    Returns
    -------
    str
        The stage's name; for a selection ``select/<name>``.

    Raises
    ------
    UsageError
        If the selection's name is no plain folder name.
    """
    if not isinstance(config, SelectConfig):
        return stage
    name = config.name or default_selection_name(config)
    if name.startswith(".") or any(character in name for character in "/\\:") or not name.isprintable():
        raise UsageError(f"--name is {name!r}, expected a plain folder name without '/', '\\' or ':'.")
    return f"{stage}/{name}"


def ancestors(stage: str, config: StageConfig | None) -> list[str]:
    """Return every stage that a stage builds on.

    Parameters
    ----------
    stage : str
        Name of the stage.
    config : StageConfig or None
        Its config; None for the usual needs.

    Returns
    -------
    list of str
        In running order, without `stage` itself.
    """
    return makers(needed_artifacts(stage, config))


def makers(artifacts: Iterable[str]) -> list[str]:
    """Return every stage that is needed to make some artifacts from nothing.

    Parameters
    ----------
    artifacts : iterable of str
        Artifact names.

    Returns
    -------
    list of str
        Their makers and all that these build on, in running order.
    """
    maker_of = {artifact: stage.name for stage in STAGES.values() for artifact in stage.makes}
    found: set[str] = set()
    open_needs = list(artifacts)
    while open_needs:
        maker = maker_of[open_needs.pop().partition("/")[0]]
        if maker not in found:
            found.add(maker)
            open_needs += STAGES[maker].needs
    return [name for name in STAGE_NAMES if name in found]
