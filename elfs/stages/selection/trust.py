"""What speaks for the pseudo-labels of a workspace and what against them, without a true label."""

from elfs.ops.selection import Pool
from elfs.ops.selection.trust import neighbor_trust
from elfs.pipeline.facts import TrustFacts
from elfs.workspace.workspace import Workspace

__all__ = ["witnesses"]


def witnesses(workspace: Workspace, pool: Pool) -> dict[str, float]:
    """Return how far the pseudo-labels are to be believed, by whom; the least of them is the trust.

    Parameters
    ----------
    workspace : Workspace
        Its manifest says what the heads of the clustering and the proxy networks found.
    pool : Pool
        The images.

    Returns
    -------
    dict of str to float
        Of those that are there, each in [0, 1], higher = more to be believed, to 4 digits: ``neighbors``, how many of
        an image's nearest share its cluster (`neighbor_trust`); ``proxies``, how many pseudo-labels are what proxies
        predict that were not trained on them; ``heads``, how far the heads of the clustering agree. Where people have
        annotated, ``annotations`` alone: how many of what they said agrees with what was learned from the rest.
    """
    labels, proxies = _facts(workspace, "pseudo_labels"), _facts(workspace, "dynamics")
    if labels.estimated_wrong is not None:
        return {"annotations": round(1 - labels.estimated_wrong, 4)}
    found = {}
    if pool.pseudo_labels is not None and pool.neighbors is not None:
        found["neighbors"] = neighbor_trust(pool.pseudo_labels, pool.neighbors)
    found |= {} if proxies.estimated_wrong is None else {"proxies": 1 - proxies.estimated_wrong}
    found |= {} if labels.trust is None else {"heads": labels.trust}
    return {name: round(min(1.0, max(0.0, value)), 4) for name, value in found.items()}


def _facts(workspace: Workspace, artifact: str) -> TrustFacts:
    return workspace.metadata(artifact, TrustFacts) if workspace.has(artifact) else TrustFacts.of({})
