"""When a selection is not to be relied on. Importing this costs no torch."""

from elfs.catalog import SCORES, SELECTORS
from elfs.pipeline.facts import SelectionFacts

__all__ = ["LOW_TRUST", "doubt"]

LOW_TRUST = 0.5
"""Below it a selection that goes by the pseudo-labels alone is not to be relied on (``benchmarks/RESULTS.md``)."""


def doubt(facts: SelectionFacts) -> str | None:
    """Return why a selection is not to be relied on, and what to use instead.

    Parameters
    ----------
    facts : SelectionFacts
        What select says about it.

    Returns
    -------
    str or None
        A sentence or two for people; None where the pseudo-labels deserve trust, are not known to deserve none, or are
        not all that the method goes by.
    """
    reads = SELECTORS[facts.method].reads
    blind = "scores" in reads and "embeddings" not in reads
    if facts.key is not None and SCORES[facts.key].source == "embeddings":
        blind = False
    if not blind or facts.trust is None or facts.trust >= LOW_TRUST:
        return None
    by = ", ".join(f"{name} {value:.2f}" for name, value in sorted(facts.trust_by.items()))
    return (
        f"the pseudo-labels deserve little trust ({by}; 1 would be all there is), and {facts.method} goes by them "
        "alone: it may do worse than chance. Use --method auto, which looks at the images too."
    )
