"""Values that change with the step: learning rates, momenta. Functions of the step alone, so a resumed run agrees."""

import math

__all__ = ["warmup_cosine"]


def warmup_cosine(
    step: int, *, peak: float, final: float, num_steps: int, num_warmup_steps: int = 0, start: float = 0.0
) -> float:
    """Return the value at one step: linear from `start` to `peak`, then half a cosine towards `final`.

    Parameters
    ----------
    step : int
        Step number, from 0.
    peak : float
        Value at the end of the warm-up, in any unit.
    final : float
        Value that the cosine ends in. It may be above `peak`: a teacher's momentum that rises from 0.996 to 1 is
        ``peak=0.996, final=1.0`` without warm-up.
    num_steps : int
        Number of steps, warm-up included.
    num_warmup_steps : int, default 0
        Number of steps of the warm-up, at most `num_steps`.
    start : float, default 0.0
        Value at step 0 where there is a warm-up.

    Returns
    -------
    float
        Value in the unit of `peak`. `final` itself comes at `num_steps`, one step after the last, and ever after.

    Notes
    -----
    The convention of the reference [1]_ (and of DINO, from which it comes): the warm-up's last step already has the
    value `peak`, and so has the cosine's first. With no warm-up this is PyTorch's ``CosineAnnealingLR`` with
    ``T_max=num_steps``.

    References
    ----------
    .. [1] github.com/eltsai/elfs@089444b, ``utils.py``, ``cosine_scheduler`` (MIT).

    Examples
    --------
    >>> [warmup_cosine(step, peak=1.0, final=0.0, num_steps=6, num_warmup_steps=3) for step in (0, 1, 2, 3, 6)]
    [0.0, 0.5, 1.0, 1.0, 0.0]
    """
    if step < num_warmup_steps:
        return start + (peak - start) * step / max(1, num_warmup_steps - 1)
    if step >= num_steps:
        return final
    progress = (step - num_warmup_steps) / (num_steps - num_warmup_steps)
    return final + 0.5 * (peak - final) * (1 + math.cos(math.pi * progress))
