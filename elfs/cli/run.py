"""``elfs run``."""

from pathlib import Path
from typing import Annotated

import typer

from elfs.catalog import STAGES, choose
from elfs.cli._invocation import Invocation
from elfs.cli._options import command, words
from elfs.cli._plan import show_plan
from elfs.cli._source import RootOption, SourceArgument, embed_config
from elfs.cli._stage import call_stage, show_end
from elfs.cli._text import plural
from elfs.config import EmbedConfig, StageConfig
from elfs.errors import UsageError

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
    invocation: Invocation, source: SourceArgument = None, root: RootOption = None, first: FromOption = None
) -> None:
    """Run all six stages, those that are fresh already excepted."""
    stages = STAGES[STAGES.index(choose("stage", first, STAGES)) :] if first is not None else STAGES
    if "embed" not in stages and (source is not None or root is not None):
        raise UsageError(f"SOURCE and --root belong to embed, which --from {first} leaves as it is.")
    _warn_of_ignored(invocation, stages)
    configs, source_root = _configs(invocation, stages, source, root)
    if invocation.dry_run:
        show_plan(invocation, list(configs.items()))
        return
    runtime = invocation.runtime()
    invocation.output.note(_header(invocation, str(runtime.device())))
    outcomes = [call_stage(invocation, runtime, stage, config, source_root) for stage, config in configs.items()]
    show_end(invocation, outcomes)


def _header(invocation: Invocation, device: str) -> str:
    """Return the line above the table: where, on what, with which seed."""
    from elfs.train.runtime import available_cpus

    place = f"{device}, {plural(available_cpus(), 'CPU')}" if device == "cpu" else device
    return f"workspace {invocation.workspace}   device {place}   seed {invocation.seed or 0}"


def _warn_of_ignored(invocation: Invocation, stages: tuple[str, ...]) -> None:
    """Warn of options that belong to a stage which does not run."""
    for stage, flags in invocation.flags.items():
        if stage not in stages and flags:
            ignored = ", ".join(invocation.spellings[stage][name] for name in flags)
            invocation.output.warn(f"{ignored}: without effect, {stage} stays as it is.")


def _configs(
    invocation: Invocation, stages: tuple[str, ...], source: str | None, root: Path | None
) -> tuple[dict[str, StageConfig], Path | None]:
    """Return the config of every stage and the folder of the images.

    Without SOURCE, a stage that ran before keeps what it was told then, unless that was a smoke run.
    """
    recorded = _recorded(invocation) if source is None else {}
    configs: dict[str, StageConfig] = {}
    source_root = None
    for stage in stages:
        base, is_smoke = recorded.get(stage, (None, False))
        usable = base if is_smoke == invocation.smoke else None
        if stage == "embed":
            name = base.source if isinstance(base, EmbedConfig) else None
            usable = usable if isinstance(usable, EmbedConfig) else None
            configs[stage], source_root = embed_config(invocation, source, root, base=usable, recorded=name)
        else:
            configs[stage] = invocation.config(stage, base=usable)
    return configs, source_root


def _recorded(invocation: Invocation) -> dict[str, tuple[StageConfig | None, bool]]:
    """Return the config that each stage ran with last, and whether that was a smoke run."""
    from elfs.errors import MissingUpstreamError
    from elfs.stages.status import recorded_config, states

    try:
        smoke = {state.stage: state.smoke for state in states(invocation.workspace)}
    except MissingUpstreamError:
        return {}
    return {stage: (recorded_config(invocation.workspace, stage), smoke.get(stage, False)) for stage in STAGES}
