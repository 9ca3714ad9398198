"""``elfs cluster``."""

from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._stage import run_stage

__all__ = ["EXAMPLES", "body"]

EXAMPLES = ("elfs cluster --clusters 10", "elfs cluster --method kmeans")


@command("cluster")
def body(invocation: Invocation) -> None:
    """Group the embeddings: by the graph of neighbours, with many small heads (TEMI), or with k-means."""
    run_stage(invocation, "cluster", invocation.config("cluster"))
