"""A training step as one launch: on a GPU its hundreds of kernels are recorded once for each shape, then replayed.

Small networks on a fast GPU otherwise wait for the CPU, which takes about 7 microseconds to launch each kernel.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from elfs.parallel.ranks import Ranks

__all__ = ["RecordedStep", "can_record", "changing_rate", "set_rate"]

_WARM_UPS = 3
"""Steps of a shape before it is recorded: optimisers make their state, libraries choose their kernels."""

Replay = Callable[[], Tensor]


def can_record(device: torch.device, ranks: Ranks) -> bool:
    """Return whether steps can be recorded.

    Parameters
    ----------
    device : torch.device
        Where they are computed.
    ranks : Ranks
        What takes them together.

    Returns
    -------
    bool
        On a GPU, where one process takes them: several wait for each other in between.
    """
    return device.type == "cuda" and ranks.size == 1


def changing_rate(rate: float, device: torch.device) -> float | Tensor:
    """Return a learning rate for an optimiser whose steps may be recorded.

    Parameters
    ----------
    rate : float
        At first; see `set_rate`.
    device : torch.device
        Where the parameters are.

    Returns
    -------
    float or Tensor
        On a GPU a tensor, which a recorded step reads anew.
    """
    return torch.tensor(rate, device=device) if device.type == "cuda" else rate


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Change the learning rate of all parameters.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        Made with `changing_rate`.
    rate : float
        From the next step on.
    """
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


class _CudaRecorder:
    """Records what a step does with its inputs, and does it again; all recordings share their memory."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, step: Callable[[], Tensor]) -> Tensor:
        """Take the step on the stream that recordings are made on: gradients remember theirs."""
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            found = step()
        torch.cuda.current_stream().wait_stream(self._stream)
        return found

    def record(self, step: Callable[[], Tensor]) -> Replay:
        """Return what takes the step again; recording alone takes none."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            found = step()

        def replay() -> Tensor:
            graph.replay()
            return found

        return replay


class RecordedStep:
    """A step of a training, which a GPU is sent as a whole.

    What the step reads and writes besides its inputs stays in the same memory from step to step, numbers that change
    among them in tensors; it neither waits for the GPU nor draws from a generator of the CPU.

    Parameters
    ----------
    step : Callable
        Takes tensors and returns one.
    is_recorded : bool
        Whether steps are recorded, which needs tensors on a GPU and one process; else `step` is called each time.
    """

    def __init__(self, step: Callable[..., Tensor], *, is_recorded: bool) -> None:
        self._step = step
        self._recorder = _CudaRecorder() if is_recorded else None
        self._calls: dict[tuple[torch.Size, ...], int] = {}
        self._recorded: dict[tuple[torch.Size, ...], tuple[tuple[Tensor, ...], Replay]] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Take a step.

        Parameters
        ----------
        *inputs : Tensor
            Of any shapes. Each that comes often is recorded.

        Returns
        -------
        Tensor
            What the step returns; on a GPU the next step writes over it.
        """
        if self._recorder is None:
            return self._step(*inputs)
        shapes = tuple(tensor.shape for tensor in inputs)
        self._calls[shapes] = self._calls.get(shapes, 0) + 1
        if self._calls[shapes] <= _WARM_UPS:
            return self._recorder.warm_up(lambda: self._step(*inputs))
        if shapes not in self._recorded:
            kept = tuple(tensor.clone() for tensor in inputs)
            self._recorded[shapes] = kept, self._recorder.record(lambda: self._step(*kept))
        kept, replay = self._recorded[shapes]
        for place, tensor in zip(kept, inputs, strict=True):
            place.copy_(tensor)
        return replay()
