"""When a selection is not to be relied on. Importing this costs no torch."""

from collections.abc import Mapping
from typing import Any

from elfs.catalog import SCORES, SELECTORS

__all__ = ["LOW_TRUST", "doubt"]

LOW_TRUST = 0.5
"""Below it a selection that goes by the pseudo-labels alone is not to be relied on (``benchmarks/RESULTS.md``)."""


def doubt(summary: Mapping[str, Any]) -> str | None:
    """Return why a selection is not to be relied on, and what to use instead.

    Parameters
    ----------
    summary : mapping
        What select says about it.

    Returns
    -------
    str or None
        A sentence or two for people; None where the pseudo-labels deserve trust, are not known to deserve none, or are
        not all that the method goes by.
    """
    method, key = summary["method"], summary.get("key")
    blind = "scores" in SELECTORS[method].reads and "embeddings" not in SELECTORS[method].reads
    if not blind or summary.get("trust", 1.0) >= LOW_TRUST or (key is not None and SCORES[key].source == "embeddings"):
        return None
    by = ", ".join(f"{name} {value:.2f}" for name, value in sorted(summary["trust_by"].items()))
    return (
        f"the pseudo-labels deserve little trust ({by}; 1 would be all there is), and {method} goes by them alone: it "
        "may do worse than chance. Use --method auto, which looks at the images too."
    )
