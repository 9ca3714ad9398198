"""The source of a workspace that was made from embeddings: rows without images."""

from dataclasses import dataclass
from typing import NoReturn

from elfs.data.samples import SampleTable
from elfs.errors import InputDataError

__all__ = ["EmbeddingsSource"]


@dataclass(frozen=True)
class EmbeddingsSource:
    """Rows that came with their embeddings. `elfs.data.embeddings_file` reads those; images there are none."""

    name = "embeddings"
    channels = 3
    mirror = False
    num_classes = None
    has_images = False

    def list(self) -> SampleTable:
        """Refuse: the rows are those of the embeddings file."""
        self._refuse()

    def reader(self, table: SampleTable) -> NoReturn:
        """Refuse: there is nothing to read."""
        self._refuse()

    @staticmethod
    def _refuse() -> NoReturn:
        raise InputDataError("this workspace was made from embeddings and has no images.", hint="elfs embed FOLDER")
