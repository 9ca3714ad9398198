"""Embeddings to select from."""

import torch
from torch import Tensor


def mask(rows: list[int] | None, embeddings: Tensor) -> Tensor | None:
    return None if rows is None else torch.isin(torch.arange(len(embeddings)), torch.tensor(rows))


def random_rows(num_rows: int = 12, num_dims: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(num_rows, num_dims, generator=torch.Generator().manual_seed(seed))


def at_angles(*degrees: float) -> Tensor:
    """Return points on the unit circle."""
    radians = torch.tensor(degrees).deg2rad()
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def clustered_rows(num_rows: int, num_clusters: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(num_clusters, 32, generator=generator)
    own = torch.multinomial(
        torch.rand(num_clusters, generator=generator).square() + 0.05, num_rows, True, generator=generator
    )
    spread = 1.5 * torch.rand(num_rows, 1, generator=generator)
    return (centres[own] + spread * torch.randn(num_rows, 32, generator=generator) + 0.3).half()


def unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(x.double(), dim=1)
