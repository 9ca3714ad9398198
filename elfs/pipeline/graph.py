"""The table of stages: what each reads, what it makes, where its code is. Importing this costs no torch."""

import itertools
import os
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace

from elfs.catalog import SELECTORS
from elfs.catalog import STAGES as STAGE_NAMES
from elfs.config import SelectConfig, StageConfig
from elfs.errors import UsageError

__all__ = [
    "COMPARE_PREFIX",
    "STAGES",
    "Stage",
    "ancestors",
    "default_selection_name",
    "is_automatic",
    "makers",
    "named_parts",
    "needed_artifacts",
    "record_name",
    "series",
    "stage_of",
]

_MAX_NAME_BYTES = 200
"""Of a selection: its folder and that of its draft have names a little longer, and systems allow 255."""

_UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what it reads, what it writes, where its code is.

    Attributes
    ----------
    name : str
        The command's name.
    needs : tuple of str
        Artifacts that it reads; a select needs those that its method reads, and uses these where they are there.
    makes : tuple of str
        Artifacts that it writes; a select makes ``selections/<name>``.
    module : str
        Module with the constant ``CODE``, a `elfs.pipeline.job.StageCode`.
    parallel : bool
        Whether all ranks run it; otherwise the first does and the others wait.
    optional : mapping of str to tuple of str
        Artifacts that decide what it makes where they are there, each with what it reads then besides.
    beside_annotations : tuple of str
        Artifacts that decide what it makes where they and annotations are there.
    uses : tuple of str
        Artifacts that it looks at where they are there and fresh, to say something about what it makes.
    outside : str
        Module whose ``digests_outside`` takes config, workspace and folder of the images and returns the digests of
        what the stage reads outside the workspace, None where only its code can tell. Costs no torch. Empty: nothing.
    """

    name: str
    needs: tuple[str, ...]
    makes: tuple[str, ...]
    module: str
    parallel: bool = False
    optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outside: str = ""
    beside_annotations: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


COMPARE_PREFIX = "compare-"
"""Begins the names of the selections that ``elfs compare`` makes."""

_POOL = ("samples", "embeddings", "neighbors")

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("embed", (), _POOL, "elfs.stages.embed", parallel=True, outside="elfs.stages.embedding.touched"),
        Stage("cluster", _POOL, ("heads", "clusters"), "elfs.stages.cluster", parallel=True),
        Stage(
            "label",
            ("samples", "embeddings", "heads"),
            ("pseudo_labels",),
            "elfs.stages.label",
            parallel=True,
            optional={"annotations": ("neighbors",)},
            beside_annotations=("groups",),
        ),
        Stage(
            "dynamics",
            ("samples", "embeddings", "pseudo_labels"),
            ("dynamics", "proxy"),
            "elfs.stages.dynamics",
            parallel=True,
        ),
        Stage(
            "score",
            ("samples", "embeddings", "neighbors", "pseudo_labels", "dynamics"),
            ("scores",),
            "elfs.stages.score",
        ),
        Stage(
            "select",
            ("samples", "neighbors", "pseudo_labels", "scores"),
            ("selections",),
            "elfs.stages.select",
            uses=("agreement",),
            optional={"annotations": (), "groups": ()},
            beside_annotations=("groups",),
            outside="elfs.stages.selection.rounds",
        ),
    )
}
"""The six stages in the order in which they run."""


def named_parts(text: str | None) -> list[str]:
    """Return what ``--include`` or ``--exclude`` names.

    Parameters
    ----------
    text : str or None
        Files and ``selections/<name>``, separated by commas; None for nothing.

    Returns
    -------
    list of str
        Each by itself.
    """
    return [part.strip() for part in (text or "").split(",") if part.strip()]


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
    if not isinstance(config, SelectConfig):
        return STAGES[stage].needs
    method = SELECTORS[config.method]
    needs = ["samples", *(artifact for artifact in method.reads if artifact != "annotations")]  # optional for all
    if "annotations" in method.reads:
        needs.append("embeddings")
    if "proxy" in method.reads:
        needs += ["embeddings", "pseudo_labels"]
    if "scores" in method.reads and "pseudo_labels" in method.reads:
        needs.append("neighbors")  # they tell how far both are to be believed
    if config.balances_pseudo_labels:
        needs.append("pseudo_labels")
    if config.dedup != "off":
        needs.append("embeddings")
    if config.dedup == "near":
        needs.append("neighbors")
    if method.prunes and config.hard_rate is None:
        needs.append("embeddings")
    if method.prunes and config.hard_rate == "search":
        needs += ["embeddings", "pseudo_labels", "proxy"]
    named = named_parts(config.include) + named_parts(config.exclude)
    needs += [part for part in named if part.startswith("selections/")]
    return tuple(dict.fromkeys(needs))


def stage_of(stage: str, config: StageConfig | None) -> Stage:
    """Return a stage without what it would use and what means nothing under a config.

    Parameters
    ----------
    stage : str
        Name of the stage.
    config : StageConfig or None
        Its config.

    Returns
    -------
    Stage
        Of the table. A selection that names groups reads none that were named before; others read them where groups
        decide what is selected, or there are annotations.
    """
    known = STAGES[stage]
    if isinstance(config, SelectConfig) and (config.groups is not None or not config.is_limited):
        optional = {name: more for name, more in known.optional.items() if name != "groups"}
        return replace(known, optional=optional, beside_annotations=("groups",) * (config.groups is None))
    return known


def default_selection_name(config: SelectConfig) -> str:
    """Return the name of a selection that was given none.

    Parameters
    ----------
    config : SelectConfig
        What is selected and how.

    Returns
    -------
    str
        ``aum-0.1`` for the default method, ``random-0.1`` or ``elfs-aum-0.1`` for others; what differs from the
        defaults is part of the name.

    Raises
    ------
    UsageError
        If the selection builds on others: its name cannot be guessed.
    """
    if config.include or config.exclude:
        raise UsageError("--include and --exclude need --name: a round stands beside the ones before it.")
    if config.holdout is not None:
        return f"holdout-{config.budget.replace('%', 'pct')}" + (f"-seed{config.seed}" if config.seed else "")
    method = SELECTORS[config.method]
    short = config.method == SelectConfig().method and config.key not in SELECTORS  # no method has the key's name
    keyed = config.key if short else f"{config.method}-{config.key}"
    parts = [keyed if method.keyed else config.method, config.budget.replace("%", "pct")]
    if config.hard_rate is not None and method.prunes:
        parts.append(f"hard{config.hard_rate}")
    if config.balance != "none":
        balanced = {"cluster": None, "class": "class"}.get(config.balance, config.column)
        parts.append("balanced" if balanced is None else f"balanced-{_UNSAFE.sub('-', balanced)}")
    if config.per_group is not None:
        parts.append(f"group{config.per_group}")
    if config.by_group:
        parts.append("by-group")
    if config.dedup != "exact":
        parts.append(f"dedup-{config.dedup}")
    if config.blocks > 1:
        parts.append(f"blocks{config.blocks}")
    if config.seed:
        parts.append(f"seed{config.seed}")
    return "-".join(parts)


def is_automatic(config: SelectConfig) -> bool:
    """Return whether a selection may take the next free name where another list has its own.

    Parameters
    ----------
    config : SelectConfig
        What is selected and how.

    Returns
    -------
    bool
        False where a person chose the name; those of ``elfs compare`` count as not chosen.
    """
    return config.name is None or config.name.startswith(COMPARE_PREFIX)


def series(record: str, records: Container[str]) -> list[str]:
    """Return what has taken an automatic name, and the first free one after it.

    Parameters
    ----------
    record : str
        Such as ``select/aum-0.1``.
    records : container of str
        What there is.

    Returns
    -------
    list of str
        ``select/aum-0.1``, ``select/aum-0.1-2`` and so on; all are there but the last.
    """
    names = itertools.chain([record], (f"{record}-{number}" for number in itertools.count(2)))
    found = []
    for name in names:
        found.append(name)
        if name not in records:
            break
    return found


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
    if (length := len(os.fsencode(name))) > _MAX_NAME_BYTES:
        raise UsageError(f"--name has {length:,} bytes, expected a plain folder name of at most {_MAX_NAME_BYTES}.")
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
        In running order, without `stage` itself; earlier selections that it builds on do not count.
    """
    needs = needed_artifacts(stage, config)
    return makers(artifact for artifact in needs if not artifact.startswith("selections/"))


def makers(artifacts: Iterable[str]) -> list[str]:
    """Return every stage that is needed to make some artifacts from nothing.

    Parameters
    ----------
    artifacts : iterable of str
        Artifact names; what people bring, as annotations, no stage makes.

    Returns
    -------
    list of str
        Their makers and all that these build on, in running order.
    """
    maker_of = {artifact: stage.name for stage in STAGES.values() for artifact in stage.makes}
    found: set[str] = set()
    open_needs = list(artifacts)
    while open_needs:
        maker = maker_of.get(open_needs.pop().partition("/")[0])
        if maker is not None and maker not in found:
            found.add(maker)
            open_needs += STAGES[maker].needs
    return [name for name in STAGE_NAMES if name in found]
