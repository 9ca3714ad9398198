"""What SOURCE means: a data set by name, a folder of images, shards, embeddings of one's own, or what was recorded."""

import re
from dataclasses import dataclass
from pathlib import Path

from elfs.data.synthetic.spec import PRESETS, canonical_source
from elfs.errors import UsageError
from elfs.source_names import DATASETS, SOURCES, SYNTHETIC_PREFIX, has_root
from elfs.suggestions import suggestion

__all__ = ["SourceChoice", "choose_source", "folder_of"]

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
    source: str | None,
    *,
    embeddings: bool,
    recorded: str | None,
    root: Path | None,
    files: bool = False,
    command: str = "embed",
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
    command : {"embed", "run"}, default "embed"
        Where SOURCE is to be typed, for the hint.

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
    remapped = None if root is None else _whole(root)
    if files:
        return _listed(source, remapped)
    if source is None:
        name = EMBEDDINGS if embeddings else recorded
        if name is None:
            raise UsageError(
                "no SOURCE: expected a folder of images, a data set by name, tar:PATH, parquet:PATH, hf:NAME, "
                "synthetic:SPEC or --embeddings FILE.",
                hint=f"elfs {command} FOLDER",
            )
        return SourceChoice(name, remapped)
    if source.startswith(SYNTHETIC_PREFIX):
        return SourceChoice(canonical_source(source), remapped)
    if source in DATASETS:
        return SourceChoice(source, remapped)
    kind, colon, place = source.partition(":")
    if kind == "hf" and colon:
        return _hugging_face(place, remapped)
    if kind in _SHARDS and colon:
        return _shards(kind, place, remapped)
    return _place(source, remapped)


def folder_of(chosen: SourceChoice, data_root: str | None) -> Path | None:
    """Return the folder or file of a source's images.

    Parameters
    ----------
    chosen : SourceChoice
        As `choose_source` gives it.
    data_root : str or None
        Folder that holds named data sets, where one was named.

    Returns
    -------
    Path or None
        Absolute; None for the recorded one, or that of the data set by itself.
    """
    if chosen.root is None and not has_root(chosen.name) and data_root is not None:
        return _whole(Path(data_root))
    return chosen.root


def _listed(source: str | None, remapped: Path | None) -> SourceChoice:
    """Return the source of ``--files``: SOURCE is the folder that its paths are relative to."""
    if source is not None and (source in DATASETS or not Path(source).is_dir()):
        raise UsageError(f"--files lists images below a folder, and SOURCE is {source!r}, which is none.")
    return SourceChoice(FILES, remapped or _whole(Path(source or ".")))


def _place(source: str, remapped: Path | None) -> SourceChoice:
    """Return the source of a folder, or of a file that holds images."""
    if not source and remapped is None:
        raise UsageError("SOURCE is empty, expected a folder of images (. is the current one) or a data set by name.")
    path = Path(source)
    if path.is_dir():
        return SourceChoice(FOLDER, remapped or _whole(path))
    if path.exists():
        for kind, pattern in _SHARDS.items():
            if pattern.search(path.name):
                return SourceChoice(kind, remapped or _whole(path))
        raise UsageError(
            f"SOURCE is the file {source!r}, expected a folder of images, a .tar or a .parquet; for a list of images "
            "use --files, for embeddings --embeddings."
        )
    raise UsageError(
        f"no such folder: {source!r}, and no data set of this name."
        f"{suggestion(source, [*DATASETS, *(SYNTHETIC_PREFIX + preset for preset in PRESETS)])} "
        f"Data sets: {', '.join(DATASETS)}, {SYNTHETIC_PREFIX}SPEC."
    )


def _shards(kind: str, place: str, remapped: Path | None) -> SourceChoice:
    """Return the source of ``tar:`` or ``parquet:``; of tar shards, with the suffix of the members' names."""
    folder, colon, suffix = place.rpartition(":")
    if kind == "tar" and colon and suffix.startswith(".") and "/" not in suffix and not Path(place).exists():
        kind, place = f"tar:{suffix}", folder
    if remapped is None and not (place and Path(place).exists()):
        raise UsageError(
            f"{kind.partition(':')[0]}:{place}: there is no such file or folder. "
            f"Expected {SOURCES[kind.partition(':')[0]]}."
        )
    return SourceChoice(kind, remapped or _whole(Path(place)))


def _hugging_face(place: str, remapped: Path | None) -> SourceChoice:
    """Return the source of ``hf:``: a folder with what ``save_to_disk`` writes, or a name on the hub."""
    folder, _, split = place.rpartition(":")
    for path, suffix in ((place, ""), (folder, f":{split}")):
        if path and any(Path(path, name).is_file() for name in _SAVED_BY_DATASETS):
            return SourceChoice(f"hf:.{suffix}", remapped or _whole(Path(path)))
    if not place or place.startswith((".", "/", "~")):
        raise UsageError(f"hf:{place}: there is no such folder with a saved data set in it. Expected {SOURCES['hf']}.")
    return SourceChoice(f"hf:{place}", remapped)


def _whole(path: Path) -> Path:
    """Return a path from the root of the file system; with ``..`` in it, it would end with the folder it begins in."""
    return path.resolve() if ".." in path.parts else path.absolute()
