"""``elfs embed``."""

import dataclasses
from typing import Annotated

import typer

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._source import RootOption, SourceArgument, embed_config
from elfs.cli._stage import run_stage
from elfs.config import EmbedConfig

__all__ = ["EXAMPLES", "body"]

EXAMPLES = (
    "elfs embed digits",
    "elfs embed ./photos --encoder vit_base_patch16_224.dino --devices 0",
    "elfs embed --list-encoders 'dino*'",
)

ListOption = Annotated[
    bool,
    typer.Option("--list-encoders", metavar="", help="List the encoders whose names match SOURCE, and do nothing."),
]


@command("embed")
def body(
    invocation: Invocation,
    source: SourceArgument = None,
    root: RootOption = None,
    list_encoders: ListOption = False,
) -> None:
    """Turn images into embeddings and find the nearest neighbours of each."""
    if list_encoders:
        _list(invocation, source)
        return
    from elfs.stages.status import recorded_config

    found = recorded_config(invocation.workspace, "embed") if source is None else None
    recorded = found if isinstance(found, EmbedConfig) else None
    base = recorded if root is not None else None  # a folder that has moved: nothing else is to change
    config, source_root = embed_config(invocation, source, root, base=base, recorded=recorded)
    run_stage(invocation, "embed", config, source_root)


def _list(invocation: Invocation, pattern: str | None) -> None:
    from elfs.models.listing import list_encoders

    found = list_encoders(pattern)
    titles = ("name", "dimensions", "input", "licence", "source")
    rows = [
        (item.name, _number(item.dimensions), _number(item.input_size), item.licence, item.source or "-")
        for item in found
    ]
    invocation.output.table([titles, *rows], ["bold", *(None for _ in rows)])
    invocation.output.document([dataclasses.asdict(item) for item in found])


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
