"""What a classifier is fed: the images of a source, or the embeddings where there are none."""

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.catalog import EMBEDDING_NETWORKS
from elfs.data.loaders import load_images
from elfs.data.samples import SampleTable
from elfs.data.sources import ImageReader, open_source
from elfs.data.training_images import CachedImages, StreamedImages, TrainingImages, channel_statistics
from elfs.errors import InputDataError
from elfs.parallel.runtime import Runtime
from elfs.pipeline.source_facts import SourceFacts
from elfs.source_names import has_root
from elfs.train.features import Features, centring, standardization
from elfs.train.numerics import threads_for
from elfs.train.recipes import Recipe
from elfs.workspace.workspace import Workspace

__all__ = ["InputBuilder"]

_IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406])
_IMAGENET_DEVIATION = torch.tensor([0.229, 0.224, 0.225])
_PIXELS_PER_THREAD = 16_384
_MAX_SAMPLE = 10_000


@dataclass
class InputBuilder:
    """Makes network inputs for rows of a workspace, normalised by the pool whatever the rows.

    Mean and deviation are those of at most 10,000 images, evenly spread over all that can be selected. They are worked
    out with the first rows that are built, so that the proxy, a network on a coreset and a later use of either are fed
    alike. Large images, which are never all decoded, take ImageNet's.

    Attributes
    ----------
    workspace : Workspace
        Where samples and embeddings are.
    table : SampleTable
        The samples.
    recipe : Recipe
        Its network decides between images and embeddings, its image size how images are read.
    runtime : Runtime
        Device and worker processes.
    source_root : Path or None
        Folder of the images.
    """

    workspace: Workspace
    table: SampleTable
    recipe: Recipe
    runtime: Runtime
    source_root: Path | None
    _statistics: tuple[Tensor, Tensor] | None = None

    @cached_property
    def facts(self) -> SourceFacts:
        """What embed noted about the source."""
        return self.workspace.metadata("samples", SourceFacts)

    @property
    def uses_images(self) -> bool:
        """Whether the network looks at images."""
        return self.recipe.network not in EMBEDDING_NETWORKS

    @property
    def dim(self) -> int | None:
        """Dimensions of the embeddings for a network on embeddings, else None."""
        return None if self.uses_images else int(self.workspace.tensors("embeddings")["embeddings"].shape[1])

    @property
    def image_size(self) -> int:
        """Side of the images in pixels: the recipe's, or the images' own where they are smaller."""
        return min(self.recipe.image_size, self.facts.image_side or self.recipe.image_size)

    @property
    def num_threads(self) -> int:
        """CPU threads of a training step: one for every 16,384 pixels of this rank's part of a batch."""
        pixels = self.recipe.batch_size * self.image_size**2 if self.uses_images else 0
        return threads_for(pixels // (self.runtime.ranks.size * _PIXELS_PER_THREAD), self.runtime.ranks)

    def build(self, rows: NDArray[np.int64], label: str) -> TrainingImages:
        """Return the network inputs of some rows.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64
            Rows of the workspace.
        label : str
            What the progress display calls this.

        Returns
        -------
        TrainingImages
            Position i is ``rows[i]``.

        Raises
        ------
        InputDataError
            If the network needs images and the source has none, or an image that embed could read is gone, or
            their folder.
        """
        if not self.uses_images:
            return self._features(rows)
        if not self.facts.has_images:
            raise InputDataError(
                f"network '{self.recipe.network}' needs images, but this workspace was made from embeddings alone. "
                "Use --network mlp."
            )
        return self._images(rows, label)

    def _features(self, rows: NDArray[np.int64]) -> Features:
        embeddings = self.workspace.tensors("embeddings")["embeddings"]
        if self._statistics is None:
            scaling = standardization if self.recipe.standardize else centring
            self._statistics = scaling(embeddings, self._sample)
        mean, inverse = self._statistics
        return Features(embeddings, rows, self.runtime.device(), mean=mean, inverse_deviation=inverse)

    def _images(self, rows: NDArray[np.int64], label: str) -> CachedImages | StreamedImages:
        name = self.facts.source
        if has_root(name) and not (self.source_root and self.source_root.exists()):
            raise InputDataError(
                f"the folder of the images is not there: {self.source_root}.",
                hint=f"elfs embed --root FOLDER --workspace {shlex.quote(str(self.workspace.path))}",
            )
        source = open_source(name, self.source_root)
        reader = source.reader(self.table)
        if self.recipe.streamed:
            return StreamedImages(
                reader,
                torch.from_numpy(rows),
                size=self.image_size,
                mean=_IMAGENET_MEAN,
                std=_IMAGENET_DEVIATION,
                mirror=source.mirror,
                num_workers=self.runtime.workers_for(len(rows)),
            )
        images = self._decoded(reader, rows, label)
        if self._statistics is None:
            sample, order = self._sample, np.argsort(rows, kind="stable")
            if np.isin(sample, rows).all():
                positions = order[np.searchsorted(rows, sample, sorter=order)]
                self._statistics = channel_statistics(images[torch.from_numpy(positions)])
            else:
                self._statistics = channel_statistics(self._decoded(reader, sample, "sample of the pool"))
        mean, deviation = self._statistics
        return CachedImages(
            images.to(self.runtime.device()),
            mean,
            deviation,
            mirror=source.mirror,
            padding=max(1, self.image_size // 8),
        )

    @cached_property
    def _sample(self) -> NDArray[np.int64]:
        """Rows that mean and deviation are taken from."""
        rows = np.flatnonzero(self.table.eligible())
        count = min(len(rows), _MAX_SAMPLE)
        return rows[np.arange(count) * len(rows) // count]

    def _decoded(self, reader: ImageReader, rows: NDArray[np.int64], label: str) -> Tensor:
        with self.runtime.progress.task(f"{label}: read images", len(rows), "images") as task:
            workers = self.runtime.workers_for(len(rows))
            images = load_images(reader, torch.from_numpy(rows), self.image_size, num_workers=workers)
            task.advance(len(rows))
        return images
