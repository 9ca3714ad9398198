"""Which part of every batch a process works on, where several processes train one network."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["WHOLE", "BatchPart"]


@dataclass(frozen=True, slots=True)
class BatchPart:
    """One of the nearly equal runs of samples that every batch is cut into; the first ones are longer by one at most.

    Attributes
    ----------
    rank, size : int
        Which run, from 0, and how many there are.
    """

    rank: int = 0
    size: int = 1

    def cut(self, batch: Tensor) -> Tensor:
        """Return the samples of a batch that are this part's.

        Parameters
        ----------
        batch : Tensor of shape (n, ...)
            One entry for each sample of the whole batch.

        Returns
        -------
        Tensor of shape (m, ...)
            A view. Over all parts every entry comes once; m is 0 where a batch has fewer samples than there are
            parts.
        """
        length, rest = divmod(len(batch), self.size)
        start = self.rank * length + min(self.rank, rest)
        return batch[start : start + length + (self.rank < rest)]

    def padded(self, batch: Tensor) -> Tensor:
        """Return what is computed for a batch: this part, or one sample that stands in for an empty one.

        Parameters
        ----------
        batch : Tensor of shape (n, ...)
            One entry for each sample of the whole batch.

        Returns
        -------
        Tensor of shape (max(m, 1), ...)
            `cut`, or the batch's first entry, which counts for another part.
        """
        own = self.cut(batch)
        return own if len(own) else batch[:1]


WHOLE = BatchPart()
"""The only part: the whole batch."""
