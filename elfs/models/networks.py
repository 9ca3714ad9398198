"""Networks that are trained from scratch: the proxy of the training dynamics, and what a selection is judged by.

Shape suffixes: B batch, F features.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elfs.catalog import NETWORKS, suggestion
from elfs.errors import UsageError

__all__ = ["EmbeddingMlp", "Network", "SmallResNet", "TimmNetwork", "build_network"]


class Network(nn.Module):
    """A classifier that also gives away the features below its last layer."""

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate features.

        Parameters
        ----------
        x : Tensor of shape (n_samples, 3, height, width) or (n_samples, dim), float32
            Normalised images, or embeddings for `EmbeddingMlp`.

        Returns
        -------
        Tensor of shape (n_samples, n_features), floating
            What the last linear layer sees.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits.

        Parameters
        ----------
        x : Tensor of shape (n_samples, 3, height, width) or (n_samples, dim), float32
            Normalised images, or embeddings for `EmbeddingMlp`.

        Returns
        -------
        Tensor of shape (n_samples, n_classes), floating
            Unnormalised log-probabilities.
        """
        raise NotImplementedError


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


class SmallResNet(Network):
    """Residual network for small images: a 3x3 stem at full resolution and no max-pool.

    The first stage keeps the resolution, each further one halves it.

    Parameters
    ----------
    widths : tuple of int
        Channels of each stage.
    blocks_per_stage : int
        Basic blocks in each stage.
    num_classes : int
        Number of classes.

    References
    ----------
    .. [1] He et al., CVPR 2016, https://arxiv.org/abs/1512.03385, section 4.2.
    """

    def __init__(self, widths: tuple[int, ...], blocks_per_stage: int, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        blocks: list[nn.Module] = []
        num_inputs = widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks_per_stage):
                blocks.append(_BasicBlock(num_inputs, width, stride=2 if stage > 0 and block == 0 else 1))
                num_inputs = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(num_inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: Tensor) -> Tensor:
        """Return the last stage's channels, averaged over the image; see `Network.features`."""
        pooled: Tensor = self.blocks(self.stem(x)).mean(dim=(2, 3))
        return pooled

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits; see `Network.forward`."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


class EmbeddingMlp(Network):
    """Linear - GELU - Linear on the frozen embeddings.

    Parameters
    ----------
    dim : int
        Width of the embeddings.
    num_classes : int
        Number of classes.
    hidden : int, default 256
        Width of the hidden layer.
    """

    def __init__(self, dim: int, num_classes: int, hidden: int = 256) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, hidden)
        self.classifier = nn.Linear(hidden, num_classes)
        nn.init.kaiming_normal_(self.hidden.weight, nonlinearity="relu")

    def features(self, x: Tensor) -> Tensor:
        """Return the hidden layer after its activation; see `Network.features`."""
        return F.gelu(self.hidden(x))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits; see `Network.forward`."""
        logits: Tensor = self.classifier(self.features(x))
        return logits


class TimmNetwork(Network):
    """A timm model with random weights.

    Parameters
    ----------
    name : str
        A name that ``timm.is_model`` knows.
    num_classes : int
        Number of classes.
    image_size : int
        Side of the images in pixels; told to models that are built for one size, such as vision transformers.
    """

    def __init__(self, name: str, num_classes: int, image_size: int) -> None:
        super().__init__()
        import timm

        fixed = timm.get_pretrained_cfg_value(name, "fixed_input_size")
        size: dict[str, Any] = {"img_size": image_size} if fixed else {}
        self.model: Any = timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=3, **size)

    def features(self, x: Tensor) -> Tensor:
        """Return what the model's classifier sees; see `Network.features`."""
        features: Tensor = self.model.forward_head(self.model.forward_features(x), pre_logits=True)
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits; see `Network.forward`."""
        logits: Tensor = self.model(x)
        return logits


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator for a while; the state before comes back, CUDA generators are not touched."""
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield


def build_network(name: str, *, num_classes: int, image_size: int, dim: int | None, seed: int) -> Network:
    """Return a network with random weights, on the CPU, in training mode.

    Parameters
    ----------
    name : str
        A key of ``elfs.catalog.NETWORKS`` or the name of a timm model.
    num_classes : int
        Number of classes, at least 1.
    image_size : int
        Side of the images in pixels. ``resnet8`` takes 8 or more, ``resnet18`` too.
    dim : int or None
        Width of the embeddings; needed for ``mlp`` alone.
    seed : int
        Decides the weights; torch's global state stays as it was.

    Returns
    -------
    Network
        ``network(x)`` gives logits, ``network.features(x)`` the features below the last layer.

    Raises
    ------
    UsageError
        If the name is unknown, ``mlp`` has no embeddings, or the timm model cannot be built for `image_size`.
    """
    with _seeded(seed):
        if name == "resnet8":
            return SmallResNet((16, 32, 64), 1, num_classes)
        if name == "resnet18":
            return SmallResNet((64, 128, 256, 512), 2, num_classes)
        if name == "mlp":
            if dim is None:
                raise UsageError("network 'mlp' works on embeddings, and there are none here.")
            return EmbeddingMlp(dim, num_classes)
        return _timm_network(name, num_classes, image_size)


def _timm_network(name: str, num_classes: int, image_size: int) -> TimmNetwork:
    import timm

    known = timm.list_models()
    if name not in known:
        close = suggestion(name, [*NETWORKS, *known])
        raise UsageError(
            f"unknown network '{name}'.{close} Available: {', '.join(NETWORKS)} and {len(known):,} timm models."
        )
    try:
        network = TimmNetwork(name, num_classes, image_size)
        network.eval()
        with torch.no_grad():
            network.features(torch.zeros(1, 3, image_size, image_size))
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"timm model '{name}' does not take images of {image_size} pixels: {error}") from error
    network.train()
    return network
