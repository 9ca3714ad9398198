"""What SOURCE means: a data set by name, a folder of images, embeddings of one's own, or what was recorded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from elfs.catalog import DATASETS, suggestion
from elfs.cli._invocation import Invocation
from elfs.cli._options import DIRECTORY, words
from elfs.config import EmbedConfig
from elfs.errors import UsageError

__all__ = ["RootOption", "Source", "SourceArgument", "choose_source", "embed_config"]

SourceArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        autocompletion=words(tuple(DATASETS)),
        help="A data set by name, or a folder of images. Left out: the one that was embedded last.",
    ),
]
RootOption = Annotated[
    Path | None, typer.Option("--root", metavar=DIRECTORY, help="Where the folder of images is now, if it has moved.")
]

FOLDER, EMBEDDINGS = "folder", "embeddings"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the images come from.

    Attributes
    ----------
    name : str
        A key of ``DATASETS``, ``folder`` or ``embeddings``.
    root : Path or None
        Absolute folder of the images; None keeps the recorded one.
    """

    name: str
    root: Path | None = None


def choose_source(source: str | None, *, embeddings: bool, recorded: str | None, root: Path | None) -> Source:
    """Work out what SOURCE and ``--root`` mean.

    Parameters
    ----------
    source : str or None
        What was typed; None if nothing was.
    embeddings : bool
        Whether embeddings of one's own were given.
    recorded : str or None
        Name of the source that was embedded last.
    root : Path or None
        What was typed after ``--root``.

    Returns
    -------
    Source
        Its name, and its folder where there is one.

    Raises
    ------
    UsageError
        If there is no such data set or folder, or nothing was typed and nothing is recorded.
    """
    if root is not None and not root.is_dir():
        raise UsageError(f"--root is {str(root)!r}: there is no such folder.")
    remapped = None if root is None else root.absolute()
    if source is None:
        name = EMBEDDINGS if embeddings else recorded
        if name is None:
            raise UsageError(
                f"no SOURCE: expected a folder of images, a data set ({', '.join(DATASETS)}) or --embeddings FILE.",
                hint="elfs embed digits",
            )
        return Source(name, remapped)
    if source in DATASETS:
        return Source(source, remapped)
    folder = Path(source)
    if folder.is_dir():
        return Source(FOLDER, remapped or folder.absolute())
    if folder.exists():
        raise UsageError(
            f"SOURCE is the file {source!r}, expected a folder of images; for embeddings use --embeddings."
        )
    raise UsageError(
        f"no such folder: {source!r}, and no data set of this name.{suggestion(source, DATASETS)} "
        f"Data sets: {', '.join(DATASETS)}."
    )


def embed_config(
    invocation: Invocation,
    source: str | None,
    root: Path | None,
    *,
    base: EmbedConfig | None,
    recorded: EmbedConfig | None,
) -> tuple[EmbedConfig, Path | None]:
    """Return the config of embed and the folder of its images.

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
    embeddings = invocation.flags["embed"].get("embeddings") is not None
    name = None if recorded is None else recorded.source
    chosen = choose_source(source, embeddings=embeddings, recorded=name, root=root)
    told = base if base is not None and base.source == chosen.name else None
    config = invocation.config("embed", base=told, source=chosen.name)
    assert isinstance(config, EmbedConfig)
    folder = chosen.root
    if folder is None and chosen.name in DATASETS and config.data_root is not None:
        folder = Path(config.data_root).absolute()
    return config, folder
