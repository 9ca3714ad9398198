"""Pseudo-labels to training dynamics of a proxy network: per-epoch traces, never logits, and the network itself."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from elfs.config import DynamicsConfig
from elfs.data.samples import SampleTable
from elfs.data.source_facts import SourceFacts
from elfs.errors import InputDataError
from elfs.parallel.limits import require_rows
from elfs.pipeline.job import Job, Result, StageCode
from elfs.train.classifier import record_dynamics
from elfs.train.fit import Fit
from elfs.train.gradients import describe_proxy
from elfs.train.inputs import InputBuilder
from elfs.train.recipes import recipe_for
from elfs.train.seeding import derived_seed
from elfs.workspace.tensors import load_tensors, save_tensors

__all__ = ["CODE", "run"]

_FILE_BYTES = 1 << 30
"""Above this size the traces of a run are spread over several files, whole epochs in each."""

_UNRECORDED = {"correct": 255}
"""What stands in a trace where a sample was never trained on; NaN in the floating traces."""


def run(job: Job, config: DynamicsConfig) -> Result:
    """Write ``dynamics`` and ``proxy``, on all ranks together.

    Refused where the pseudo-labels name fewer than two clusters, or there are more ranks than images.
    """
    table = SampleTable.from_tensors(job.workspace.arrays("samples"))
    labels_N = torch.from_numpy(np.array(job.workspace.arrays("pseudo_labels")["pseudo_labels"]))
    rows = np.flatnonzero(table.eligible() & (labels_N.numpy() >= 0))
    labels = labels_N[torch.from_numpy(rows)]
    if len(labels.unique()) < 2:
        raise InputDataError("all images have the same pseudo-label: there is nothing to learn, so no difficulty.")
    ranks = job.runtime.ranks
    require_rows(len(rows), ranks)
    image_side = SourceFacts.of(job.workspace).image_side
    recipe = recipe_for(config, len(rows), image_side)
    num_epochs = config.epochs or recipe.epochs
    num_classes = int(labels.max()) + 1
    inputs = InputBuilder(job.workspace, table, recipe, job.runtime, job.source_root)
    fit = Fit.from_scratch(
        inputs,
        inputs.build(rows, "dynamics"),
        labels,
        num_classes=num_classes,
        seeds=(derived_seed(config.seed, "network"), derived_seed(config.seed, "dynamics")),
        sync_batch_norm=config.sync_batch_norm,
    )
    if ranks.is_first and fit.caveat:
        job.runtime.warn(fit.caveat)
    with job.runtime.progress.task("dynamics", num_epochs * fit.steps_per_epoch(), "steps") as task:
        agreement = record_dynamics(
            fit,
            num_epochs,
            job.draft.directory / "checkpoint.safetensors",
            lambda epoch, traces: _store_epoch(job.draft.directory, epoch, traces),
            task,
        )
    if not ranks.is_first:
        return Result("", {})
    _publish(job, rows, len(table), num_epochs)
    job.draft.save("proxy", {name: tensor.cpu().numpy() for name, tensor in fit.network.state_dict().items()})
    summary = dataclasses.asdict(recipe) | {"epochs": num_epochs, "agreement": round(agreement, 6)}
    summary |= {"samples": len(rows), "image_size": inputs.image_size if inputs.uses_images else None}
    del summary["iterations"]
    metadata = {"proxy": describe_proxy(inputs, num_classes)}
    return Result(f"{recipe.network}, {num_epochs} epochs   agreement {agreement:.2f}", summary, metadata)


def _epoch_file(directory: Path, epoch: int) -> Path:
    return directory / f"epoch-{epoch:05d}.safetensors"


def _store_epoch(directory: Path, epoch: int, traces: dict[str, Tensor]) -> None:
    save_tensors(_epoch_file(directory, epoch), {name: trace.numpy() for name, trace in traces.items()})


def _publish(job: Job, rows: np.ndarray, num_rows: int, num_epochs: int) -> None:
    """Lay the epochs' traces [M] out over all rows of the workspace, [epochs, N] in each file."""
    bytes_per_epoch = num_rows * (4 * 2 + 1)
    per_file = max(1, min(num_epochs, _FILE_BYTES // bytes_per_epoch))
    num_files = -(-num_epochs // per_file)
    for index in range(num_files):
        epochs = range(index * per_file, min((index + 1) * per_file, num_epochs))
        stacked: dict[str, np.ndarray] = {}
        for offset, epoch in enumerate(epochs):
            for name, trace in load_tensors(_epoch_file(job.draft.directory, epoch)).items():
                if name not in stacked:
                    stacked[name] = np.full((len(epochs), num_rows), _UNRECORDED.get(name, np.nan), dtype=trace.dtype)
                stacked[name][offset, rows] = trace
        job.draft.save("dynamics", stacked, shard=(index, num_files) if num_files > 1 else None)


CODE = StageCode(run)
