"""What is known of a pool before it is embedded: how many images, how large, how long one takes to read."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from elfs.config import ClusterConfig, DynamicsConfig, EmbedConfig
from elfs.data.bad_image import BadImageError
from elfs.data.embeddings_file import embeddings_shape
from elfs.data.sources import open_source
from elfs.errors import InputDataError, UsageError
from elfs.parallel.runtime import ignore
from elfs.pipeline.facts import EmbedFacts
from elfs.pipeline.source_facts import SourceFacts
from elfs.stages.embedding.encoder import PATCHES
from elfs.workspace.workspace import Workspace

__all__ = ["USUAL_CLUSTERS", "PoolFacts", "facts_before_embed", "facts_of"]

USUAL_CLUSTERS = 10
"""Where nobody knows how many there are before they are counted."""

_IMAGES_READ = 8
"""Images that are read to see how large they are and how long that takes."""


@dataclass(frozen=True, kw_only=True)
class PoolFacts:
    """What the cost of the stages depends on.

    Attributes
    ----------
    num_images : int
        How many there are.
    image_side : int or None
        Short side of a typical one in pixels; None where there are no images.
    channels : {1, 3}
        1 where all are grey.
    dims : int or None
        Width of the embeddings, where it is known already.
    read_seconds : float
        What reading one image takes here.
    num_clusters : int or None
        That its makers drew; None where nobody said.
    found_clusters : int or None
        That cluster found; None where it has not run yet, or runs again.
    cluster : ClusterConfig
        How it is clustered, which other stages depend on, too.
    dynamics : DynamicsConfig
        How its dynamics are recorded, likewise.
    on_cpu : bool
        Whether the stages run on CPUs.
    may_point_one_way : bool
        Whether embeddings may have to be centred, so that clustering looks for their neighbours anew; `patches`
        centres its own.
    """

    num_images: int
    image_side: int | None
    channels: int = 3
    dims: int | None = None
    read_seconds: float = 0.0
    num_clusters: int | None = None
    found_clusters: int | None = None
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    on_cpu: bool = True
    may_point_one_way: bool = True

    @property
    def labelled_clusters(self) -> int:
        """Clusters that there will be labels of: found, asked for, drawn, or as many as is usual."""
        return self.found_clusters or self.cluster.clusters or self.num_clusters or USUAL_CLUSTERS


def facts_of(workspace: Path) -> PoolFacts:
    """Return what a workspace holds.

    Parameters
    ----------
    workspace : Path
        With the record of embed.

    Returns
    -------
    PoolFacts
        As embed noted it.

    Raises
    ------
    MissingUpstreamError
        If nothing was embedded.
    CorruptArtifactError
        If the manifest is damaged.
    """
    found = Workspace.open(workspace)
    facts = found.metadata("samples", SourceFacts)
    shape = found.tensors("embeddings")["embeddings"].shape
    return PoolFacts(
        num_images=shape[0],
        image_side=facts.image_side,
        channels=facts.channels,
        dims=shape[1],
        num_clusters=facts.num_classes,
        may_point_one_way=found.summary("embed", EmbedFacts).encoder != PATCHES,
    )


def facts_before_embed(
    config: EmbedConfig, root: Path | None, tell: Callable[[str], None] = ignore
) -> PoolFacts | None:
    """List a source and read a few images; nothing is fetched.

    Parameters
    ----------
    config : EmbedConfig
        Which source, and how much of it.
    root : Path or None
        Folder or file of the images.
    tell : Callable
        Takes why nothing is known.

    Returns
    -------
    PoolFacts or None
        None where the source cannot be listed here, or nothing of it can be read.
    """
    try:
        if config.embeddings is not None:
            num_rows, dims = embeddings_shape(Path(config.embeddings))
            return PoolFacts(num_images=min(num_rows, config.limit or num_rows), image_side=None, dims=dims)
        source = open_source(config.source, root, files=config.files)
        table = source.list()
        reader, rows = source.reader(table), np.flatnonzero(table.usable())
    except (InputDataError, UsageError, OSError) as error:
        tell(str(error))
        return None
    sides, seconds = [], []
    for row in rows[np.linspace(0, len(rows) - 1, min(len(rows), _IMAGES_READ)).astype(np.int64)]:
        start = time.perf_counter()
        try:
            sides.append(min(reader.read(int(row)).size))
        except BadImageError:
            continue
        seconds.append(time.perf_counter() - start)
    if not sides:
        tell("there is no image that can be read.")
        return None
    return PoolFacts(
        num_images=min(len(rows), config.limit or len(rows)),
        image_side=int(np.median(sides)),
        channels=source.channels,
        read_seconds=float(np.median(seconds)),
        num_clusters=source.num_classes,
    )
