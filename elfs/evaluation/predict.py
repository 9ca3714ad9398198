"""What a trained network says about the images of the pool that it has not learned from."""

import dataclasses
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elfs.annotations.kept import ARTIFACT, kept_annotations
from elfs.data.addresses import find_images
from elfs.data.samples import SampleTable
from elfs.errors import MissingUpstreamError, StaleUpstreamError, UsageError
from elfs.models.networks import build_network
from elfs.parallel.runtime import Runtime
from elfs.pipeline.holdouts import holdouts, rows_of_selections
from elfs.pipeline.training_facts import ModelFacts, PredictionFacts
from elfs.suggestions import suggestion
from elfs.train.classifier import predict_with_confidence
from elfs.train.inputs import InputBuilder
from elfs.train.recipes import Recipe
from elfs.workspace.workspace import Workspace

__all__ = ["Predictions", "predict_pool"]

_ROWS_AT_ONCE = 65_536
_CONFIDENT = 0.9


@dataclass(frozen=True)
class Predictions:
    """The classes of images, as a network names them.

    Attributes
    ----------
    workspace : Workspace
        Where the images are.
    table : SampleTable
        Its samples.
    model : str
        Name of the selection that the network was trained on.
    rows : ndarray of shape (n,), int64
        Rows of the workspace, ascending.
    classes : tuple of str
        Every class that the network knows.
    predicted : ndarray of shape (n,), int64
        Position in `classes` of the class of each row.
    confidence : ndarray of shape (n,), float32
        Softmax of that class, in ``(0, 1]``. It is not calibrated: networks are surer than they are right.
    left_out : int
        Images that are not named because people have annotated them, or a test set holds them.
    """

    workspace: Workspace
    table: SampleTable
    model: str
    rows: NDArray[np.int64]
    classes: tuple[str, ...]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float32]
    left_out: int

    def facts(self) -> PredictionFacts:
        """Return how many images, of which classes, how many of them surely."""
        counts = Counter(self.predicted.tolist())
        confident = int(np.count_nonzero(self.confidence >= _CONFIDENT))
        by_class = {name: counts.get(number, 0) for number, name in enumerate(self.classes)}
        return PredictionFacts(self.model, len(self.rows), confident, by_class)


def predict_pool(
    path: Path, model: str | None, runtime: Runtime, *, everything: bool = False, unasked: bool = False
) -> Predictions:
    """Name the class of every image of the pool that a network has not learned from.

    Parameters
    ----------
    path : Path
        The workspace; it may be read-only.
    model : str or None
        Name of the selection that the network was trained on; None for the one that was trained last.
    runtime : Runtime
        Device, workers, progress.
    everything : bool
        Name those that it has learned from too.
    unasked : bool
        Leave out what people have annotated and the test sets: a guess beside a test image would sway who annotates it.
        Of no effect where `everything` is wanted.

    Returns
    -------
    Predictions
        In row order; test images are left out.

    Raises
    ------
    MissingUpstreamError
        If nothing has been trained.
    StaleUpstreamError
        If the images or embeddings have changed since, or the model is of an older elfs.
    UsageError
        If there is no model of that name.
    """
    workspace = Workspace.open(path)
    name = _model_name(workspace, model)
    which = "" if name == ARTIFACT else f" --selection {shlex.quote(name)}"  # of all annotations: no selection is named
    network = workspace.manifest.records[f"train/{name}"].config.get("network")
    which += "" if network is None else f" --network {network}"
    hint = f"elfs train{which} --workspace {shlex.quote(str(path))}"
    facts = workspace.document(f"models/{name}", ModelFacts)
    reason = workspace.stale_reason(f"train/{name}")
    if reason is None and facts.learned_from is None:
        reason = "it was trained by an older elfs"
    if reason is not None:
        raise StaleUpstreamError(f"models/{name} is stale: {reason}.", hint=hint)
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    rows = np.flatnonzero(table.eligible())
    if not everything:
        rows = np.setdiff1d(rows, find_images(table, [image for image, _ in facts.learned_from or ()]).rows)
    wanted = np.setdiff1d(rows, _asked(workspace, table)) if unasked and not everything else rows
    left_out, rows = len(rows) - len(wanted), wanted
    recipe = _recipe(workspace.json(f"models/{name}"))
    root = workspace.manifest.source_root
    builder = InputBuilder(workspace, table, recipe, runtime, None if root is None else Path(root))
    predicted, confidence = _predict(builder, len(facts.classes), rows, workspace, name)
    return Predictions(workspace, table, name, rows, facts.classes, predicted, confidence, left_out)


def _asked(workspace: Workspace, table: SampleTable) -> NDArray[np.int64]:
    """Return the rows of what people have annotated and of the test sets."""
    annotated, _ = kept_annotations(workspace).rows(table)
    return np.union1d(annotated, rows_of_selections(workspace, table, holdouts(workspace)))


def _recipe(protocol: dict[str, Any]) -> Recipe:
    """Return how a network was trained, as far as its protocol says; it says no epochs, and no size without images."""
    known = {field.name: protocol[field.name] for field in dataclasses.fields(Recipe) if field.name in protocol}
    return Recipe(**{"epochs": 1} | known | {"image_size": protocol["image_size"] or 1})


def _model_name(workspace: Workspace, wanted: str | None) -> str:
    manifest = workspace.manifest
    names = [name.partition("/")[2] for name, record in manifest.records.items() if record.stage == "train"]
    if not names:
        place = shlex.quote(str(workspace.path))
        raise MissingUpstreamError(
            f"{workspace.path} holds no trained network yet.", hint=f"elfs train --labels FILE --workspace {place}"
        )
    if wanted is None:
        return max(names, key=lambda name: str(manifest.runs.get(f"train/{name}", {}).get("started", "")))
    if wanted not in names:
        raise UsageError(
            f"no network was trained on '{wanted}'.{suggestion(wanted, names)} Available: {', '.join(sorted(names))}."
        )
    return wanted


def _predict(
    builder: InputBuilder, num_classes: int, rows: NDArray[np.int64], workspace: Workspace, name: str
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Let the network look at the images, so many at once as fit the memory."""
    device = builder.runtime.device()
    network = build_network(
        builder.recipe.network,
        num_classes=num_classes,
        image_size=builder.image_size,
        dim=builder.dim,
        seed=0,
    )
    arrays = workspace.arrays(f"models/{name}")
    network.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()})
    network.to(device)
    predicted = np.empty(len(rows), np.int64)
    confidence = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        inputs = builder.build(rows[part], "predict")
        named, sure = predict_with_confidence(network, inputs, batch_size=512, device=device)
        predicted[part], confidence[part] = named.numpy(), sure.numpy()
    return predicted, confidence
