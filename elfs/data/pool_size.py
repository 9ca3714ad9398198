"""How many images a source can have, as far as that is known before any of them is looked at."""

import os
import tarfile
from pathlib import Path

from elfs.config import EmbedConfig
from elfs.data.embeddings_file import embeddings_shape
from elfs.data.sniffing import SIDECAR_EXTENSIONS
from elfs.data.sources import open_source
from elfs.data.sources.file_list import STANDARD_INPUT, read_paths
from elfs.data.sources.tar_shards import TarSource
from elfs.errors import InputDataError, UsageError

__all__ = ["most_images"]


def most_images(embed: EmbedConfig, root: Path | None, enough: int, *, download: bool = False) -> int | None:
    """Return how many images embed can find at most.

    Parameters
    ----------
    embed : EmbedConfig
        Which source, and how much of it.
    root : Path or None
        Folder or file of the images.
    enough : int
        Files and members of archives are counted no further than this, so that a large source costs little.
    download : bool, default False
        Whether a data set that is not here may be fetched to be counted.

    Returns
    -------
    int or None
        None where it is not known, or at least `enough`. The source's own errors are left to embed.
    """
    try:
        most = _count(embed, root, enough, download=download)
    except (InputDataError, UsageError, tarfile.TarError, OSError):
        most = None
    if embed.limit is not None:
        most = embed.limit if most is None else min(most, embed.limit)
    return most or None  # that there are none embed says better


def _count(embed: EmbedConfig, root: Path | None, enough: int, *, download: bool) -> int | None:
    if embed.embeddings is not None:
        return embeddings_shape(Path(embed.embeddings))[0]
    if embed.source == "folder":
        return None if root is None else _num_files(root, enough)
    if embed.source == "files":
        if root is None or embed.files in (None, STANDARD_INPUT):
            return None  # what can be read only once is left to embed
        return len(set(read_paths(str(embed.files), root)))
    source = open_source(embed.source, root, download=embed.download and download)
    if isinstance(source, TarSource):
        count = source.count(enough)
        return None if count >= enough else count
    return int(source.list().eligible().sum())


def _num_files(root: Path, enough: int) -> int | None:
    count, seen = 0, set[str]()
    for place, inner, files in os.walk(root, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            inner.clear()  # a link that leads back
            continue
        seen.add(real)
        count += sum(_may_be_image(file) for file in files)
        if count >= enough:
            return None
    return count


def _may_be_image(name: str) -> bool:
    return not name.startswith(".") and os.fsencode(os.path.splitext(name)[1].lower()) not in SIDECAR_EXTENSIONS
