"""What an earlier embed found out about images that have not changed since, so that only the others are embedded."""

import importlib.metadata
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elfs import __version__
from elfs.catalog import DATASETS
from elfs.config import EmbedConfig
from elfs.data.samples import Outcome, SampleTable
from elfs.data.synthetic.spec import canonical_source
from elfs.stages.job import Job
from elfs.workspace.files import digest_json
from elfs.workspace.reading import artifact_problems
from elfs.workspace.tensors import RowArray

__all__ = ["KnownRows", "embedding_key", "find_known_rows"]

_PACKAGES = ("pillow", "timm", "torch", "torchvision")
_LASTING = (Outcome.OK, Outcome.BROKEN, Outcome.TOO_LARGE)
"""Outcomes that the same bytes have again; a missing decoder or file may have come since."""


@dataclass(frozen=True)
class KnownRows:
    """Rows of a new listing that are rows of the artifacts that are there.

    Attributes
    ----------
    position : ndarray of shape (n,), int64
        Row of each in those artifacts; -1 where it must be embedded.
    embeddings : RowArray of shape (m, dim), float16
        Of all their rows.
    table : SampleTable of length m
        Their outcomes.
    remarks : ndarray of shape (m,), uint8
        Their remarks, as bits.
    """

    position: NDArray[np.int64]
    embeddings: RowArray
    table: SampleTable
    remarks: NDArray[np.uint8]

    def failures(self, rows: NDArray[np.int64]) -> dict[int, tuple[Outcome, str]]:
        """Return which images have no embedding.

        Parameters
        ----------
        rows : ndarray of shape (k,), int64
            Known rows of the new listing.

        Returns
        -------
        dict of int to (Outcome, str)
            Row of the new listing to what became of it and why.
        """
        reasons, position = self.table.reasons(), self.position[rows]
        failed = self.table.outcome[position] != Outcome.OK
        pairs = zip(rows[failed].tolist(), position[failed].tolist(), strict=True)
        return {row: (Outcome(self.table.outcome[old]), reasons[old]) for row, old in pairs}


def embedding_key(job: Job, config: EmbedConfig, fingerprint: str) -> str:
    """Return what changes with anything that decides what an image becomes.

    Parameters
    ----------
    job : Job
        Its device counts by its kind.
    config : EmbedConfig
        The source, batch size and limit of pixels count.
    fingerprint : str
        Of the encoder.

    Returns
    -------
    str
        64 hexadecimal digits. Versions of elfs, Pillow, timm, torch and torchvision count too.
    """
    versions = [__version__, *(importlib.metadata.version(package) for package in _PACKAGES)]
    source = canonical_source(config.source)
    facts = [source, fingerprint, job.runtime.device().type, config.batch_size, config.max_pixels, versions]
    return digest_json(facts).removeprefix("sha256:")


def find_known_rows(job: Job, table: SampleTable, source: str, key: str) -> KnownRows | None:
    """Return what can be taken over from the artifacts that are there.

    An image is the same if its id and size are; one whose size is not known, only in a named data set. Nothing can be
    taken over in a run that was forced, from files that are damaged, or where the images lie elsewhere now.

    Parameters
    ----------
    job : Job
        Workspace and draft.
    table : SampleTable
        The new listing.
    source : str
        Where the images come from.
    key : str
        As `embedding_key` gives it; the embeddings that are there must have been made with the same.

    Returns
    -------
    KnownRows or None
        None if there is nothing to take over.
    """
    manifest = job.workspace.manifest
    entries = {name: manifest.artifacts[name] for name in ("embeddings", "samples") if name in manifest.artifacts}
    root = None if job.source_root is None else str(job.source_root)
    if job.force or len(entries) < 2 or entries["embeddings"].metadata.get("key") != key:
        return None
    if manifest.source_root != root:
        return None
    for name, entry in entries.items():
        for _, problem in artifact_problems(job.workspace.path, name, entry):
            job.runtime.warn(f"{problem} All images are embedded again.")
            return None
    tensors = job.workspace.tensors("embeddings")["embeddings"]
    samples = job.workspace.arrays("samples")
    old = SampleTable.from_tensors(samples)
    position = np.arange(len(table)) if old.names == table.names else old.names.find(table.names)
    same = (position >= 0) & table.usable() & (old.num_bytes[position] == table.num_bytes)
    same &= np.isin(old.outcome[position], _LASTING)
    if source not in DATASETS:
        same &= table.num_bytes > 0
    embeddings = tensors if isinstance(tensors, RowArray) else RowArray([tensors])
    return KnownRows(np.where(same, position, -1), embeddings, old, samples["remarks"])
