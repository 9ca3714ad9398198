"""What is kept of a training forward pass: five numbers a sample and epoch instead of its logits.

Shape suffixes: B rows of the batch, C classes.
"""

import torch
from torch import Tensor

__all__ = ["TRACES", "trace_batch"]

TRACES = ("target_probability", "margin", "error_norm", "entropy", "correct")
"""Names of the traces. All float but ``correct``, which is uint8."""


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
