"""Images to embeddings and nearest neighbours."""

from pathlib import Path

import numpy as np

from elfs.config import EmbedConfig
from elfs.models.concatenated import part_widths
from elfs.parallel.limits import require_rows
from elfs.pipeline.job import Job, Result, StageCode
from elfs.stages.embedding.batches import typical_side
from elfs.stages.embedding.given import copy_embeddings, inspected
from elfs.stages.embedding.listing import Listing, prepare, read_listing, write_listing
from elfs.stages.embedding.pool import Embedded, finish, row_encoder
from elfs.stages.embedding.rows import Failures, check_broken, noted, publish_pieces, require_all
from elfs.stages.embedding.touched import is_current, note_times
from elfs.workspace.pieces import Run

__all__ = ["CODE", "run"]


def run(job: Job, config: EmbedConfig) -> Result:
    """Write samples, embeddings and neighbours, on all ranks together.

    Refused where too many images are broken, fewer than two are left, or there are more ranks than images.
    """
    prepared, ranks = job.prepared, job.runtime.ranks
    assert isinstance(prepared, Listing)
    require_rows(len(prepared.table), ranks)
    return finish(job, config, _found(job, config, prepared))


def _found(job: Job, config: EmbedConfig, prepared: Listing) -> Embedded:
    if config.embeddings is None:
        return _embed(job, config, prepared)
    table, runtime = prepared.table, job.runtime
    image_side, failures, contents = None, Failures(), None
    if prepared.source.has_images:
        failures, contents = inspected(runtime, table, prepared.reader)
    if runtime.ranks.is_first:
        if prepared.source.has_images:
            usable, workers = np.flatnonzero(table.usable()), runtime.workers_for(len(table))
            image_side = typical_side(prepared.reader, usable, num_workers=min(1, workers))
        failures = copy_embeddings(job.draft, table, config, contents) | failures
    name = f"own embeddings ({Path(config.embeddings).name})"
    return Embedded(name, image_side, None, failures, np.zeros(len(table), np.uint8))


def _embed(job: Job, config: EmbedConfig, prepared: Listing) -> Embedded:
    """Make the rows that are not there yet, each rank its share, and put the files of embeddings together."""
    table, runtime, ranks = prepared.table, job.runtime, job.runtime.ranks
    rows, pool = row_encoder(job, config)
    pieces, plan = rows.pieces, None
    if ranks.is_first:
        if pool.difference:
            runtime.warn(f"what --shard has made does not count, it was made in another way: {pool.difference}.")
        for path in pieces.drop_damaged():
            runtime.warn(f"{path.name} is damaged: its images are embedded again.")
        plan = rows.plan((0, len(table)), ranks.size)
    runs: list[Run] = [(start, stop) for start, stop in ranks.broadcast(plan)[ranks.rank]]
    rows.encode(runs, lambda failures: check_broken(table, failures, config.max_broken))
    ranks.wait()
    failures, remarks = Failures(), np.zeros(len(table), np.uint8)
    if ranks.is_first:
        require_all(pieces, len(table))
        failures, remarks = noted(pieces, len(table))
        check_broken(table, failures, config.max_broken)
        publish_pieces(job.draft, pieces, len(table))
    return Embedded(pool.encoder.name, pool.image_side, pool.key, failures, remarks, tuple(part_widths(pool.encoder)))


CODE = StageCode(run, prepare, write_listing, read_listing, is_current, note_times)
