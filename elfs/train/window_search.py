"""The paper's way to judge a window: train the proxy on it, and see what it learns about the rest of the pool.

Shape suffix: M rows of the pool.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.data.samples import SampleTable
from elfs.data.training_images import Subset, TrainingImages
from elfs.parallel.runtime import Runtime, Task
from elfs.train.classifier import predict, train_on_labels
from elfs.train.fit import Fit
from elfs.train.gradients import load_proxy
from elfs.train.inputs import InputBuilder
from elfs.train.seeding import derived_seed
from elfs.workspace.workspace import Workspace

__all__ = ["ProxyJudge"]


@dataclass(frozen=True, eq=False)
class ProxyJudge:
    """Trains a fresh proxy network on a selection with its pseudo-labels and tests it on all other rows with theirs.

    The grid search by which the paper finds its hard rate without true labels [1]_: as many trainings on a coreset as
    there are rates to try.

    Attributes
    ----------
    builder : InputBuilder
        Made the inputs; its recipe is that of the recorded dynamics.
    inputs : TrainingImages
        Of all rows of the pool.
    pseudo_labels : Tensor of shape (n_rows,), int64
        Their pseudo-labels.
    seed : int
        Seed of weights, order and augmentation, the same for every selection.

    References
    ----------
    .. [1] Zheng et al., ICLR 2025, https://arxiv.org/abs/2406.04273, appendix.
    """

    builder: InputBuilder
    inputs: TrainingImages
    pseudo_labels: Tensor
    seed: int

    @classmethod
    def of(
        cls,
        workspace: Workspace,
        table: SampleTable,
        rows: NDArray[np.int64],
        labels: Tensor,
        runtime: Runtime,
        source_root: Path | None,
        seed: int,
    ) -> "ProxyJudge":
        """Read the inputs of a pool.

        Parameters
        ----------
        workspace : Workspace
            With the artifact ``proxy``, whose recipe counts.
        table : SampleTable
            The samples.
        rows : ndarray of shape (n_rows,), int64
            Rows of the workspace that make up the pool.
        labels : Tensor of shape (n_rows,), int64
            Their pseudo-labels.
        runtime : Runtime
            Device, workers, progress.
        source_root : Path or None
            Folder of the images.
        seed : int
            Seed of every training.

        Returns
        -------
        ProxyJudge
            Ready to judge.
        """
        builder = InputBuilder(workspace, table, load_proxy(workspace)[1], runtime, source_root)
        return cls(builder, builder.build(rows, "search"), labels, seed)

    def accuracy(self, positions: Tensor, task: Task) -> float:
        """Train on some rows and return how many of the others get their pseudo-label.

        Parameters
        ----------
        positions : Tensor of shape (n_selected,), int64
            Positions in the pool.
        task : Task
            Advanced by one per step of the training.

        Returns
        -------
        float
            Share of the other rows, in [0, 1]; higher = better. 1 where there are none.
        """
        rest = torch.ones(len(self.pseudo_labels), dtype=torch.bool)
        rest[positions] = False
        others = torch.nonzero(rest).flatten()
        if len(others) == 0:
            return 1.0
        builder, iterations = self.builder, self.builder.recipe.iterations
        positions = positions.sort().values  # a set of rows gives one result
        fit = Fit.from_scratch(
            builder,
            Subset(self.inputs, positions),
            self.pseudo_labels[positions],
            num_classes=int(self.pseudo_labels.max()) + 1,
            seeds=(derived_seed(self.seed, "search-network"), derived_seed(self.seed, "search")),
        )
        train_on_labels(fit, iterations, task)
        predicted = predict(fit.network, Subset(self.inputs, others), batch_size=512, device=fit.device)
        return float((predicted == self.pseudo_labels[others]).double().mean())
