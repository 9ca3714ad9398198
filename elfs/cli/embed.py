"""``elfs embed``."""

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._source import RootOption, SourceArgument, embed_config
from elfs.cli._stage import run_stage
from elfs.config import EmbedConfig

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs embed digits", "elfs embed ./photos --encoder vit_base_patch16_224.dino --devices 0")


@command("embed")
def body(invocation: Invocation, source: SourceArgument = None, root: RootOption = None) -> None:
    """Turn images into embeddings and find the nearest neighbours of each."""
    from elfs.stages.status import recorded_config

    found = recorded_config(invocation.workspace, "embed") if source is None else None
    recorded = found if isinstance(found, EmbedConfig) else None
    base = recorded if root is not None else None  # a folder that has moved: nothing else is to change
    config, source_root = embed_config(invocation, source, root, base=base, recorded=recorded)
    run_stage(invocation, "embed", config, source_root)
