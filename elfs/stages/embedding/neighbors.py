"""The nearest neighbours of every image of a pool, found by all ranks together, resumable, exact or by inverted lists.

Shape suffixes: N rows of the table, Q queries, K neighbours.
"""

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from elfs.config import EmbedConfig, cheaper
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError, UsageError
from elfs.ops.database import Database
from elfs.ops.inverted_lists import build_index, choose_probes, probed_neighbors
from elfs.ops.neighbors import Advance, exact_neighbors, queries_at_once
from elfs.parallel.ranks import Ranks
from elfs.parallel.runtime import Task
from elfs.pipeline.job import Job
from elfs.stages.embedding.rows import require_all
from elfs.train.seeding import generator
from elfs.workspace.files import atomic_write, digest_json, json_bytes, make_directory, storage_errors
from elfs.workspace.pieces import Pieces, Run, deal
from elfs.workspace.tensors import RowArray

__all__ = ["EXACT_ROWS", "FILE_ROWS", "search_method", "write_neighbors"]

FILE_ROWS = 1 << 20
"""Rows of one file of neighbours at most."""

EXACT_ROWS = {"cpu": 200_000, "cuda": 20_000_000}
"""Images up to which ``auto`` compares all pairs, by kind of device."""

_DIGEST_ROWS = 65_536


class _Find(Protocol):
    def __call__(self, queries: Tensor, *, advance: Advance) -> tuple[Tensor, Tensor]:
        """Return positions [Q, K] and cosines [Q, K] of queries in the pool; all ranks call this together."""


@dataclass(frozen=True)
class _Search:
    """What to look for, and how: rows of the pool, how many queries at once, and what takes less."""

    rows: NDArray[np.int64]
    find: _Find
    most: int
    cheaper: str


class _Meter:
    """Turns shares of a piece of work into whole images, and beats."""

    def __init__(self, ranks: Ranks, task: Task, total: int) -> None:
        self._ranks, self._task, self._total, self._done, self._said = ranks, task, total, 0.0, 0

    def advance(self, share: float) -> None:
        self._ranks.beat()
        self._done += share
        done = min(self._total, round(self._done * self._total))
        if done > self._said:
            self._task.advance(done - self._said)
            self._said = done


