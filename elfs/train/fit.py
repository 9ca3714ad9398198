"""One network, what it is trained on, and how: what the loops of `elfs.train.classifier` are given.

Shapes: B samples of the part of a batch, C classes, N samples of the pool.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from elfs.data.batch_part import BatchPart
from elfs.data.loaders import nearly_equal
from elfs.data.training_images import TrainingImages
from elfs.errors import UsageError
from elfs.models.networks import build_network, has_batch_norm
from elfs.ops.optimizers import eager
from elfs.ops.schedules import warmup_cosine
from elfs.parallel.ranks import ALONE, Ranks
from elfs.train.inputs import InputBuilder
from elfs.train.recipes import Recipe
from elfs.train.recorded_step import changing_rate
from elfs.train.seeding import generator

__all__ = ["Fit"]


@dataclass(frozen=True)
class Fit:
    """One network, what it is trained on, and how.

    Attributes
    ----------
    network : nn.Module
        Inputs to logits [B, C]; on ``device``.
    inputs : TrainingImages
        Network inputs of N samples.
    classes : Tensor of shape (N,), int64
        Class of each sample, in ``[0, C)``; on the CPU.
    recipe : Recipe
        Hyper-parameters.
    seed : int
        Seed of the order and the augmentation.
    device : torch.device
        Where to compute; bfloat16 autocast on a GPU, float32 on the CPU.
    num_threads : int
        Threads of a CPU. Small networks on small images are fastest on one: more spend their time waiting for each
        other, most of all on a machine with other work.
    ranks : Ranks
        What trains it together, all with the same fit but for `device`.
    sync_batch_norm : bool
        Whether batch statistics are taken over all ranks.
    """

    network: nn.Module
    inputs: TrainingImages
    classes: Tensor
    recipe: Recipe
    seed: int
    device: torch.device
    num_threads: int = 1
    ranks: Ranks = ALONE
    sync_batch_norm: bool = True

    @classmethod
    def from_scratch(
        cls,
        builder: InputBuilder,
        inputs: TrainingImages,
        classes: Tensor,
        *,
        num_classes: int,
        seeds: tuple[int, int],
        sync_batch_norm: bool = True,
    ) -> "Fit":
        """Return the fit of a new network, by the recipe, on the device and with the ranks of a builder.

        Parameters
        ----------
        builder : InputBuilder
            Made the inputs.
        inputs : TrainingImages
            Network inputs of N samples.
        classes : Tensor of shape (N,), int64
            Class of each sample, in ``[0, num_classes)``.
        num_classes : int
            Outputs of the network.
        seeds : tuple of (int, int)
            Of the initial weights; of the order and the augmentation.
        sync_batch_norm : bool
            Whether batch statistics are taken over all ranks.

        Returns
        -------
        Fit
            Nothing is trained yet.
        """
        recipe, runtime = builder.recipe, builder.runtime
        network = build_network(
            recipe.network,
            num_classes=num_classes,
            image_size=builder.image_size,
            dim=builder.dim,
            seed=seeds[0],
        ).to(runtime.device())
        threads, ranks = builder.num_threads, runtime.ranks
        return cls(network, inputs, classes, recipe, seeds[1], runtime.device(), threads, ranks, sync_batch_norm)

    def optimizer(self) -> torch.optim.SGD:
        """Return SGD with Nesterov momentum 0.9 over all parameters."""
        return eager(torch.optim.SGD)(
            self.network.parameters(),
            lr=changing_rate(self.recipe.learning_rate, self.device),
            momentum=0.9,
            weight_decay=self.recipe.weight_decay,
            nesterov=True,
            fused=self.device.type == "cuda",
        )

    def steps_per_epoch(self) -> int:
        """Return in how many steps the samples are seen once."""
        return math.ceil(len(self.inputs) / self.recipe.batch_size)

    def whole_batches(self, number: int) -> list[Tensor]:
        """Return the positions of each whole batch of one epoch: every sample exactly once."""
        order = torch.randperm(len(self.inputs), generator=generator(self.seed, "order", number))
        return list(nearly_equal(order, self.recipe.batch_size))

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Yield this rank's part of each augmented batch of one epoch, and how many samples the whole batch has."""
        whole = self.whole_batches(number)
        parts = self.inputs.batches(
            torch.cat(whole),
            batch_size=self.recipe.batch_size,
            augment=True,
            generator=generator(self.seed, "augment", number),
            device=self.device,
            part=BatchPart(self.ranks.rank, self.ranks.size),
        )
        for batch, (positions_B, inputs) in zip(whole, parts, strict=True):
            yield positions_B, inputs, len(batch)

    def rate(self, step: int, num_steps: int) -> float:
        """Return the learning rate of a step; it never rises."""
        return warmup_cosine(
            step,
            peak=self.recipe.learning_rate,
            final=min(self.recipe.final_learning_rate, self.recipe.learning_rate),
            num_steps=num_steps,
        )

    @property
    def shares_statistics(self) -> bool:
        """Whether layers that normalise by the batch do so over all ranks."""
        return self.ranks.size > 1 and self.sync_batch_norm

    @property
    def caveat(self) -> str | None:
        """What people should know about the results, in a sentence or two; None where there is nothing."""
        if self.ranks.size == 1 or self.shares_statistics or not has_batch_norm(self.network):
            return None
        return (
            f"each of the {self.ranks.size} ranks takes the batch statistics of its own part, so the results differ "
            "from those of one device. --sync-batch-norm prevents that."
        )

    def require_statistics(self) -> None:
        """Refuse, on all ranks alike, batches of which a rank gets too little to normalise by.

        Raises
        ------
        UsageError
            If the network normalises by the batch and a part of a batch is empty, or a single image whose statistics
            are not shared.
        """
        smallest = len(self.inputs) // self.steps_per_epoch()
        least = self.ranks.size * (1 if self.shares_statistics else 2)
        if self.ranks.size > 1 and smallest < least and has_batch_norm(self.network):
            raise UsageError(
                f"batch norm needs batches of {least} images or more on {self.ranks.size} ranks, and there are batches "
                f"of {smallest}. Use fewer devices or a larger --batch-size."
            )
