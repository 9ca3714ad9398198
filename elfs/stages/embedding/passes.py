"""Passes of an encoder over images that were decoded, and their way back to the CPU."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.models.encoder import Encoder
from elfs.stages.embedding.memory import is_out_of_memory, out_of_memory

__all__ = ["BatchEncoder", "Landing"]


@dataclass
class BatchEncoder:
    """Runs an encoder on batches of one size, and on smaller ones where memory does not suffice.

    Every pass has the same number of images, the last one copies of an image to fill it up: what an image becomes does
    not depend on which others there are. After a pass that ran out of memory all later ones are half as large.

    Attributes
    ----------
    encoder : Encoder
        Ready to encode, on its device.
    num_images : int
        Images of a pass, at least 1; lowered where memory does not suffice.
    device : torch.device
        Where the encoder computes.
    warn : Callable
        Takes one sentence for people, when the first pass runs out of memory.
    """

    encoder: Encoder
    num_images: int
    device: torch.device
    warn: Callable[[str], None]
    _warned: bool = False

    def encode(self, images: Tensor) -> Tensor:
        """Return the embeddings of any number of images.

        Parameters
        ----------
        images : Tensor of shape (n_images, ...)
            Stacked results of the encoder's transform, at least one.

        Returns
        -------
        Tensor of shape (n_images, dim), float32
            Where the encoder computes; a GPU may still be at it.

        Raises
        ------
        DeviceError
            If memory does not suffice for a single image.
        """
        parts: list[Tensor] = []
        done = 0
        while done < len(images):
            chunk = images[done : done + self.num_images]
            embeddings = self._encoded(chunk)
            if embeddings is None:
                self._halve()
                continue
            parts.append(embeddings)
            done += len(chunk)
        return torch.cat(parts)

    @property
    def num_ahead(self) -> int:
        """How many batches are begun before the results of another are looked at: one on a GPU, which does not wait."""
        return 1 if self.device.type == "cuda" else 0

    def _encoded(self, chunk: Tensor) -> Tensor | None:
        """Return the embeddings of at most `num_images` images; None if memory does not suffice."""
        missing = self.num_images - len(chunk)
        try:
            full = torch.cat([chunk, chunk[-1:].expand(missing, *chunk.shape[1:])]) if missing else chunk
            with torch.inference_mode():
                return self.encoder.encode(full)[: len(chunk)]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        return None

    def _halve(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        if self.num_images == 1:
            raise out_of_memory(self.encoder.name, self.device)
        if not self._warned:
            self.warn(
                f"{self.device} has not enough memory for {self.num_images} images at once; going on with half as "
                "many, or fewer still."
            )
            self._warned = True
        self.num_images //= 2


class Landing:
    """Embeddings that a GPU may not have computed yet, copied to page-locked memory as soon as it has.

    Parameters
    ----------
    embeddings : Tensor of shape (n_images, dim), float32
        On any device; those of a CPU are there already.
    """

    def __init__(self, embeddings: Tensor) -> None:
        half = embeddings.to(torch.float16)
        self._event: torch.cuda.Event | None = None
        if half.device.type == "cuda":
            self._landed = torch.empty(half.shape, dtype=half.dtype, pin_memory=True)
            self._landed.copy_(half, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record(torch.cuda.current_stream(half.device))
        else:
            self._landed = half

    def numpy(self) -> NDArray[np.float16]:
        """Wait until they are there.

        Returns
        -------
        ndarray of shape (n_images, dim), float16
            The embeddings.
        """
        if self._event is not None:
            self._event.synchronize()
        return self._landed.numpy()
