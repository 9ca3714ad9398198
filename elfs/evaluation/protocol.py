"""How networks are trained, in words for people."""

from collections.abc import Mapping
from typing import Any

__all__ = ["protocol_text"]


def protocol_text(facts: Mapping[str, Any]) -> str:
    """Return in a few words how networks are trained.

    Parameters
    ----------
    facts : mapping
        With ``network`` and ``iterations``, as `elfs.evaluation.training.Trainer.facts` has them.

    Returns
    -------
    str
        Network, steps, which iterate.
    """
    if facts["network"] == "linear":
        return f"linear, to the minimum of the loss in at most {facts['iterations']:,} iterations of L-BFGS"
    return f"{facts['network']}, {facts['iterations']:,} iterations whatever the budget, last iterate"
