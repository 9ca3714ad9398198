"""Pseudo-labels to training dynamics of proxy networks: per-epoch traces, never logits, and the networks themselves."""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from elfs.config import DynamicsConfig
from elfs.data.samples import SampleTable
from elfs.ops.traces import HALVED, SPREADS, TRACES, pairwise_agreement
from elfs.parallel.limits import require_rows
from elfs.pipeline.job import Job, Result, StageCode
from elfs.pipeline.source_facts import SourceFacts
from elfs.train.gradients import describe_proxy
from elfs.train.inputs import InputBuilder
from elfs.train.proxies import Proxies, Recorded
from elfs.train.recipes import proxy_recipe

__all__ = ["CODE", "run"]

_FILE_BYTES = 1 << 30
"""Above this size the traces of a run are spread over several files, whole epochs in each."""


def run(job: Job, config: DynamicsConfig) -> Result:
    """Write ``dynamics`` and ``proxy``, with several proxies ``agreement``, too; on all ranks together.

    Refused where there are more ranks than images. Where all pseudo-labels are the same, a warning says that nothing
    can be learned from what is recorded.
    """
    table = SampleTable.from_tensors(job.workspace.arrays("samples"))
    labels_N = torch.from_numpy(np.array(job.workspace.arrays("pseudo_labels")["pseudo_labels"]))
    rows = np.flatnonzero(table.eligible() & (labels_N.numpy() >= 0))
    labels = labels_N[torch.from_numpy(rows)]
    ranks = job.runtime.ranks
    if ranks.is_first and len(labels.unique()) < 2:
        job.runtime.warn(
            "all images have the same pseudo-label: there is nothing to learn, so the scores of the dynamics hold no "
            "signal of difficulty. Select by coverage (elfs select --method k-center) or by chance."
        )
    require_rows(len(rows), ranks)
    side = job.workspace.metadata("samples", SourceFacts).image_side
    recipe = proxy_recipe(config, len(rows), side, on_cpu=job.runtime.on_cpu)
    num_epochs = config.epochs or recipe.epochs
    builder = InputBuilder(job.workspace, table, recipe, job.runtime, job.source_root)
    proxies = Proxies(
        builder,
        builder.build(rows, "dynamics"),
        labels,
        num_epochs,
        config.seed,
        config.sync_batch_norm,
        job.runtime,
        job.draft.directory,
    )
    recorded = proxies.record()
    if recorded is None:
        return Result("", {})
    job.draft.save("proxy", {name: tensor.numpy() for name, tensor in recorded.state.items()})
    agreement, spread = _publish(job, proxies, rows, len(table))
    facts = _opinions(job, recorded, labels, spread, rows, len(table))
    facts = {"proxies": recipe.proxies, "folds": recipe.folds} | facts
    summary = dataclasses.asdict(recipe) | {"epochs": num_epochs, "agreement": round(agreement, 6)} | facts
    summary |= {"samples": len(rows), "image_size": builder.image_size if builder.uses_images else None}
    del summary["iterations"]
    described = describe_proxy(builder, int(labels.max()) + 1, recorded.num_networks).as_json()
    how_many = f"{recipe.proxies} x " if recipe.proxies > 1 else ""
    headline = f"{how_many}{recipe.network}, {num_epochs} epochs   agreement {agreement:.2f}"
    return Result(headline, summary, {"proxy": described, "dynamics": facts})


def _publish(job: Job, proxies: Proxies, rows: np.ndarray, num_rows: int) -> tuple[float, dict[str, Tensor]]:
    """Lay the epochs' traces [M] out over all rows of the workspace, [epochs, N] in each file.

    Returns the agreement with the pseudo-labels in the last epoch, and of each trace the spread [M] over the proxies
    and the difference [M] of their halves, mean over the epochs.
    """
    num_epochs = proxies.num_epochs
    bytes_per_epoch = num_rows * (4 * 2 + (2 if proxies.averaged else 1))
    per_file = max(1, min(num_epochs, _FILE_BYTES // bytes_per_epoch))
    num_files = -(-num_epochs // per_file)
    variance: dict[str, Tensor] = {}
    difference: dict[str, Tensor] = {}
    agreement = 0.0
    for index in range(num_files):
        epochs = range(index * per_file, min((index + 1) * per_file, num_epochs))
        stacked: dict[str, np.ndarray] = {}
        for offset, epoch in enumerate(epochs):
            found = proxies.epoch(epoch)
            for name in TRACES:
                trace = found[name].numpy()
                if name not in stacked:
                    unrecorded = 255 if trace.dtype == np.uint8 else np.nan
                    stacked[name] = np.full((len(epochs), num_rows), unrecorded, dtype=trace.dtype)
                stacked[name][offset, rows] = trace
            for name in SPREADS if proxies.averaged else ():
                variance[name] = variance.get(name, 0) + found[f"{name}_variance"]
            for name in HALVED if proxies.halved else ():
                difference[name] = difference.get(name, 0) + found[f"{name}_difference"]
            agreement = float(found["correct"].double().mean())
        job.draft.save("dynamics", stacked, shard=(index, num_files) if num_files > 1 else None)
    spread = {f"{name}_spread": (total / num_epochs).sqrt() for name, total in variance.items()}
    return agreement, spread | {f"{name}_difference": total / num_epochs for name, total in difference.items()}


def _opinions(
    job: Job, recorded: Recorded, labels: Tensor, tensors: dict[str, Tensor], rows: np.ndarray, num_rows: int
) -> dict[str, float | None]:
    """Write ``agreement``, what the proxies say of each other and of the pseudo-labels, and return it over all images.

    Where some were not trained on an image, they alone are asked about it.
    """
    if recorded.predicted is None:
        return {"proxy_agreement": None, "estimated_wrong": None}
    folded = not bool(recorded.trained.all())
    asked_PM = ~recorded.trained if folded else recorded.trained
    predicted_PM = recorded.predicted.masked_fill(~asked_PM, -1)
    tensors = tensors | {"proxy_agreement": pairwise_agreement(predicted_PM)}
    wrong: float | None = None
    if folded:
        tensors["held_out_correct"] = (predicted_PM == labels).sum(dim=0) / asked_PM.sum(dim=0)
        wrong = round(1 - float(tensors["held_out_correct"].double().mean()), 6)
    laid_out = {name: np.full(num_rows, np.nan, dtype=np.float16) for name in tensors}
    for name, values in tensors.items():
        laid_out[name][rows] = values.numpy()
    job.draft.save("agreement", laid_out)
    alike = float(tensors["proxy_agreement"].double().nanmean())
    return {"proxy_agreement": round(alike, 6) if np.isfinite(alike) else None, "estimated_wrong": wrong}


CODE = StageCode(run)