def write_neighbors(job: Job, table: SampleTable, embeddings: RowArray, config: EmbedConfig) -> dict[str, Any]:
    """Write the neighbours of every image that can be selected, among those images; all ranks call this.

    What is finished stays in the draft, and is not done again by another run with any number of ranks.

    Parameters
    ----------
    job : Job
        Draft and runtime.
    table : SampleTable
        The samples, the same on all ranks.
    embeddings : RowArray of shape (num_rows, dim)
        Of all samples, on a disk that all ranks see.
    config : EmbedConfig
        How many neighbours, how to search, seed.

    Returns
    -------
    dict
        ``neighbors``, how many each image has; ``neighbor_search``, ``exact`` or ``ivf``; for the latter
        ``neighbor_lists``, ``neighbor_probes`` (lists that were looked into) and ``neighbor_recall``, the share of the
        exact neighbours that is found, measured on a sample.

    Raises
    ------
    InputDataError
        If fewer than two images can be selected.
    UsageError
        If inverted lists are asked for and FAISS is not installed.
    StorageError
        If a file cannot be written, or other ranks write somewhere else.
    """
    ranks, rows = job.runtime.ranks, np.flatnonzero(table.eligible())
    if len(rows) < 2:
        raise InputDataError(f"only {len(rows)} usable training images: neighbours need at least 2.")
    k = min(config.neighbors, len(rows) - 1)
    if k < config.neighbors != EmbedConfig().neighbors and ranks.is_first:
        job.runtime.warn(
            f"{len(rows):,} images have at most {k} neighbours: --neighbors {config.neighbors} is too many."
        )
    facts: dict[str, Any] = {"neighbors": k, "neighbor_search": search_method(job, config.neighbor_search, len(rows))}
    decides = facts | {"seed": config.seed, "rows": hashlib.sha256(rows.tobytes()).hexdigest()}
    mark = digest_json(decides | {"embeddings": _digest(embeddings, ranks)}).removeprefix("sha256:")[:16]
    pieces = Pieces(job.draft.directory / "pieces" / "neighbors", mark)
    database = Database(embeddings, device=job.runtime.device(), rows=rows, ring=ranks)
    find: _Find = partial(exact_neighbors, database, k=k, ring=ranks)
    if facts["neighbor_search"] == "ivf":
        index = pieces.directory / f"{mark}.index"
        facts |= ranks.broadcast(_index(job, database, k, config.seed, index) if ranks.is_first else None)
        find = partial(probed_neighbors, _opened(index), database, k=k, num_probes=facts["neighbor_probes"])
    less = cheaper.than_exact_neighbors() if facts["neighbor_search"] == "exact" else cheaper.FEWER_IMAGES
    _fill(job, pieces, table.eligible(), _Search(rows, find, queries_at_once(database.num_dims, k), less))
    if ranks.is_first:
        require_all(pieces, len(table))
        count = -(-len(table) // FILE_ROWS)
        for number, (_, tensors) in enumerate(pieces.blocks(len(table), FILE_ROWS)):
            job.draft.save("neighbors", tensors, shard=(number, count) if count > 1 else None)
    return facts


def search_method(job: Job, wanted: str, num_rows: int) -> str:
    """Return how neighbours are searched for.

    Parameters
    ----------
    job : Job
        Its device decides, and is warned for.
    wanted : {"auto", "exact", "ivf"}
        As ``--neighbor-search`` takes it.
    num_rows : int
        Images that are compared.

    Returns
    -------
    str
        ``exact`` or ``ivf``.

    Raises
    ------
    UsageError
        If inverted lists are asked for and FAISS is not installed.
    """
    most = EXACT_ROWS["cpu" if job.runtime.device().type == "cpu" else "cuda"]
    if wanted == "exact" or (wanted == "auto" and num_rows <= most):
        return "exact"
    if importlib.util.find_spec("faiss") is not None:
        return "ivf"
    if wanted == "ivf":
        raise UsageError("--neighbor-search ivf needs FAISS, which is not installed.", hint="pip install faiss-cpu")
    if job.runtime.ranks.is_first:
        job.runtime.warn(
            f"{num_rows:,} images are compared in all pairs, which takes long. pip install faiss-cpu: it finds nearly "
            "all neighbours sooner."
        )
    return "exact"


def _digest(embeddings: RowArray, ranks: Ranks) -> str:
    """Return what changes with any embedding, whatever the number of ranks and files; each rank reads a part."""
    starts = range(0, len(embeddings), _DIGEST_ROWS)
    mine = []
    with ranks.working():
        for start in starts[slice(*ranks.part(len(starts)))]:
            block = embeddings.read(start, min(start + _DIGEST_ROWS, len(embeddings)))
            mine.append(hashlib.sha256(block.tobytes()).hexdigest())
            ranks.beat()
    return digest_json([digest for part in ranks.collect(mine) for digest in part])


def _index(job: Job, database: Database, k: int, seed: int, path: Path) -> dict[str, Any]:
    """Write inverted lists, unless they are there, and return how many and how good they are; for one rank."""
    faiss = importlib.import_module("faiss")  # its types lack what is used here
    note = path.with_suffix(".index.json")
    if note.is_file():
        found: dict[str, Any] = json.loads(note.read_bytes())
        return found
    with job.runtime.progress.task("embed: inverted lists", len(database), "images") as task:
        meter = _Meter(job.runtime.ranks, task, len(database))
        index = build_index(database, generator(seed, "neighbors", "lists"), advance=meter.advance)
        make_directory(path.parent)
        with atomic_write(path) as file:
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
    num_probes, recall = choose_probes(_opened(path), database, k, generator(seed, "neighbors", "sample"))
    found = {"neighbor_lists": index.nlist, "neighbor_probes": num_probes, "neighbor_recall": round(recall, 6)}
    with atomic_write(note) as file:
        file.write(json_bytes(found))
    return found


def _opened(path: Path) -> Any:
    """Return inverted lists that stay on the disk."""
    faiss = importlib.import_module("faiss")
    with storage_errors("read", path):
        path.stat()  # FAISS's own message is no OSError
    return faiss.read_index(str(path), faiss.IO_FLAG_MMAP)


def _fill(job: Job, pieces: Pieces, eligible_N: NDArray[np.bool_], search: _Search) -> None:
    """Find the neighbours that are not there yet, in rounds: in each, every rank has one run of images, maybe empty."""
    ranks, rows, told = job.runtime.ranks, search.rows, None
    if ranks.is_first:
        for path in pieces.drop_damaged():
            job.runtime.warn(f"{path.name} is damaged: its neighbours are looked for again.")
        told = pieces.missing(len(eligible_N))
    missing: list[Run] = [(start, stop) for start, stop in ranks.broadcast(told)]
    num_missing = sum(int(np.count_nonzero(eligible_N[start:stop])) for start, stop in missing)
    num_rounds = -(-num_missing // (ranks.size * search.most)) or min(1, len(missing))
    plan = deal(missing, ranks.size * num_rounds, most=len(eligible_N), weighs=eligible_N) if missing else []
    with job.runtime.long_task("embed: neighbours", len(rows), "images", search.cheaper) as task:
        task.resume(len(rows) - num_missing)
        for number in range(num_rounds):
            meter = _Meter(ranks, task, num_missing * (number + 1) // num_rounds - num_missing * number // num_rounds)
            runs = plan[ranks.rank * num_rounds + number]
            bounds = [tuple(np.searchsorted(rows, run).tolist()) for run in runs]
            queries = torch.cat([torch.arange(0), *(torch.arange(*bound) for bound in bounds)])
            with ranks.working():
                positions_QK, cosine_QK = search.find(queries, advance=meter.advance)
                ends = np.cumsum([last - first for first, last in bounds])[:-1].tolist()
                parts = zip(runs, positions_QK.tensor_split(ends), cosine_QK.tensor_split(ends), strict=True)
                for run, positions, cosine in parts if runs else ():
                    pieces.save(run, _tensors(rows, run, positions, cosine))
                    ranks.beat()
            ranks.wait()  # the next round is in lockstep, however long this one took elsewhere


def _tensors(rows: NDArray[np.int64], run: Run, positions_QK: Tensor, cosine_QK: Tensor) -> dict[str, np.ndarray]:
    """Return a run of rows of the artifact."""
    start, stop = run
    own = rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)] - start
    kind = np.int32 if rows[-1] < 2**31 else np.int64
    indices = np.full((stop - start, positions_QK.shape[1]), -1, dtype=kind)
    similarity = np.full(indices.shape, np.nan, dtype=np.float32)
    indices[own] = rows[positions_QK.numpy()]
    similarity[own] = cosine_QK.numpy()
    return {"indices": indices, "similarity": similarity}
