"""What an earlier embed found out about images that have not changed since, so that only the others are embedded."""

import functools
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elfs import __version__
from elfs.config import EmbedConfig
from elfs.data.samples import Outcome, SampleTable
from elfs.data.synthetic.spec import canonical_source
from elfs.errors import CorruptArtifactError
from elfs.pipeline.artifact_facts import EmbeddingsNote
from elfs.pipeline.job import Job
from elfs.source_names import DATASETS
from elfs.workspace.files import digest_json
from elfs.workspace.records import Artifact
from elfs.workspace.tensors import RowArray, load_tensors, save_tensors

__all__ = ["KnownRows", "embedding_key", "find_known_rows", "made_with"]

_PACKAGES = ("pillow", "timm", "torch", "torchvision")
_version = functools.cache(importlib.metadata.version)
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
    contents : RowArray of shape (m,), int64
        Their numbers that equal pictures share.
    table : SampleTable of length m
        Their outcomes.
    remarks : ndarray of shape (m,), uint8
        Their remarks, as bits.
    """

    position: NDArray[np.int64]
    embeddings: RowArray
    contents: RowArray
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


def made_with(job: Job) -> dict[str, str]:
    """Return what an image's embedding depends on besides the source, the encoder and the options.

    Parameters
    ----------
    job : Job
        Its device counts by its kind.

    Returns
    -------
    dict of str to str
        ``device`` and the versions of elfs and of the packages that decode and compute.
    """
    versions = {package: _version(package) for package in _PACKAGES}
    return {"device": job.runtime.device().type, "elfs": __version__} | versions


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
    device, *versions = made_with(job).values()
    source = canonical_source(config.source)
    facts = [source, fingerprint, device, config.batch_size, config.max_pixels, versions]
    return digest_json(facts).removeprefix("sha256:")


def find_known_rows(
    job: Job, table: SampleTable, source: str, key: str, changed: Callable[[], NDArray[np.int64]]
) -> KnownRows | None:
    """Return what can be taken over from the artifacts that are there.

    An image is the same if its id and size are, and its content where its file was written again; one whose size is not
    known, only in a named data set. Nothing can be
    taken over in a run that was forced, from files that are damaged, or where the images lie elsewhere now. Of several
    ranks the first reads the files in full; of several commands that fill one draft, the one that comes first.

    Parameters
    ----------
    job : Job
        Workspace, draft and ranks, all of which call this.
    table : SampleTable
        The new listing.
    source : str
        Where the images come from.
    key : str
        As `embedding_key` gives it; the embeddings that are there must have been made with the same.
    changed : Callable
        Returns rows of the new listing that are other pictures than those that are there.

    Returns
    -------
    KnownRows or None
        None if there is nothing to take over.
    """
    ranks, position, name = job.runtime.ranks, None, None
    entries: dict[str, Artifact] = {}
    if ranks.is_first:
        entries = _comparable(job, key)
        mark = digest_json([key, *(entry.digest for entry in entries.values())]).removeprefix("sha256:")[:16]
        path = job.draft.directory / f"known-{mark}.safetensors"
        if job.draft.is_shared and path.is_file():
            position = load_tensors(path)["position"]
        elif entries and _are_sound(job, entries):
            position = _positions(SampleTable.from_tensors(job.workspace.arrays("samples")), table, source)
            position[changed()] = -1
            if job.draft.is_shared or ranks.size > 1:
                save_tensors(path, {"position": position})
        name = None if position is None else path.name
    name = ranks.broadcast(name)
    if name is None:
        return None
    if position is None:
        position = load_tensors(job.draft.directory / name)["position"]
    if _are_replaced(job, key, entries):
        return None
    tensors = job.workspace.tensors("embeddings")
    samples = job.workspace.arrays("samples")
    if _are_replaced(job, key, entries):
        return None
    columns = (tensors[name] for name in ("embeddings", "content"))
    embeddings, contents = (tensor if isinstance(tensor, RowArray) else RowArray([tensor]) for tensor in columns)
    return KnownRows(position, embeddings, contents, SampleTable.from_tensors(samples), samples["remarks"])


def _comparable(job: Job, key: str) -> dict[str, Artifact]:
    """Return the artifacts that rows can be taken from, by name; empty where nothing in them can be known."""
    manifest = job.workspace.manifest
    names = [name for name in ("embeddings", "samples") if name in manifest.artifacts]
    entries: dict[str, Artifact] = {name: manifest.artifacts[name] for name in names}
    root = None if job.source_root is None else str(job.source_root)
    if job.force or len(entries) < 2 or job.workspace.metadata("embeddings", EmbeddingsNote).key != key:
        return {}
    return entries if manifest.source_root == root else {}


def _are_replaced(job: Job, key: str, entries: dict[str, Artifact]) -> bool:
    """Return whether others have published meanwhile, which who makes a shard must expect: it holds no lock."""
    if not job.draft.is_shared or job.runtime.ranks.size > 1:
        return False
    job.workspace.reload()
    return _comparable(job, key) != entries


def _are_sound(job: Job, entries: dict[str, Artifact]) -> bool:
    try:
        job.workspace.check(entries)
    except CorruptArtifactError as error:
        job.runtime.warn(f"{error.message} All images are embedded again.")
        return False
    return True


def _positions(old: SampleTable, table: SampleTable, source: str) -> NDArray[np.int64]:
    """Return the row in an old table of each image that is the same, else -1."""
    position = np.arange(len(table)) if old.names == table.names else old.names.find(table.names)
    same = (position >= 0) & table.usable() & (old.num_bytes[position] == table.num_bytes)
    same &= np.isin(old.outcome[position], _LASTING)
    if source not in DATASETS:
        same &= table.num_bytes > 0
    return np.where(same, position, -1)
