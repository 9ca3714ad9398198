"""The pictures of a workspace: where they lie, what they are called outside, how large they are."""

import os
import shlex
import stat
import warnings
from functools import cached_property
from pathlib import Path

from PIL import Image

from elfs.data.decoding import BadImageError
from elfs.data.sources import ImageReader, open_source
from elfs.delivery.chosen import Selection
from elfs.errors import CorruptArtifactError, InputDataError
from elfs.source_names import is_files
from elfs.workspace.files import storage_errors

__all__ = ["Pictures"]

_ORIENTATION_TAG = 0x0112
_FIRST_SIDEWAYS = 5
"""EXIF orientations from this one on swap width and height."""


class Pictures:
    """The pictures behind a selection's rows.

    Parameters
    ----------
    selection : Selection
        Names the source and its folder.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection

    @property
    def exist(self) -> bool:
        """False where the workspace was made from embeddings alone."""
        return self._selection.source_facts.has_images

    @property
    def are_files(self) -> bool:
        """Whether each picture is a file of its own; those of named data sets are not."""
        return is_files(self._selection.source)

    @cached_property
    def _reader(self) -> ImageReader:
        selection = self._selection
        source = open_source(selection.source, selection.root)
        return source.reader(selection.table)

    def require(self, purpose: str) -> None:
        """Check that there are pictures at all.

        Parameters
        ----------
        purpose : str
            What they are needed for, as in "--format images".

        Raises
        ------
        InputDataError
            If there are none.
        """
        if not self.exist:
            raise InputDataError(
                f"{purpose} needs images, but this workspace was made from embeddings alone. Use --format csv or txt."
            )

    def name(self, name: str) -> str:
        """Return what a picture is called outside the workspace.

        Parameters
        ----------
        name : str
            Its id, which the workspace need not know any more.

        Returns
        -------
        str
            Relative path with ``/``: the id itself, with ``.png`` added where the picture is no file yet.

        Raises
        ------
        CorruptArtifactError
            If the id leads out of the folder.
        """
        if name.startswith("/") or "\0" in name or {"", ".", ".."} & set(name.split("/")):
            raise CorruptArtifactError(
                f"the id {name!r} leads out of the folder of images; expected a plain relative path.",
                hint="elfs embed --force",
            )
        return name + ".png" if self.exist and not self.are_files else name

    def file(self, name: str) -> str:
        """Return where a picture lies.

        Parameters
        ----------
        name : str
            Its id, which the workspace need not know any more.

        Returns
        -------
        str
            Path below the source's root, absolute; for pictures that are no files the id.

        Raises
        ------
        CorruptArtifactError
            If the id leads out of the folder.
        """
        if self.are_files and self._selection.root is not None:
            return os.path.join(os.path.abspath(self._selection.root), self.name(name))
        return name

    def image(self, row: int) -> Image.Image:
        """Decode a picture.

        Parameters
        ----------
        row : int
            Row of the workspace.

        Returns
        -------
        PIL.Image.Image
            Mode RGB.

        Raises
        ------
        BadImageError
            If it can no longer be read.
        InputDataError
            If the source as a whole cannot be had.
        """
        self.name(self._selection.table.id(row))
        return self._reader.read(row)

    def size(self, row: int) -> tuple[int, int]:
        """Return how large a picture is shown; of a file only the header is read.

        Parameters
        ----------
        row : int
            Row of the workspace.

        Returns
        -------
        tuple of (int, int)
            Width and height in pixels, EXIF orientation applied.

        Raises
        ------
        InputDataError
            If it can no longer be read.
        """
        if self.are_files:
            with warnings.catch_warnings(action="ignore"):
                try:
                    with Image.open(self.file(self._selection.table.id(row))) as image:
                        sideways = image.getexif().get(_ORIENTATION_TAG, 1) >= _FIRST_SIDEWAYS
                        width, height = image.size
                    return (height, width) if sideways else (width, height)
                except Exception:  # what the header does not tell (or Pillow refuses as large) the decoder may
                    pass
        try:
            return self.image(row).size
        except BadImageError as error:
            raise self._gone(row, str(error)) from None

    def copy(self, row: int, target: Path) -> None:
        """Write a picture to a file: the bytes of its own file, or a PNG.

        Parameters
        ----------
        row : int
            Row of the workspace.
        target : Path
            A file that is not there yet; its folder is.

        Raises
        ------
        InputDataError
            If the picture can no longer be read.
        StorageError
            If the file cannot be written, or is there.
        """
        if not self.are_files:
            with storage_errors("write", target), target.open("xb") as out:
                self.image(row).save(out, format="PNG")
            return
        try:
            place = self.file(self._selection.table.id(row))
            if not stat.S_ISREG(os.stat(place).st_mode):  # a pipe would be waited for
                raise self._gone(row, "it is no regular file")
            data = Path(place).read_bytes()
        except OSError as error:
            raise self._gone(row, error.strerror or type(error).__name__) from None
        with storage_errors("write", target), target.open("xb") as out:
            out.write(data)

    def _gone(self, row: int, reason: str) -> InputDataError:
        place = shlex.quote(str(self._selection.workspace.path))
        hint = f"elfs embed --root FOLDER --workspace {place}" if self.are_files else None
        return InputDataError(
            f"the image {self._selection.table.id(row)!r} can no longer be read: {reason}.", hint=hint
        )
