"""``elfs embed``."""

import dataclasses
import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._ranks import own_place
from elfs.cli._source import RootOption, SourceArgument, embed_config, require_same_source
from elfs.cli._stage import run_stage, show_end
from elfs.cli._text import clock, plural, stage_row
from elfs.config import EmbedConfig, StageConfig
from elfs.data.source_choice import choose_source
from elfs.errors import UsageError

__all__ = ["EXAMPLES", "body"]

EXAMPLES = (
    "elfs embed digits",
    "elfs embed ./photos --encoder vit_base_patch16_224.dino --devices 0,1",
    "elfs embed --list-encoders 'dino*'",
)

ListOption = Annotated[
    bool,
    typer.Option("--list-encoders", metavar="", help="List the encoders whose names match SOURCE, and do nothing."),
]
ShardOption = Annotated[
    str | None,
    typer.Option("--shard", metavar="I/N", help="Make the I-th of N parts alone, from 1/N to N/N, for --merge."),
]
MergeOption = Annotated[
    bool, typer.Option("--merge", metavar="", help="Join the parts that --shard has made; options are remembered.")
]


@command("embed")
def body(
    invocation: Invocation,
    source: SourceArgument = None,
    root: RootOption = None,
    shard: ShardOption = None,
    merge: MergeOption = False,
    list_encoders: ListOption = False,
) -> None:
    """Turn images into embeddings and find the nearest neighbours of each."""
    if list_encoders:
        _list(invocation, source)
        return
    part = None if shard is None else _parse_shard(shard)
    if merge:
        if part is not None:
            raise UsageError("--shard makes one part, --merge joins all: one after the other.")
        _merge(invocation, source, root)
        return
    from elfs.pipeline.other_source import other_source
    from elfs.pipeline.status import recorded_config

    found = recorded_config(invocation.workspace, "embed") if source is None else None
    recorded = found if isinstance(found, EmbedConfig) else None
    base = recorded if root is not None else None  # a folder that has moved: nothing else is to change
    config, source_root = embed_config(invocation, source, root, base=base, recorded=recorded)
    sources = other_source(invocation.workspace, config, source_root, moved=root is not None)
    if invocation.dry_run and part is None:
        from elfs.cli._dry_run import show_plan

        show_plan(invocation, [("embed", config)], sources, source_root)
        return
    if not invocation.dry_run:
        require_same_source(invocation, sources)
    if part is None:
        run_stage(invocation, "embed", config, source_root)
    else:
        _make_shard(invocation, config, source_root, part)


def _parse_shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
    number, count = (0, 0) if match is None else (int(match[1]), int(match[2]))
    if not 1 <= number <= count:
        raise UsageError(f"--shard is {text!r}, expected I/N with I from 1 to N, such as 3/8.")
    return number, count


def _make_shard(invocation: Invocation, config: StageConfig, source_root: Path | None, shard: tuple[int, int]) -> None:
    """Make one part and say what is there."""
    if invocation.dry_run:
        raise UsageError("--shard has no --dry-run: without --shard it says what the whole would be.")
    if own_place() is not None:
        raise UsageError(
            "--shard is for processes that know nothing of each other, and torchrun or srun has started several that "
            "share the work anyway: leave --shard out. In a worker of Ray or Spark that they have started, unset "
            "WORLD_SIZE and SLURM_STEP_NUM_TASKS."
        )
    from elfs.stages.embedding.shards import make_shard

    assert isinstance(config, EmbedConfig)
    started, runtime = time.perf_counter(), invocation.runtime()
    if len(runtime.choice.names()) > 1:
        invocation.output.warn(
            f"--shard is made by one process, on {runtime.device()}, the first of --devices {invocation.devices}."
        )
    report = make_shard(
        invocation.workspace,
        config,
        runtime,
        shard,
        source_root,
        force=invocation.force,
        smoke=invocation.smoke,
    )
    output, (number, count) = invocation.output, shard
    num_rows = report.stop - report.start
    there = "published" if report.is_published else f"{report.num_finished:,} of {report.num_rows:,} there"
    left_out = f", {report.num_left_out:,} left out" if report.num_left_out else ""
    done = f"shard {number}/{count}, {plural(num_rows, 'row')}{left_out}   {there}"
    took = clock(time.perf_counter() - started) if report.num_made else "fresh"
    output.note(stage_row("embed", done, took, output.width))
    output.note(f"{'next':<10} {report.next_command}", style="cyan")
    facts = dataclasses.asdict(report) | {"number": number, "count": count}
    output.document("shard", {"workspace": str(invocation.workspace), "shard": facts})


def _merge(invocation: Invocation, source: str | None, root: Path | None) -> None:
    """Join the parts; SOURCE and options choose among several pools."""
    if invocation.dry_run:
        raise UsageError("--merge has no --dry-run: without all parts it changes nothing.")
    wanted: dict[str, Any] = dict(invocation.flags["embed"])
    if invocation.shared.get("seed") is not None:
        wanted["seed"] = invocation.seed
    if source is not None:
        chosen = choose_source(source, embeddings=False, recorded=None, root=root, files="files" in wanted)
        wanted["source"] = chosen.name
    from elfs.stages.embedding.shards import merge

    runtime = invocation.runtime(parallel=True)
    outcome = merge(invocation.workspace, runtime, wanted, None if root is None else root.absolute())
    output = invocation.output
    output.note(stage_row("embed", outcome.headline, clock(outcome.seconds), output.width))
    show_end(invocation, [outcome])


def _list(invocation: Invocation, pattern: str | None) -> None:
    from elfs.models.listing import list_encoders

    found = list_encoders(pattern)
    titles = ("name", "dimensions", "input", "licence", "source")
    rows = [
        (item.name, _number(item.dimensions), _number(item.input_size), item.licence, item.source or "-")
        for item in found
    ]
    invocation.output.table([titles, *rows], ["bold", *(None for _ in rows)])
    invocation.output.document("encoders", {"encoders": [dataclasses.asdict(item) for item in found]})


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
