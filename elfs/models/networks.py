"""Networks that are trained from scratch: the proxy of the training dynamics, and what a selection is judged by.

The ResNets follow He et al., CVPR 2016 (https://arxiv.org/abs/1512.03385, section 4.2), with projection shortcuts.
Shape suffixes: P networks side by side, B batch, D dimensions, F features, C classes.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elfs.catalog import EMBEDDING_NETWORKS, NETWORKS
from elfs.errors import UsageError
from elfs.suggestions import suggestion

__all__ = ["MlpEnsemble", "Network", "build_network", "has_batch_norm"]

MLP_HIDDEN = 256
"""Width of the hidden layer of ``mlp``."""


class Network(nn.Module):
    """A classifier that also gives away the features below its last layer.

    Parameters
    ----------
    body : nn.Module
        From a batch to features of shape (n_samples, n_features).
    num_features : int
        Width of these features.
    num_classes : int
        Number of classes.
    """

    def __init__(self, body: nn.Module, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.body = body
        self.classifier = nn.Linear(num_features, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features.

        Parameters
        ----------
        x : Tensor of shape (n_samples, 3, height, width) or (n_samples, dim), float32
            Normalised images, or embeddings for ``mlp`` and ``linear``.

        Returns
        -------
        Tensor of shape (n_samples, n_features), floating
            What the last linear layer sees.
        """
        features_BF: Tensor = self.body(x)
        return features_BF

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits.

        Parameters
        ----------
        x : Tensor of shape (n_samples, 3, height, width) or (n_samples, dim), float32
            Normalised images, or embeddings for ``mlp`` and ``linear``.

        Returns
        -------
        Tensor of shape (n_samples, n_classes), floating
            Unnormalised log-probabilities.
        """
        logits: Tensor = self.classifier(self.features(x))
        return logits


class MlpEnsemble(nn.Module):
    """Several ``mlp`` networks side by side: what one of them computes does not depend on the others.

    Parameters
    ----------
    members : sequence of Network
        At least one, each built as ``mlp``, all of the same shape. Their last layers start at 0, so that the first
        predictions are the same for all images and the seed decides less.
    """

    def __init__(self, members: Sequence[Network]) -> None:
        super().__init__()
        hidden = [cast("nn.Linear", next(member.body.children())) for member in members]
        last = [member.classifier for member in members]
        self.hidden_weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in hidden]))
        self.hidden_bias = nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in hidden]))
        self.weight = nn.Parameter(torch.stack([torch.zeros_like(layer.weight.detach().T) for layer in last]))
        self.bias = nn.Parameter(torch.stack([torch.zeros_like(layer.bias.detach()[None]) for layer in last]))

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features of every network.

        Parameters
        ----------
        x : Tensor of shape (n_networks, n_samples, n_dims) or (n_samples, n_dims), float32
            Embeddings: for each network its own, or the same for all.

        Returns
        -------
        Tensor of shape (n_networks, n_samples, n_features), floating
            What the last layers see.
        """
        if x.dim() == 3:
            return F.gelu(torch.baddbmm(self.hidden_bias, x, self.hidden_weight))
        joined_DW = self.hidden_weight.transpose(0, 1).flatten(1)  # one product for all networks
        hidden_BW = torch.addmm(self.hidden_bias.flatten(), x, joined_DW)
        return F.gelu(hidden_BW.unflatten(1, (len(self.weight), -1)).transpose(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of every network.

        Parameters
        ----------
        x : Tensor of shape (n_networks, n_samples, n_dims) or (n_samples, n_dims), float32
            Embeddings: for each network its own, or the same for all.

        Returns
        -------
        Tensor of shape (n_networks, n_samples, n_classes), floating
            Unnormalised log-probabilities.
        """
        return self.logits(self.features(x))

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits of every network from its features.

        Parameters
        ----------
        features : Tensor of shape (n_networks, n_samples, n_features), floating
            What `features` returns.

        Returns
        -------
        Tensor of shape (n_networks, n_samples, n_classes), floating
            Unnormalised log-probabilities.
        """
        return torch.baddbmm(self.bias, features, self.weight)


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, num_inputs: int, num_outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(num_inputs, num_outputs, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(num_outputs)
        self.conv2 = nn.Conv2d(num_outputs, num_outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(num_outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or num_inputs != num_outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(num_inputs, num_outputs, 1, stride, bias=False), nn.BatchNorm2d(num_outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(inner + self.shortcut(x))


def _small_resnet(widths: tuple[int, ...], blocks_per_stage: int, num_classes: int) -> Network:
    """Return a ResNet with a 3x3 stem and no max-pool; each stage but the first halves the resolution."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, widths[0], 3, padding=1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(),
    ]
    num_inputs = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks_per_stage):
            layers.append(_BasicBlock(num_inputs, width, stride=2 if stage > 0 and block == 0 else 1))
            num_inputs = width
    body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return Network(body, num_inputs, num_classes)


def _mlp(dim: int, num_classes: int, width: int) -> Network:
    hidden = nn.Linear(dim, width)
    nn.init.kaiming_normal_(hidden.weight, nonlinearity="relu")
    return Network(nn.Sequential(hidden, nn.GELU()), width, num_classes)


def _linear(dim: int, num_classes: int) -> Network:
    network = Network(nn.Identity(), dim, num_classes)
    nn.init.zeros_(network.classifier.weight)
    nn.init.zeros_(network.classifier.bias)
    return network


def _timm_network(name: str, num_classes: int, image_size: int) -> Network:
    import timm

    known = timm.list_models()
    if name not in known:
        close = suggestion(name, [*NETWORKS, *known])
        raise UsageError(
            f"unknown network '{name}'.{close} Available: {', '.join(NETWORKS)} and {len(known):,} timm models."
        )
    size: dict[str, Any] = {}
    if timm.get_pretrained_cfg_value(name, "fixed_input_size"):
        size["img_size"] = image_size
    try:
        body: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, in_chans=3, **size)
        with torch.no_grad():
            num_features = body.eval()(torch.zeros(1, 3, image_size, image_size)).shape[1]
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"timm model '{name}' cannot take images of {image_size} pixels: {error}") from error
    return Network(body.train(), num_features, num_classes)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator for a while; the state before comes back, CUDA generators are not touched."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def build_network(
    name: str, *, num_classes: int, image_size: int, dim: int | None, seed: int, hidden: int = MLP_HIDDEN
) -> Network:
    """Return a network with random weights, on the CPU, in training mode.

    Parameters
    ----------
    name : str
        A key of ``elfs.catalog.NETWORKS`` or the name of a timm model.
    num_classes : int
        Number of classes, at least 1.
    image_size : int
        Side of the images in pixels. The two ResNets take any; 8 or more is sensible.
    dim : int or None
        Width of the embeddings; needed for ``mlp`` and ``linear``.
    seed : int
        Decides the weights; torch's global state stays as it was.
    hidden : int, default 256
        Width of the hidden layer of ``mlp``.

    Returns
    -------
    Network
        Calling it gives logits, its `features` what lies below the last layer. Weights of convolutions are channels
        last in memory, as the images are that it is trained on.

    Raises
    ------
    UsageError
        If the name is unknown, ``mlp`` or ``linear`` has no embeddings, or the timm model cannot be built for
        `image_size`.
    """
    with _seeded(seed):
        if name in EMBEDDING_NETWORKS:
            if dim is None:
                raise UsageError(f"network '{name}' works on embeddings, and there are none here.")
            return _mlp(dim, num_classes, hidden) if name == "mlp" else _linear(dim, num_classes)
        if name == "resnet8":
            network = _small_resnet((16, 32, 64), 1, num_classes)
        elif name == "resnet18":
            network = _small_resnet((64, 128, 256, 512), 2, num_classes)
        else:
            network = _timm_network(name, num_classes, image_size)
        return network.to(memory_format=torch.channels_last)


def has_batch_norm(network: nn.Module) -> bool:
    """Return whether a network normalises by statistics of the batch.

    Parameters
    ----------
    network : nn.Module
        Any.

    Returns
    -------
    bool
        True if what it makes of a sample in training depends on the other samples of the batch.
    """
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
