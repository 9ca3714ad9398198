"""Digests of listings, and numbers that belong to a sample's id wherever its row lies."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from elfs.data.samples import SampleTable

__all__ = ["id_hashes", "listing_digest"]


def listing_digest(table: SampleTable) -> str:
    """Return what changes when a file is added, removed, renamed or changes its size.

    Parameters
    ----------
    table : SampleTable
        The samples.

    Returns
    -------
    str
        ``sha256:<hex>`` of ids, splits and sizes; the same before and after decoding.
    """
    digest = hashlib.sha256()
    for part in table.digest_parts():
        digest.update(part)
    return f"sha256:{digest.hexdigest()}"


def id_hashes(table: SampleTable, rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return a random-looking number for each id.

    Parameters
    ----------
    table : SampleTable
        The samples.
    rows : ndarray of shape (m,), int64
        Rows that are wanted.
    seed : int
        Another seed gives other numbers.

    Returns
    -------
    ndarray of shape (m,), int64
        The first 8 bytes of BLAKE2b keyed with the seed: a function of id and seed alone, on every machine.
    """
    key = seed.to_bytes(8, "little")
    hashes = (hashlib.blake2b(table.names.encoded(row), digest_size=8, key=key).digest() for row in rows.tolist())
    return np.frombuffer(b"".join(hashes), dtype="<i8").astype(np.int64)
