"""Batch normalisation by the statistics of the whole batch, whichever part of it each rank has."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from elfs.parallel.ranks import Ranks

__all__ = ["SharedBatchNorm", "with_shared_batch_norm"]


class _Sum(torch.autograd.Function):
    """The sum of a tensor over the ranks; so is its gradient."""

    @staticmethod
    def forward(context: Any, tensor: Tensor, ranks: Ranks) -> Tensor:
        context.ranks = ranks
        return ranks.sum_(tensor.clone())

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return context.ranks.sum_(gradient.clone()), None


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation over all ranks on CPUs, where torch has none.

    Parameters
    ----------
    replaced : nn.BatchNorm1d, nn.BatchNorm2d or nn.BatchNorm3d
        The layer whose parameters and buffers this one takes over; what timm's layers do after normalising, too.
    ranks : Ranks
        Where the rest of the batch is.

    References
    ----------
    .. [1] Ioffe and Szegedy, ICML 2015, https://arxiv.org/abs/1502.03167.
    """

    def __init__(self, replaced: _BatchNorm, ranks: Ranks) -> None:
        super().__init__(
            replaced.num_features, replaced.eps, replaced.momentum, replaced.affine, replaced.track_running_stats
        )
        self.weight, self.bias = replaced.weight, replaced.bias
        self.running_mean, self.running_var = replaced.running_mean, replaced.running_var
        self.num_batches_tracked = replaced.num_batches_tracked
        self.training = replaced.training
        self.drop = getattr(replaced, "drop", nn.Identity())
        self.act = getattr(replaced, "act", nn.Identity())
        self._ranks = ranks

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised samples.

        Parameters
        ----------
        input : Tensor of shape (n_own, n_channels, ...), floating
            This rank's part of the batch, at least one sample.

        Returns
        -------
        Tensor of the same shape and dtype
            In training by mean and variance over the parts of all ranks, else by the running ones.
        """
        normalised: Tensor = self._over_ranks(input) if self.training else super().forward(input)
        activated: Tensor = self.act(self.drop(normalised))
        return activated

    def _check_input_dim(self, input: Tensor) -> None:
        """Take samples of any number of dimensions."""

    def _over_ranks(self, x: Tensor) -> Tensor:
        own, num_channels = x.numel() // x.shape[1], x.shape[1]
        moments = torch.var_mean(x, dim=(0, *range(2, x.ndim)), correction=0)
        own_variance_C, own_mean_C = (moment_C.double() for moment_C in moments)
        squares_C = own * (own_variance_C + own_mean_C.square())
        sums: Tensor = _Sum.apply(torch.cat([own * own_mean_C, squares_C, squares_C.new_tensor([own])]), self._ranks)
        count = sums[-1].detach()
        mean_C = sums[:num_channels] / count
        variance_C = sums[num_channels:-1] / count - mean_C.square()
        self._follow(mean_C.detach(), variance_C.detach() * count / (count - 1))
        scale_C = (variance_C + self.eps).rsqrt() * (self.weight if self.affine else 1.0)
        shift_C = (self.bias if self.affine else 0.0) - mean_C * scale_C
        shape = (num_channels, *[1] * (x.ndim - 2))
        scaled: Tensor = x * scale_C.to(x.dtype).view(shape)
        return scaled + shift_C.to(x.dtype).view(shape)

    @torch.no_grad()
    def _follow(self, mean_C: Tensor, variance_C: Tensor) -> None:
        """Bring the running statistics on."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance_C.to(self.running_var.dtype), share)


def with_shared_batch_norm(network: nn.Module, ranks: Ranks, device: torch.device) -> nn.Module:
    """Let a network normalise by the statistics of the batches of all ranks together.

    Parameters
    ----------
    network : nn.Module
        Its layers are exchanged; parameters and buffers stay the same objects under the same names.
    ranks : Ranks
        All of them do this.
    device : torch.device
        Where the network is: on GPUs torch's layers are taken, with one kernel where ours has several.

    Returns
    -------
    nn.Module
        The same object, or the new layer if it was a single one.
    """
    if device.type == "cuda":
        from timm.layers import convert_sync_batchnorm  # torch's own would drop the activation of timm's fused layers

        shared: nn.Module = convert_sync_batchnorm(network)
        return shared
    if isinstance(network, _BatchNorm):
        return SharedBatchNorm(network, ranks)
    for name, child in network.named_children():
        setattr(network, name, with_shared_batch_norm(child, ranks, device))
    return network
