"""SOURCE and ``--root`` on the command line, and whether it may embed other images than the workspace holds."""

from pathlib import Path
from typing import Annotated

import typer

from elfs.cli._invocation import Invocation
from elfs.cli._ranks import own_place
from elfs.cli._words import DIRECTORY, words
from elfs.config import EmbedConfig
from elfs.data.source_choice import choose_source, folder_of
from elfs.errors import UsageError
from elfs.source_names import DATASETS

__all__ = ["RootOption", "SourceArgument", "embed_config", "require_same_source"]

SourceArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        autocompletion=words(DATASETS),
        help="A data set by name, a folder of images, tar:PATH, parquet:PATH, hf:NAME or synthetic:SPEC. Left out: the "
        "one that was embedded last.",
    ),
]
RootOption = Annotated[
    Path | None, typer.Option("--root", metavar=DIRECTORY, help="Where the images are now, if they have moved.")
]


def require_same_source(invocation: Invocation, sources: tuple[str, str] | None) -> None:
    """Ask before a workspace gets other images than it holds; where nobody can answer, it takes ``--force``.

    Parameters
    ----------
    invocation : Invocation
        The call of ``embed`` or ``run``.
    sources : tuple of (str, str) or None
        As `other_source` gives it.

    Raises
    ------
    UsageError
        If the images are others, and nobody agreed.
    """
    if sources is None or invocation.force or own_place() is not None:  # who starts several processes asks for all
        return
    from elfs.pipeline.other_source import refusal

    text = refusal(invocation.workspace, sources)
    if invocation.output.can_ask and typer.confirm(f"{text}. Embed it in their place?", err=True):
        return
    raise UsageError(
        f"{text}. Give another --workspace; or --force to embed it in their place, --root where the same images have "
        "moved."
    )


def embed_config(
    invocation: Invocation,
    source: str | None,
    root: Path | None,
    *,
    base: EmbedConfig | None,
    recorded: EmbedConfig | None,
) -> tuple[EmbedConfig, Path | None]:
    """Return the config of embed and the folder or file of its images.

    Parameters
    ----------
    invocation : Invocation
        The call of ``embed`` or ``run``.
    source : str or None
        What was typed as SOURCE.
    root : Path or None
        What was typed after ``--root``.
    base : EmbedConfig or None
        What applies where nothing else speaks, as long as it is about the same source.
    recorded : EmbedConfig or None
        What embed was told last; its source is the one where SOURCE is left out.

    Returns
    -------
    tuple of (EmbedConfig, Path or None)
        The config with its source; the folder, None for the recorded one.

    Raises
    ------
    UsageError
        If a value is out of its range or the source does not exist.
    """
    flags = invocation.flags["embed"]
    chosen = choose_source(
        source,
        embeddings=flags.get("embeddings") is not None,
        recorded=None if recorded is None else recorded.source,
        root=root,
        files=flags.get("files") is not None,
        command="run" if "select" in invocation.flags else "embed",
    )
    told = base if base is not None and base.source == chosen.name else None
    config = invocation.config("embed", base=told, source=chosen.name)
    assert isinstance(config, EmbedConfig)
    return config, folder_of(chosen, config.data_root)
