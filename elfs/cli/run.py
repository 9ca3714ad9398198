"""``elfs run``."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elfs.catalog import STAGES
from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._source import RootOption, SourceArgument, embed_config, require_same_source
from elfs.cli._stage import call_stage, show_end, show_known
from elfs.cli._text import plural
from elfs.cli._words import words
from elfs.config import EmbedConfig, SelectConfig, StageConfig
from elfs.data.table_names import table_name
from elfs.errors import UsageError
from elfs.suggestions import choose

if TYPE_CHECKING:
    from elfs.parallel.runtime import Runtime
    from elfs.pipeline.job import Outcome

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs run digits --budget 0.1 --key aum", "elfs run --from cluster --clusters 20")

FromOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="STAGE",
        autocompletion=words(STAGES),
        help=f"Leave the stages before this one as they are: {', '.join(STAGES)}.",
    ),
]


@command("select", *STAGES[:-1])
def body(
    invocation: Invocation,
    source: SourceArgument = None,
    root: RootOption = None,
    first: FromOption = None,
) -> None:
    """Run all six stages, those that are fresh already excepted."""
    stages = STAGES[STAGES.index(choose("stage", first, STAGES)) :] if first is not None else STAGES
    if "embed" not in stages and (source is not None or root is not None):
        raise UsageError(f"SOURCE and --root belong to embed, which --from {first} leaves as it is.")
    _warn_of_ignored(invocation, stages)
    configs, source_root = _configs(invocation, stages, source, root)
    embed, select = configs.get("embed"), configs["select"]
    assert isinstance(select, SelectConfig)
    sources = None
    from elfs.stages.selection.before import refuse_before_run, refuse_network_without_images

    told = embed if isinstance(embed, EmbedConfig) else None
    refuse_before_run(invocation.workspace, told, source_root, select, download=not invocation.dry_run)
    refuse_network_without_images(invocation.workspace, configs)
    if isinstance(embed, EmbedConfig):
        from elfs.pipeline.other_source import other_source

        sources = other_source(invocation.workspace, embed, source_root, moved=root is not None)
    if invocation.dry_run:
        from elfs.cli._dry_run import show_plan

        show_plan(invocation, list(configs.items()), sources, source_root)
        return
    if isinstance(embed, EmbedConfig):
        require_same_source(invocation, sources)
    outcomes = _known(invocation, configs, source_root)
    runtime = invocation.runtime(parallel=True) if len(outcomes) < len(configs) else None
    invocation.output.note(_header(invocation, runtime))
    for outcome in outcomes:
        show_known(invocation, outcome, configs[outcome.stage])
    if runtime is not None:
        for stage, config in list(configs.items())[len(outcomes) :]:
            own = _as_one_of_six(invocation, runtime, stage)
            outcomes.append(call_stage(invocation, own, stage, config, source_root))
    show_end(invocation, outcomes)


def _known(invocation: Invocation, configs: Mapping[str, StageConfig], source_root: Path | None) -> list["Outcome"]:
    """Return what the first stages have made already, found without torch, up to the first that would run."""
    from elfs.pipeline.known import known

    found: list[Outcome] = []
    if invocation.is_plain and not invocation.force:
        for stage, config in configs.items():
            outcome = known(stage, invocation.workspace, config, source_root)
            if outcome is None:
                break
            found.append(outcome)
    return found


def _as_one_of_six(invocation: Invocation, runtime: "Runtime", stage: str) -> "Runtime":
    """Return a runtime that says which of the six stages it shows, and names options as ``elfs run`` does."""
    from elfs.cli._progress import Numbered

    def warn(text: str) -> None:
        runtime.warn(invocation.as_written(stage, text))

    place = f"stage {STAGES.index(stage) + 1} of {len(STAGES)}"
    return dataclasses.replace(runtime, progress=Numbered(runtime.progress, place), warn=warn)


def _header(invocation: Invocation, runtime: "Runtime | None") -> str:
    """Return the line above the table: where, on what, with which seed; None where nothing is computed."""
    from elfs.parallel.cpus import available_cpus

    if runtime is None:
        return f"workspace {invocation.workspace}   seed {invocation.seed or 0}"
    device, ranks = str(runtime.device()), runtime.ranks.size
    place = f"{device}, {plural(available_cpus(), 'CPU')}" if device == "cpu" else device
    if ranks > 1:
        place += f", {ranks} processes"
    return f"workspace {invocation.workspace}   device {place}   seed {invocation.seed or 0}"


def _warn_of_ignored(invocation: Invocation, stages: tuple[str, ...]) -> None:
    """Warn of options that belong to a stage which does not run."""
    for stage, flags in invocation.flags.items():
        if stage not in stages and flags:
            ignored = ", ".join(invocation.spellings[stage][name] for name in flags)
            invocation.output.warn(f"{ignored}: without effect, {stage} stays as it is.")


def _without_lost_table(config: StageConfig | None) -> StageConfig | None:
    """Return a config without the table of groups where the file is not here: the workspace keeps what it said."""
    named = table_name(config.groups or "") if isinstance(config, SelectConfig) else None
    if isinstance(config, SelectConfig) and named is not None and not named.path.is_file():
        return dataclasses.replace(config, groups=None)
    return config


def _configs(
    invocation: Invocation, stages: tuple[str, ...], source: str | None, root: Path | None
) -> tuple[dict[str, StageConfig], Path | None]:
    """Return the config of every stage and the folder of the images.

    Without SOURCE, a stage that ran before keeps what it was told then.
    """
    from elfs.pipeline.status import recorded_config

    configs: dict[str, StageConfig] = {}
    source_root = None
    for stage in stages:
        base = _without_lost_table(recorded_config(invocation.workspace, stage)) if source is None else None
        if stage == "embed":
            told = base if isinstance(base, EmbedConfig) else None
            configs[stage], source_root = embed_config(invocation, source, root, base=told, recorded=told)
        else:
            configs[stage] = invocation.config(stage, base=base)
    return configs, source_root
