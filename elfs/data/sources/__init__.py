"""Where images come from: files, archives of many, a named data set, or nowhere (embeddings of one's own).

A source lists its samples in a fixed order and hands out a reader of their pixels. It knows no labels.
"""

from pathlib import Path
from typing import Protocol

from PIL import Image

from elfs.data.samples import SampleTable
from elfs.data.synthetic.spec import parse_source
from elfs.errors import InputDataError
from elfs.source_names import DATASETS, SYNTHETIC_PREFIX, has_root
from elfs.suggestions import choose

__all__ = ["NO_LIMIT", "ImageReader", "Source", "open_source"]

NO_LIMIT = 1 << 40
"""More pixels than any image has."""


class ImageReader(Protocol):
    """Gives the image of a row. Can be pickled, so that worker processes can have it."""

    def read(self, row: int) -> Image.Image:
        """Read one image.

        Parameters
        ----------
        row : int
            Row of the sample table.

        Returns
        -------
        PIL.Image.Image
            Mode RGB, at its own size.

        Raises
        ------
        BadImageError
            If the image is missing or cannot be decoded.
        """
        ...


class Source(Protocol):
    """A set of samples.

    Attributes
    ----------
    name : str
        A key of ``DATASETS``, ``synthetic:SPEC``, or a kind of ``SOURCES``, some with ``:`` and more.
    channels : int
        1 if every image is gray, else 3. Readers give RGB either way.
    mirror : bool
        Whether a mirrored image still shows the same thing.
    num_classes : int or None
        How many classes the makers of the set drew; None where nobody said.
    has_images : bool
        False for embeddings of one's own.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def channels(self) -> int: ...  # noqa: D102
    @property
    def mirror(self) -> bool: ...  # noqa: D102
    @property
    def num_classes(self) -> int | None: ...  # noqa: D102
    @property
    def has_images(self) -> bool: ...  # noqa: D102

    def list(self) -> SampleTable:
        """List all samples.

        Returns
        -------
        SampleTable
            In an order that depends on the data alone.

        Raises
        ------
        InputDataError
            If there are none, or they cannot be had.
        """
        ...

    def reader(self, table: SampleTable) -> ImageReader:
        """Return what reads the images of a table.

        Parameters
        ----------
        table : SampleTable
            As `list` gave it, now or in an earlier run.

        Returns
        -------
        ImageReader
            Its rows are those of `table`.

        Raises
        ------
        InputDataError
            If the images cannot be had, or are others than those of `table`.
        """
        ...


def open_source(
    name: str,
    root: Path | None,
    *,
    download: bool = False,
    max_pixels: int = NO_LIMIT,
    files: str | None = None,
) -> Source:
    """Return the source of that name; nothing is read yet.

    Parameters
    ----------
    name : str
        A key of ``DATASETS``, ``synthetic:SPEC``, or a kind of ``SOURCES``, some with ``:`` and more.
    root : Path or None
        Folder or file of a source that has one (`has_root`); for a named data set the folder that holds
        its files (None: the cache); unused otherwise.
    download : bool, default False
        Whether a named data set that is absent may be fetched.
    max_pixels : int, default NO_LIMIT
        Images of a folder with more pixels than this are TOO_LARGE. Embed leaves them out; who comes later reads all
        that it kept.
    files : str, optional
        Where the list of the source "files" is; only its `list` needs it.

    Returns
    -------
    Source
        Ready to list.

    Raises
    ------
    UsageError
        If there is no data set of that name, or a spec cannot be read.
    InputDataError
        If a source that lies in a folder or file has no root.
    """
    if name == "embeddings":
        from elfs.data.sources.embeddings import EmbeddingsSource

        return EmbeddingsSource()
    if has_root(name):
        if root is None:
            raise InputDataError("the folder of images is not known.", hint="elfs embed FOLDER")
        return _open_root(name, root, max_pixels, files)
    if name.startswith(SYNTHETIC_PREFIX):
        from elfs.data.sources.synthetic import SyntheticSource

        return SyntheticSource(parse_source(name))
    if name.startswith("hf:"):
        from elfs.data.sources.hugging_face import HuggingFaceSource

        return HuggingFaceSource(name, root, download, max_pixels)
    return _open_dataset(choose("data set", name, DATASETS), root, download, max_pixels)


def _open_root(name: str, root: Path, max_pixels: int, files: str | None) -> Source:
    """Return a source that lies in a folder or file."""
    if name == "folder":
        from elfs.data.sources.folder import FolderSource

        return FolderSource(root, max_pixels)
    if name == "files":
        from elfs.data.sources.file_list import FileListSource

        return FileListSource(root, files, max_pixels)
    kind, _, suffix = name.partition(":")
    if kind == "tar":
        from elfs.data.sources.tar_shards import TarSource

        return TarSource(root, max_pixels, suffix)
    if name == "parquet":
        from elfs.data.sources.parquet import ParquetSource

        return ParquetSource(root, max_pixels)
    from elfs.data.sources.hugging_face import HuggingFaceSource

    return HuggingFaceSource(name, root, False, max_pixels)


def _open_dataset(name: str, root: Path | None, download: bool, max_pixels: int) -> Source:
    """Return a data set by name."""
    dataset = DATASETS[name]
    if dataset.class_folders:
        from elfs.data.sources.class_folders import ClassFoldersSource

        return ClassFoldersSource(name, root, download, max_pixels)
    if dataset.torchvision is None:
        from elfs.data.sources.digits import DigitsSource

        return DigitsSource()
    from elfs.data.sources.torchvision_sets import TorchvisionSource

    return TorchvisionSource(name, root, download)
