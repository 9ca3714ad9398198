"""The proxy of the training dynamics, taken up again: what its last layer sees of each sample, and how wrong it is.

Shapes: B samples of a batch, M rows, F features, C classes.
"""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.data.samples import SampleTable
from elfs.models.networks import MlpEnsemble, Network, build_network
from elfs.parallel.runtime import Runtime
from elfs.pipeline.artifact_facts import ProxyNote
from elfs.train.inputs import InputBuilder
from elfs.train.numerics import mixed_precision
from elfs.train.recipes import Recipe
from elfs.workspace.workspace import Workspace

__all__ = ["describe_proxy", "load_proxy", "proxy_outputs"]

_BATCH_SIZE = 512


def describe_proxy(builder: InputBuilder, num_classes: int, num_networks: int = 1) -> ProxyNote:
    """Return what is needed besides its parameters to build a network again and to feed it.

    Parameters
    ----------
    builder : InputBuilder
        What made the network's inputs.
    num_classes : int
        Number of classes.
    num_networks : int, default 1
        How many networks lie side by side.

    Returns
    -------
    ProxyNote
        Recipe, number of classes and of networks, side of the images, dimensions of the embeddings.
    """
    return ProxyNote(
        recipe=dataclasses.asdict(builder.recipe),
        num_classes=num_classes,
        image_size=builder.image_size if builder.uses_images else None,
        dim=builder.dim,
        networks=num_networks,
    )


def load_proxy(workspace: Workspace) -> tuple[Network | MlpEnsemble, Recipe]:
    """Return the network whose training dynamics were recorded, or several, as the last epoch left them.

    Parameters
    ----------
    workspace : Workspace
        With the artifact ``proxy``.

    Returns
    -------
    tuple of (Network or MlpEnsemble, Recipe)
        What was trained, on the CPU and in evaluation mode; of several networks on images the first.
        And what decides how its inputs are made.

    Raises
    ------
    MissingUpstreamError
        If there is no such artifact: the dynamics were not recorded yet, or by an elfs that did not keep the network.
    CorruptArtifactError
        If its file is broken.
    """
    state = {name: torch.from_numpy(np.array(value)) for name, value in workspace.arrays("proxy").items()}
    note = workspace.metadata("proxy", ProxyNote)
    recipe = Recipe(**note.recipe)
    members = [
        build_network(
            recipe.network,
            num_classes=note.num_classes,
            image_size=note.image_size or recipe.image_size,
            dim=note.dim,
            seed=0,
            hidden=recipe.hidden,
        )
    ] * (note.networks or 1)
    network = MlpEnsemble(members) if len(members) > 1 else members[0]
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
        What the last layer sees; on the CPU, as the errors. Of several networks on embeddings the first's.
    errors : Tensor of shape (n_rows, n_classes), float16
        Softmax, the mean of several networks', less the one-hot pseudo-label, each in [-1, 1]. With the feature it
        makes up the gradient of the loss with respect to the last layer's weights.

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
    num_classes = workspace.metadata("proxy", ProxyNote).num_classes
    features_MF: Tensor | None = None
    errors_MC = torch.empty(len(rows), num_classes, dtype=torch.float16)
    batches = inputs.batches(
        torch.arange(len(rows)), batch_size=_BATCH_SIZE, augment=False, generator=torch.Generator(), device=device
    )
    with runtime.progress.task("proxy", len(rows), "images") as task:
        for positions_B, batch in batches:
            features_BF, probability_BC = _features_and_probabilities(network, batch, device)
            errors_BC = probability_BC.cpu()
            places_B = places[positions_B]
            errors_BC[torch.arange(len(places_B)), labels[places_B]] -= 1
            if features_MF is None:
                features_MF = torch.empty(len(rows), features_BF.shape[1], dtype=torch.float16)
            features_MF[places_B], errors_MC[places_B] = features_BF.half().cpu(), errors_BC.half()
            task.advance(len(places_B))
    assert features_MF is not None  # nobody asks about no rows
    return features_MF, errors_MC


def _features_and_probabilities(
    network: Network | MlpEnsemble, batch: Tensor, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return features [B, F] and probabilities [B, C]: of several networks the first's, and the mean of all."""
    if isinstance(network, MlpEnsemble):
        features_PBF = network.features(batch)
        return features_PBF[0], network.logits(features_PBF).softmax(dim=2).mean(dim=0)
    with mixed_precision(device):
        features_BF = network.features(batch)
        logits_BC = network.classifier(features_BF)
    return features_BF, logits_BC.float().softmax(dim=1)
