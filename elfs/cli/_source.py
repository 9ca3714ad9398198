"""What SOURCE means: a data set by name, a folder of images, shards, embeddings of one's own, or what was recorded."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from elfs.catalog import DATASETS, SOURCES, has_root, typed_source
from elfs.cli._invocation import Invocation
from elfs.cli._options import DIRECTORY, words
from elfs.cli._ranks import own_place
from elfs.config import EmbedConfig
from elfs.data.synthetic.spec import PREFIX, PRESETS, canonical_source
from elfs.errors import UsageError
from elfs.suggestions import suggestion

__all__ = [
    "RootOption",
    "SourceChoice",
    "SourceArgument",
    "choose_source",
    "embed_config",
    "other_source",
    "require_same_source",
]

SourceArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        autocompletion=words(tuple(DATASETS)),
        help="A data set by name, a folder of images, tar:PATH, parquet:PATH, hf:NAME or synthetic:SPEC. Left out: the "
        "one that was embedded last.",
    ),
]
RootOption = Annotated[
    Path | None, typer.Option("--root", metavar=DIRECTORY, help="Where the images are now, if they have moved.")
]

FOLDER, FILES, EMBEDDINGS = "folder", "files", "embeddings"

_SHARDS = {
    "tar": re.compile(r"\.(tar(\.\w+)?|tgz)$", re.IGNORECASE),
    "parquet": re.compile(r"\.parquet$", re.IGNORECASE),
}
_SAVED_BY_DATASETS = ("dataset_dict.json", "dataset_info.json")


@dataclass(frozen=True, slots=True)
class SourceChoice:
    """Where the images come from.

    Attributes
    ----------
    name : str
        As `elfs.data.sources.open_source` takes it.
    root : Path or None
        Absolute folder or file of the images; None keeps the recorded one.
    """

    name: str
    root: Path | None = None


def choose_source(
    source: str | None, *, embeddings: bool, recorded: str | None, root: Path | None, files: bool = False
) -> SourceChoice:
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
    files : bool, default False
        Whether a list of files was given.

    Returns
    -------
    SourceChoice
        Its name, and its folder or file where there is one.

    Raises
    ------
    UsageError
        If there is no such data set or folder, a spec cannot be read, or nothing was typed and nothing is recorded.
    """
    if root is not None and not root.exists():
        raise UsageError(f"--root is {str(root)!r}: there is no such folder.")
    remapped = None if root is None else root.absolute()
    if files:
        return _listed(source, remapped)
    if source is None:
        name = EMBEDDINGS if embeddings else recorded
        if name is None:
            raise UsageError(
                f"no SOURCE: expected a folder of images, a data set ({', '.join(DATASETS)}) or --embeddings FILE.",
                hint="elfs embed digits",
            )
        return SourceChoice(name, remapped)
    if source.startswith(PREFIX):
        return SourceChoice(canonical_source(source), remapped)
    if source in DATASETS:
        return SourceChoice(source, remapped)
    kind, colon, place = source.partition(":")
    if kind == "hf" and colon:
        return _hugging_face(place, remapped)
    if kind in _SHARDS and colon:
        if remapped is None and not Path(place).exists():
            raise UsageError(f"{source}: there is no such file or folder. Expected {SOURCES[kind]}.")
        return SourceChoice(kind, remapped or Path(place).absolute())
    path = Path(source)
    if path.is_dir():
        return SourceChoice(FOLDER, remapped or path.absolute())
    if path.exists():
        for kind, pattern in _SHARDS.items():
            if pattern.search(path.name):
                return SourceChoice(kind, remapped or path.absolute())
        raise UsageError(
            f"SOURCE is the file {source!r}, expected a folder of images, a .tar or a .parquet; for a list of images "
            "use --files, for embeddings --embeddings."
        )
    raise UsageError(
        f"no such folder: {source!r}, and no data set of this name."
        f"{suggestion(source, [*DATASETS, *(PREFIX + preset for preset in PRESETS)])} "
        f"Data sets: {', '.join(DATASETS)}, {PREFIX}SPEC."
    )


def other_source(workspace: Path, config: EmbedConfig, root: Path | None, *, moved: bool) -> tuple[str, str] | None:
    """Return what a workspace holds and what is to be embedded in its place, if that is something else.

    Parameters
    ----------
    workspace : Path
        The workspace, which need not exist.
    config : EmbedConfig
        What embed is told.
    root : Path or None
        Folder or file of the images; None for the recorded one.
    moved : bool
        Whether a person said that the same images lie elsewhere now.

    Returns
    -------
    tuple of (str, str) or None
        Both as they are typed; None where it is the same source, or nothing was embedded yet.
    """
    from elfs.pipeline.status import recorded_config
    from elfs.workspace.workspace import Workspace

    recorded = recorded_config(workspace, "embed")
    if not isinstance(recorded, EmbedConfig):
        return None
    old_root = Workspace.open(workspace).manifest.source_root
    is_same_place = moved or root is None or old_root is None or not has_root(config.source)
    if not is_same_place:
        is_same_place = os.path.realpath(str(root)) == os.path.realpath(str(old_root))
    if recorded.source == config.source and is_same_place:
        return None
    new_root = old_root if root is None else str(root)
    old, new = typed_source(recorded.source, old_root), typed_source(config.source, new_root)
    return old or recorded.source, new or config.source


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
    old, new = sources
    text = f"the workspace {invocation.workspace} holds {old}, and SOURCE is {new}"
    if invocation.output.can_ask and typer.confirm(f"{text}. Embed it in their place?", err=True):
        return
    raise UsageError(
        f"{text}. Give another --workspace; or --force to embed it in their place, --root where the same images have "
        "moved."
    )


def _listed(source: str | None, remapped: Path | None) -> SourceChoice:
    """Return the source of ``--files``: SOURCE is the folder that its paths are relative to."""
    if source is not None and (source in DATASETS or not Path(source).is_dir()):
        raise UsageError(f"--files lists images below a folder, and SOURCE is {source!r}, which is none.")
    return SourceChoice(FILES, remapped or Path(source or ".").absolute())


def _hugging_face(place: str, remapped: Path | None) -> SourceChoice:
    """Return the source of ``hf:``: a folder with what ``save_to_disk`` writes, or a name on the hub."""
    folder, _, split = place.rpartition(":")
    for path, suffix in ((place, ""), (folder, f":{split}")):
        if path and any(Path(path, name).is_file() for name in _SAVED_BY_DATASETS):
            return SourceChoice(f"hf:.{suffix}", remapped or Path(path).absolute())
    if not place or place.startswith((".", "/", "~")):
        raise UsageError(f"hf:{place}: there is no such folder with a saved data set in it. Expected {SOURCES['hf']}.")
    return SourceChoice(f"hf:{place}", remapped)


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
    )
    told = base if base is not None and base.source == chosen.name else None
    config = invocation.config("embed", base=told, source=chosen.name)
    assert isinstance(config, EmbedConfig)
    folder = chosen.root
    if folder is None and not has_root(chosen.name) and config.data_root is not None:
        folder = Path(config.data_root).absolute()
    return config, folder
