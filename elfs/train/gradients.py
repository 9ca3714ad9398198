"""The proxy of the training dynamics, taken up again: what its last layer sees of each sample, and how wrong it is.

Shapes: B samples of a batch, M rows, F features, C classes.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.data.samples import SampleTable
from elfs.models.networks import Network, build_network
from elfs.parallel.runtime import Runtime
from elfs.train.inputs import InputBuilder
from elfs.train.numerics import mixed_precision
from elfs.train.recipes import Recipe
from elfs.workspace.workspace import Workspace

__all__ = ["describe_proxy", "load_proxy", "proxy_outputs"]

_BATCH_SIZE = 512


def describe_proxy(builder: InputBuilder, num_classes: int) -> dict[str, Any]:
    """Return what is needed besides its parameters to build a network again and to feed it.

    Parameters
    ----------
    builder : InputBuilder
        What made the network's inputs.
    num_classes : int
        Number of classes.

    Returns
    -------
    dict
        Plain JSON facts: recipe, number of classes, side of the images, dimensions of the embeddings.
    """
    return {
        "recipe": dataclasses.asdict(builder.recipe),
        "num_classes": num_classes,
        "image_size": builder.image_size if builder.uses_images else None,
        "dim": builder.dim,
    }


def load_proxy(workspace: Workspace) -> tuple[Network, Recipe]:
    """Return the network whose training dynamics were recorded, as its last epoch left it.

    Parameters
    ----------
    workspace : Workspace
        With the artifact ``proxy``.

    Returns
    -------
    tuple of (Network, Recipe)
        The network, on the CPU and in evaluation mode, and what decides how its inputs are made.

    Raises
    ------
    MissingUpstreamError
        If there is no such artifact: the dynamics were not recorded yet, or by an elfs that did not keep the network.
    CorruptArtifactError
        If its file is broken.
    """
    state = {name: torch.from_numpy(np.array(value)) for name, value in workspace.arrays("proxy").items()}
    facts = workspace.manifest.artifacts["proxy"].metadata
    recipe = Recipe(**facts["recipe"])
    network = build_network(
        recipe.network,
        num_classes=facts["num_classes"],
        image_size=facts["image_size"] or recipe.image_size,
        dim=facts["dim"],
        seed=0,
    )
    network.load_state_dict(state)
    return network.eval(), recipe


@torch.no_grad()
def proxy_outputs(
    workspace: Workspace,
    table: SampleTable,
    rows: NDArray[np.int64],
    labels: Tensor,
    runtime: Runtime,
    source_root: Path | None,
) -> tuple[Tensor, Tensor]:
    """Return features and errors of some rows under the trained proxy, from images without augmentation.

    Parameters
    ----------
    workspace : Workspace
        With the artifact ``proxy``.
    table : SampleTable
        The samples.
    rows : ndarray of shape (n_rows,), int64
        Different rows of the workspace, in any order.
    labels : Tensor of shape (n_rows,), int64
        Pseudo-label of each of the rows.
    runtime : Runtime
        Device, worker processes, progress.
    source_root : Path or None
        Folder of the images.

    Returns
    -------
    features : Tensor of shape (n_rows, n_features), float16
        What the last layer sees; on the CPU, as the errors.
    errors : Tensor of shape (n_rows, n_classes), float16
        Softmax less the one-hot pseudo-label, each in [-1, 1]. With the feature it makes up the gradient of the loss
        with respect to the last layer's weights.

    Raises
    ------
    MissingUpstreamError
        If the workspace has no proxy.
    CorruptArtifactError
        If its file is broken.
    InputDataError
        If an image that embed could read is gone, or their folder.
    """
    network, recipe = load_proxy(workspace)
    device = runtime.device()
    network = network.to(device)
    ascending = np.argsort(rows, kind="stable")  # as they lie in the source
    inputs = InputBuilder(workspace, table, recipe, runtime, source_root).build(rows[ascending], "proxy")
    places = torch.from_numpy(ascending)
    num_features, num_classes = network.classifier.in_features, network.classifier.out_features
    features_MF = torch.empty(len(rows), num_features, dtype=torch.float16)
    errors_MC = torch.empty(len(rows), num_classes, dtype=torch.float16)
    batches = inputs.batches(
        torch.arange(len(rows)), batch_size=_BATCH_SIZE, augment=False, generator=torch.Generator(), device=device
    )
    with runtime.progress.task("proxy", len(rows), "images") as task:
        for positions_B, batch in batches:
            with mixed_precision(device):
                features_BF = network.features(batch)
                logits_BC = network.classifier(features_BF)
            errors_BC = logits_BC.float().softmax(dim=1).cpu()
            places_B = places[positions_B]
            errors_BC[torch.arange(len(places_B)), labels[places_B]] -= 1
            features_MF[places_B], errors_MC[places_B] = features_BF.half().cpu(), errors_BC.half()
            task.advance(len(places_B))
    return features_MF, errors_MC
