"""Digests of listings and of pictures, and numbers that belong to a sample's id wherever its row lies."""

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from elfs.data.samples import SampleTable

__all__ = ["NO_CONTENT", "content_of_pixels", "content_of_rows", "id_hashes", "listing_digest"]

NO_CONTENT = 0
"""Stands where there is no content to be told from others."""

_BLOCK_ROWS = 65_536


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
    keyed = hashlib.blake2b(digest_size=8, key=seed.to_bytes(8, "little"))
    hashes = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), _BLOCK_ROWS):
        block, digests = rows[start : start + _BLOCK_ROWS], []
        for name in table.names.encoded_rows(block):
            digest = keyed.copy()  # two thirds of the time of a new one
            digest.update(name)
            digests.append(digest.digest())
        hashes[start : start + len(block)] = np.frombuffer(b"".join(digests), dtype="<i8")
    return hashes


def content_of_pixels(image: Image.Image) -> int:
    """Return a number that equal pictures share, in whatever file they come.

    Parameters
    ----------
    image : PIL.Image.Image
        Mode RGB, upright, at its own size.

    Returns
    -------
    int
        The first 8 bytes of SHA-256 of the size and the pixels, in int64 without `NO_CONTENT`. Two of ten million
        different pictures share theirs with a chance of 3 in a million.
    """
    return _number(hashlib.sha256(f"{image.width} {image.height} {image.mode} ".encode() + image.tobytes()))


def content_of_rows(embeddings: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return a number for each row that equal rows share, where there is no picture to look at.

    Parameters
    ----------
    embeddings : ndarray of shape (n, dim), floating
        Rows; one that is not finite has `NO_CONTENT`.

    Returns
    -------
    ndarray of shape (n,), int64
        As of `content_of_pixels`, of a row's bytes; minus zero counts as zero.
    """
    rows = np.ascontiguousarray(embeddings) + embeddings.dtype.type(0)
    numbers = [_number(hashlib.sha256(row.tobytes())) for row in rows]
    return np.where(np.isfinite(embeddings).all(axis=1), np.array(numbers, np.int64), NO_CONTENT)


def _number(digest: "hashlib._Hash") -> int:
    return int.from_bytes(digest.digest()[:8], "little", signed=True) or 1
