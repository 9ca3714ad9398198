"""Pictures and readers that several tests share."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from elfs.data.decoding import BadImageError
from elfs.data.samples import Outcome
from elfs.data.sources.arrays import ArrayReader

CPU = torch.device("cpu")
ZERO, ONE = torch.zeros(3), torch.ones(3)


def noise(count: int, size: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=seeded(9))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reader_of(images: Tensor) -> ArrayReader:
    return ArrayReader((images.permute(0, 2, 3, 1).numpy(),), np.arange(len(images)))


def to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@dataclass(frozen=True)
class FaultyReader:
    """Every row that `bad` names is broken; the others are gray of their number."""

    bad: frozenset[int]

    def read(self, row: int) -> Image.Image:
        if row in self.bad:
            raise BadImageError(Outcome.BROKEN, f"bad {row}")
        return Image.new("RGB", (4, 4), (row, row, row))
