"""What is kept of a training forward pass: five numbers a sample and epoch instead of its logits.

Shape suffixes: B rows of the batch, C classes, N samples, P proxies.
"""

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["HALVED", "SPREADS", "TRACES", "TraceSums", "pairwise_agreement", "trace_batch"]

TRACES = ("target_probability", "margin", "error_norm", "entropy", "correct")
"""Names of the traces. All float but ``correct``, which is uint8."""

SPREADS = ("target_probability", "margin", "error_norm", "entropy")
"""Names of the traces whose spread over several proxies is kept."""

HALVED = ("target_probability", "margin")
"""Names of the traces of which it is kept how far one half of several proxies differs from the other."""


@torch.no_grad()
def trace_batch(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return how well each row of a batch is learned, with ``p = softmax(logits)`` and ``y`` its pseudo-label.

    Parameters
    ----------
    logits : Tensor of shape (n_rows, n_classes), floating
        Network outputs before softmax; computed with in float32. One class is allowed.
    labels : Tensor of shape (n_rows,), int64
        Pseudo-labels in ``[0, n_classes)``, on the device of `logits`.

    Returns
    -------
    dict of str to Tensor of shape (n_rows,)
        Without gradient, on the device of `logits`; float32 but for the last:

        - ``target_probability``: ``p_y`` in [0, 1]; lower = harder.
        - ``margin``: ``p_y`` minus the largest other, in [-1, 1]; lower = harder. 1 where there is one class.
        - ``error_norm``: Euclidean norm of ``p - onehot(y)``, in [0, sqrt(2)]; higher = harder.
        - ``entropy``: of ``p`` in nats, in [0, log(n_classes)]; higher = harder.
        - ``correct``: uint8, 1 where ``y`` is the prediction (the first of several largest logits), else 0.

    Notes
    -----
    The margin is one of probabilities, as in the reference [1]_; the paper that named the area under the margin [2]_
    takes logits, which can rank differently.

    References
    ----------
    .. [1] github.com/eltsai/elfs@089444b, ``generate_importance_score.py`` (MIT).
    .. [2] Pleiss et al., NeurIPS 2020, https://arxiv.org/abs/2001.10528.

    Examples
    --------
    >>> trace_batch(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]))["margin"]
    tensor([ 0.7616, -0.7616])
    """
    logits_BC = logits.float()
    index_B1 = labels.unsqueeze(1)
    probability_BC = torch.softmax(logits_BC, dim=1)
    target_B = probability_BC.gather(1, index_B1).squeeze(1)
    best_other_B = probability_BC.scatter(1, index_B1, 0.0).amax(dim=1)
    error_BC = probability_BC.scatter_add(1, index_B1, torch.full_like(index_B1, -1, dtype=torch.float32))
    return {
        "target_probability": target_B,
        "margin": target_B - best_other_B,
        "error_norm": torch.linalg.vector_norm(error_BC, dim=1),
        "entropy": torch.special.entr(probability_BC).sum(dim=1),
        "correct": (logits_BC.argmax(dim=1) == labels).to(torch.uint8),
    }


class TraceSums:
    """What several proxies say of the samples in one epoch, added up: mean and spread, whatever the number of proxies.

    Parameters
    ----------
    num_samples : int
        N.
    device : torch.device
        Where the sums are.
    """

    def __init__(self, num_samples: int, device: torch.device) -> None:
        self._count_N = torch.zeros(num_samples, dtype=torch.int32, device=device)
        self._sums = {name: torch.zeros(num_samples, device=device) for name in TRACES}
        self._squares = {name: torch.zeros(num_samples, device=device) for name in SPREADS}
        self._contrasts = {name: torch.zeros(num_samples, device=device) for name in HALVED}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "TraceSums":
        """Return the sums that `tensors` gave.

        Parameters
        ----------
        tensors : mapping of str to Tensor
            What `tensors` of another one returned; used, not copied.

        Returns
        -------
        TraceSums
            Equal to the other one.
        """
        found = cls(0, tensors["count"].device)
        found._count_N = tensors["count"]
        found._sums = {name: tensors[name] for name in TRACES}
        found._squares = {name: tensors[f"{name}_squares"] for name in SPREADS}
        found._contrasts = {name: tensors[f"{name}_contrast"] for name in HALVED}
        return found

    def tensors(self) -> dict[str, Tensor]:
        """Return the sums as plain tensors.

        Returns
        -------
        dict of str to Tensor of shape (n_samples,)
            On the CPU: ``count`` int32, the sum of each trace and, as ``<trace>_squares``, of the squares, float32; as
            ``<trace>_contrast`` the sum over the first half of the proxies without that over the other.
        """
        more = {f"{name}_squares": value for name, value in self._squares.items()}
        more |= {f"{name}_contrast": value for name, value in self._contrasts.items()}
        return {name: value.cpu() for name, value in ({"count": self._count_N} | self._sums | more).items()}

    def add(self, positions: Tensor, traces: Mapping[str, Tensor], halves: Tensor) -> None:
        """Count what some proxies say.

        Parameters
        ----------
        positions : Tensor of shape (n_rows,), int64
            Different samples.
        traces : mapping of str to Tensor of shape (n_proxies, n_rows)
            What ``trace_batch`` makes of them for each of the proxies.
        halves : Tensor of shape (n_proxies,), float32
            1 for proxies of the first half, -1 for those of the other; on the sums' device.
        """
        self._count_N[positions] += len(traces["margin"])
        for name, total_N in self._sums.items():
            total_N[positions] += traces[name].sum(dim=0)
        for name, total_N in self._squares.items():
            total_N[positions] += traces[name].square().sum(dim=0)
        for name, total_N in self._contrasts.items():
            total_N[positions] += halves @ traces[name].float()

    def join(self, other: "TraceSums") -> None:
        """Count what other proxies say of the same samples.

        Parameters
        ----------
        other : TraceSums
            Their sums, on the same device.
        """
        self._count_N += other._count_N
        for name in TRACES:
            self._sums[name] += other._sums[name]
        for name in SPREADS:
            self._squares[name] += other._squares[name]
        for name in HALVED:
            self._contrasts[name] += other._contrasts[name]

    def means(self) -> dict[str, Tensor]:
        """Return the mean of every trace over the proxies.

        Returns
        -------
        dict of str to Tensor of shape (n_samples,), float32
            As in ``trace_batch``; ``correct`` is the share of the proxies in [0, 1]. NaN where none counted.
        """
        return {name: total_N / self._count_N for name, total_N in self._sums.items()}

    def variances(self) -> dict[str, Tensor]:
        """Return the variance of the traces over the proxies.

        Returns
        -------
        dict of str to Tensor of shape (n_samples,), float32
            Of all traces but ``correct``: squared distance from the mean, divided by the number of proxies. NaN where
            none counted.
        """
        means = self.means()
        return {
            name: (total_N / self._count_N - means[name].square()).clamp_min(0)
            for name, total_N in self._squares.items()
        }

    def differences(self) -> dict[str, Tensor]:
        """Return how far the two halves of the proxies, of equally many, differ.

        Returns
        -------
        dict of str to Tensor of shape (n_samples,), float32
            Of the traces of ``HALVED``: mean over the first half without that over the other, in [-2, 2]. NaN where
            none counted.

        Notes
        -----
        Half of it has the variance of the mean over all proxies, sigma^2 / P, if these are drawn independently of each
        other; also what the errors of two samples, or of two epochs, have to do with each other is that of the means.
        """
        return {name: 2 * total_N / self._count_N for name, total_N in self._contrasts.items()}


def pairwise_agreement(predicted: Tensor) -> Tensor:
    """Return how often two proxies predict the same for a sample, over all pairs of them.

    Parameters
    ----------
    predicted : Tensor of shape (n_proxies, n_samples), int32
        What each predicts; negative where it says nothing.

    Returns
    -------
    Tensor of shape (n_samples,), float32
        Share of the pairs that agree, in [0, 1]; higher = surer. NaN where fewer than two say something.
    """
    ordered_PN = predicted.sort(dim=0).values
    same_N = torch.zeros(predicted.shape[1])
    run_N = torch.zeros(predicted.shape[1])
    for below_N, above_N in itertools.pairwise(ordered_PN):
        run_N = torch.where((above_N == below_N) & (above_N >= 0), run_N + 1, 0.0)
        same_N += run_N  # the new one of a run of equals makes a pair with each before it
    count_N = (predicted >= 0).sum(dim=0)
    return same_N / (count_N * (count_N - 1) / 2)
