"""Many small cluster heads, trained side by side on frozen embeddings.

All heads live in stacked parameters, so that an optimiser, an average of weights or a file sees six tensors instead of
six for every head. Shape suffixes: H heads, B batch, D embedding dimensions, K hidden width, N bottleneck width,
C clusters.
"""

from collections.abc import Mapping
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elfs.errors import CorruptArtifactError

__all__ = ["ClusterHeads"]

_SHORTEST = 1e-12
"""Below this length a bottleneck has no direction; as in ``torch.nn.functional.normalize``."""


class ClusterHeads(nn.Module):
    """Heads of the form Linear - GELU - Linear - L2 normalisation - weight-normalised Linear without bias.

    The logits of a cluster are the cosine between the bottleneck and the cluster's direction, times the cluster's
    gain. Computed in the dtype of autocast where that is on, the normalisation in float32.

    Parameters
    ----------
    num_heads : int
        Number of heads, H.
    dim : int
        Width of the embeddings, D.
    hidden : int
        Width of the hidden layer.
    bottleneck : int
        Width of the layer that is normalised.
    clusters : int
        Number of clusters, C.
    generator : torch.Generator
        Source of the initial weights, on the CPU. Matrices and directions are drawn from a normal distribution with
        standard deviation 0.02 (cut at 2), biases are 0, gains are 1.

    Attributes
    ----------
    hidden_weight : Parameter of shape (H, hidden, D)
        Matrix of the first layer.
    hidden_bias : Parameter of shape (H, hidden)
        Bias of the first layer.
    bottleneck_weight : Parameter of shape (H, bottleneck, hidden)
        Matrix of the second layer.
    bottleneck_bias : Parameter of shape (H, bottleneck)
        Bias of the second layer.
    direction : Parameter of shape (H, C, bottleneck)
        Direction of each cluster; only its direction counts, not its length.
    gain : Parameter of shape (H, C)
        Length that a cluster's direction is scaled to.

    References
    ----------
    .. [1] Adaloglou et al., BMVC 2023, https://arxiv.org/abs/2303.17896.
    .. [2] github.com/eltsai/elfs@089444b, ``model_builders/multi_head.py`` (MIT): exact GELU; its
       outputs ours equal to float32 rounding.
    """

    def __init__(
        self, num_heads: int, dim: int, hidden: int, bottleneck: int, clusters: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.hidden_weight = _drawn((num_heads, hidden, dim), generator)
        self.hidden_bias = nn.Parameter(torch.zeros(num_heads, hidden))
        self.bottleneck_weight = _drawn((num_heads, bottleneck, hidden), generator)
        self.bottleneck_bias = nn.Parameter(torch.zeros(num_heads, bottleneck))
        self.direction = _drawn((num_heads, clusters, bottleneck), generator)
        self.gain = nn.Parameter(torch.ones(num_heads, clusters))

    @property
    def num_heads(self) -> int:
        """Number of heads."""
        return self.gain.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        """Return every head's logits.

        Parameters
        ----------
        x : Tensor of shape (n_samples, dim), floating
            Embeddings, the same for all heads.

        Returns
        -------
        Tensor of shape (n_heads, n_samples, n_clusters), floating
            Unnormalised log-probabilities, each within plus or minus the cluster's gain.
        """
        return self._looped(x) if x.device.type == "cpu" else self._batched(x)

    def _looped(self, x_BD: Tensor) -> Tensor:
        """One head after the other: on a CPU each product is large enough, and the activations stay in the cache."""
        logits = []
        # unbind, not an index: the gradient of an index is a zero tensor of the whole stack, once per head.
        for parameters in zip(*(stacked.unbind() for stacked in self.parameters()), strict=True):
            hidden_weight, hidden_bias, bottleneck_weight, bottleneck_bias, direction, gain = parameters
            hidden_BK = F.gelu(F.linear(x_BD, hidden_weight, hidden_bias))
            bottleneck_BN = F.linear(hidden_BK, bottleneck_weight, bottleneck_bias)
            logits.append(F.linear(_unit(bottleneck_BN), _scaled(direction, gain)))
        return torch.stack(logits)

    def _batched(self, x_BD: Tensor) -> Tensor:
        """All heads in one product per layer: on an accelerator launches count, and what passes through its memory.

        So the bottleneck is not brought to length 1; the logits, which are few, are divided by its length.
        """
        hidden_BK = F.linear(x_BD, self.hidden_weight.flatten(0, 1), self.hidden_bias.flatten())
        hidden_HBK = F.gelu(hidden_BK).unflatten(1, (self.num_heads, -1)).transpose(0, 1)
        bottleneck_HBN = torch.baddbmm(self.bottleneck_bias.unsqueeze(1), hidden_HBK, self.bottleneck_weight.mT)
        precise = torch.promote_types(bottleneck_HBN.dtype, torch.float32)
        length_HB1 = torch.linalg.vector_norm(bottleneck_HBN, dim=-1, keepdim=True, dtype=precise)
        product_HBC = torch.bmm(bottleneck_HBN, _scaled(self.direction, self.gain).mT)
        logits_HBC: Tensor = product_HBC / length_HB1.clamp_min(_SHORTEST)
        return logits_HBC

    def last_layer_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that stay frozen during the first epoch.

        Returns
        -------
        list of Parameter
            `direction` and `gain`.
        """
        return [self.direction, self.gain]

    def bias_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that get no weight decay; stacked they are 2-D, so their shape does not tell.

        Returns
        -------
        list of Parameter
            `hidden_bias` and `bottleneck_bias`.
        """
        return [self.hidden_bias, self.bottleneck_bias]

    def select_head(self, head: int) -> "ClusterHeads":
        """Return one head by itself.

        Parameters
        ----------
        head : int
            Number of the head, in ``[0, n_heads)``.

        Returns
        -------
        ClusterHeads
            A copy with ``num_heads`` of 1, on the CPU.
        """
        return ClusterHeads.from_tensors({name: values[head : head + 1] for name, values in self.to_tensors().items()})

    def to_tensors(self) -> dict[str, np.ndarray]:
        """Return the heads as arrays for a file.

        Returns
        -------
        dict of str to ndarray, float32
            The six attributes by their names; `from_tensors` gives equal heads back. Copies.
        """
        return {
            name: values.detach().to("cpu", torch.float32, copy=True).numpy()
            for name, values in self.named_parameters()
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> Self:
        """Return the heads that `tensors` hold.

        Parameters
        ----------
        tensors : mapping of str to ndarray, float32
            What `to_tensors` made; read-only arrays are fine, they are copied.

        Returns
        -------
        ClusterHeads
            Heads on the CPU.

        Raises
        ------
        CorruptArtifactError
            If a tensor is missing or left over, or the shapes do not fit one another.
        """
        shapes = {name: np.shape(values) for name, values in tensors.items()}
        try:
            num_heads, hidden, dim = shapes["hidden_weight"]
            _, clusters, bottleneck = shapes["direction"]
            heads = cls(num_heads, dim, hidden, bottleneck, clusters, torch.Generator())
            heads.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in tensors.items()})
        except (KeyError, ValueError, RuntimeError) as error:
            raise CorruptArtifactError(
                f"these tensors are no cluster heads: {shapes}.", hint="elfs cluster --force"
            ) from error
        return heads


def _drawn(shape: tuple[int, ...], generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02, generator=generator))


def _unit(bottleneck: Tensor) -> Tensor:
    precise = bottleneck if bottleneck.dtype == torch.float64 else bottleneck.float()
    return F.normalize(precise, dim=-1)


def _scaled(direction: Tensor, gain: Tensor) -> Tensor:
    return F.normalize(direction, dim=-1) * gain.unsqueeze(-1)
