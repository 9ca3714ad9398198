"""A training step as one launch: on a GPU its hundreds of kernels are recorded once for each shape, then replayed.

Small networks on a fast GPU otherwise wait for the CPU, which takes about 7 microseconds to launch each kernel.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from elfs.parallel.ranks import Ranks

__all__ = ["RecordedStep", "changing_rate", "recording_device", "set_rate"]

_WARM_UPS = 3
"""Steps of a shape before it is recorded: optimisers make their state, libraries choose their kernels."""

Replay = Callable[[], Tensor]


def recording_device(device: torch.device, ranks: Ranks) -> torch.device | None:
    """Return where steps can be recorded.

    Parameters
    ----------
    device : torch.device
        Where they are computed.
    ranks : Ranks
        What takes them together.

    Returns
    -------
    torch.device or None
        The GPU, where one process takes them; None elsewhere, for several wait for each other in between.
    """
    return device if device.type == "cuda" and ranks.size == 1 else None


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

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._stream = torch.cuda.Stream()
            self._pool = torch.cuda.graph_pool_handle()

    @property
    def has_room(self) -> bool:
        """Whether the memory holds a recording beside a step of another shape, which takes as much once more."""
        free = torch.cuda.mem_get_info(self._device)[0] + torch.cuda.memory_reserved(self._device)
        return 2 * torch.cuda.max_memory_allocated(self._device) <= free

    def warm_up(self, step: Callable[[], Tensor]) -> Tensor:
        """Take the step on the stream that recordings are made on: gradients remember theirs."""
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                found = step()
            torch.cuda.current_stream().wait_stream(self._stream)
        return found

    def record(self, step: Callable[[], Tensor]) -> Replay:
        """Return what takes the step again; recording alone takes none."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            found = step()

        def replay() -> Tensor:
            with torch.cuda.device(self._device):
                graph.replay()
            return found

        return replay


class RecordedStep:
    """A step of a training, which a GPU is sent as a whole.

    Parameters
    ----------
    device : torch.device or None
        The GPU that steps are recorded on; None: they are not, see `recording_device`.
    """

    def __init__(self, device: torch.device | None) -> None:
        self._recorder = None if device is None else _CudaRecorder(device)
        self._calls: dict[tuple[torch.Size, ...], int] = {}
        self._recorded: dict[tuple[torch.Size, ...], tuple[tuple[Tensor, ...], Replay]] = {}

    def __call__(self, step: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Take a step.

        Parameters
        ----------
        step : Callable
            Takes the inputs and returns a tensor; the same each time. It is not kept: it would keep its owner, and so
            this. What it reads and writes besides its inputs stays in the same memory from step to step, numbers that
            change among them in tensors; it neither waits for the GPU nor draws from a generator of the CPU.
        *inputs : Tensor
            Of any shapes. Each that comes often is recorded, where the GPU has room for it.

        Returns
        -------
        Tensor
            What the step returns; on a GPU the next step writes over it.
        """
        if self._recorder is None:
            return step(*inputs)
        shapes = tuple(tensor.shape for tensor in inputs)
        self._calls[shapes] = self._calls.get(shapes, 0) + 1
        if self._calls[shapes] <= _WARM_UPS:
            return self._recorder.warm_up(lambda: step(*inputs))
        if not self._recorded and not self._recorder.has_room:
            self._recorder = None
            return step(*inputs)
        if shapes not in self._recorded:
            kept = tuple(tensor.clone() for tensor in inputs)
            self._recorded[shapes] = kept, self._recorder.record(lambda: step(*kept))
        kept, replay = self._recorded[shapes]
        for place, tensor in zip(kept, inputs, strict=True):
            place.copy_(tensor)
        return replay()
