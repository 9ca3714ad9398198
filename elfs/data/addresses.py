"""Which image of a workspace a path or address means, as other programs write it."""

import base64
import contextlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from urllib.parse import unquote, unquote_plus

import numpy as np
from numpy.typing import NDArray

from elfs.data.decoded_text import from_code_page
from elfs.data.samples import SampleTable
from elfs.data.text_column import TextColumn

__all__ = ["Found", "find_images"]

_ADDRESS = re.compile(
    r"^([a-z][a-z0-9+.-]+://|/data/(local-files|upload)/|/tasks/\d+/(presign|resolve)/)", re.IGNORECASE
)
_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of a file that was uploaded."""

_HALF = re.compile("[\ud800-\udbff]")
"""Half a character, which JSON can hold and no name of a file."""

_NOT_IN_UPLOADS = re.compile(r"[^-\w.]")
_MADE_SUFFIX = ".png"
"""Added to the id where a picture of a data set becomes a file."""


@dataclass(frozen=True)
class Found:
    """Where images are in a workspace.

    Attributes
    ----------
    rows : ndarray of shape (n,), int64
        Row of each; -1 where it is not there, or several could be meant.
    ambiguous : tuple of int
        Positions of those that could be several.
    """

    rows: NDArray[np.int64]
    ambiguous: tuple[int, ...]


def find_images(table: SampleTable, names: Sequence[str], root: str | None = None) -> Found:
    r"""Return which image each of some names means.

    Parameters
    ----------
    table : SampleTable
        The samples.
    names : sequence of str
        Ids; or what ends in one: a path, absolute or below another folder, with ``/`` or ``\``, a web address, an
        address in Label Studio, percent-escapes and all. Or the last part of an id, as far as no other id ends so.
    root : str or None
        Folder of the images: what lies below it is looked for as it is, before its end alone counts.

    Returns
    -------
    Found
        The longest end of a name that is an id counts. Costs one pass over the table, and a second where names are left
        over.
    """
    place = {name: position for position, name in enumerate(dict.fromkeys(names))}
    unique = list(place)
    rows = np.full(len(unique), -1, np.int64)
    for candidates in (_plain, _ends):
        _look_up(table, unique, rows, partial(candidates, root=root))
    several = _by_last_part(table, unique, rows)
    order = np.fromiter((place[name] for name in names), np.int64, len(names))
    return Found(rows[order], tuple(index for index, name in enumerate(names) if place[name] in several))


def _look_up(
    table: SampleTable, names: Sequence[str], rows: NDArray[np.int64], candidates: Callable[[str], Iterable[str]]
) -> None:
    """Fill in the rows of names of which a candidate is an id; the first that is one counts."""
    tried: list[str] = []
    owners: list[int] = []
    for position in np.flatnonzero(rows < 0).tolist():
        found = dict.fromkeys(candidates(names[position]))
        tried += found
        owners += [position] * len(found)
    hits = table.names.find(TextColumn.from_strings(tried))
    for owner, hit in zip(reversed(owners), reversed(hits.tolist()), strict=True):
        if hit >= 0:
            rows[owner] = hit


def _plain(name: str, root: str | None) -> Iterator[str]:
    """Yield what most names are: the id itself, or a path below the folder of the images."""
    name = _whole(name)
    yield name
    if root is not None and name.strip().startswith(root.rstrip("/") + "/"):
        yield name.strip()[len(root.rstrip("/")) + 1 :]


def _ends(name: str, root: str | None) -> Iterator[str]:
    """Yield every end of what a name can stand for, the longest first."""
    for path in _paths(_whole(name)):
        if root is not None and path.startswith(root.rstrip("/") + "/"):
            yield path[len(root.rstrip("/")) + 1 :]
        parts = [part for part in os.path.normpath(path).split("/") if part not in ("", ".", "..")]
        for start in range(len(parts)):
            yield from _with_variants("/".join(parts[start:]))


def _whole(name: str) -> str:
    return name.encode("utf-8", "replace").decode() if _HALF.search(name) else name


def _with_variants(path: str) -> Iterator[str]:
    yield path
    for form in ("NFC", "NFD"):  # one letter or letter and accent: file systems differ
        yield unicodedata.normalize(form, path)
    if path.lower().endswith(_MADE_SUFFIX):
        yield path[: -len(_MADE_SUFFIX)]


def _paths(name: str) -> Iterator[str]:
    """Yield the paths that a name can stand for, without escapes."""
    plain = name.strip()
    for text in dict.fromkeys((plain, plain.removeprefix("'"), from_code_page(plain))):
        if not _ADDRESS.match(text):
            yield text
            if "%" in text:
                yield _unquoted(text)
            if "\\" in text:
                yield text.replace("\\", "/")
            continue
        yield from _paths_of_address(text)


def _paths_of_address(text: str) -> Iterator[str]:
    """Yield the paths that an address can stand for: what ``?d=`` names, what a signed one stands for, or its path."""
    scheme, mark, key = text.partition("://")
    if mark and scheme.lower() not in ("http", "https", "file"):  # object stores: every sign is part of the key
        yield from (key, _unquoted(key))
        return
    path, _, query = text.partition("?")
    for field in query.split("&"):
        name, _, value = field.partition("=")
        if name == "d":
            yield from (_unquoted(value), unquote_plus(value, errors="surrogateescape"), value)
            yield query.partition("d=")[2]
        elif name == "fileuri":  # Label Studio's proxy of an object store
            with contextlib.suppress(ValueError):
                yield from _paths_of_address(base64.urlsafe_b64decode(_unquoted(value) + "==").decode())
    if "d=" not in query:
        yield from (_unquoted(path), path)


def _unquoted(text: str) -> str:
    return unquote(text, errors="surrogateescape")


def _by_last_part(table: SampleTable, names: Sequence[str], rows: NDArray[np.int64]) -> set[int]:
    """Find names that are left over among the last parts of all ids; return positions of those that fit several."""
    wanted: dict[str, list[int]] = {}
    for position in np.flatnonzero(rows < 0).tolist():
        for part in _last_parts(names[position]):
            wanted.setdefault(part, []).append(position)
    fitting: dict[int, set[int]] = {}
    for row, name in enumerate(table.names if wanted else ()):
        last = name.rpartition("/")[2]
        for part in {last, _uploaded(last), PurePosixPath(last).stem}:
            for position in wanted.get(part, ()):
                fitting.setdefault(position, set()).add(row)
    for position, found in fitting.items():
        if len(found) == 1:
            rows[position] = next(iter(found))
    return {position for position, found in fitting.items() if len(found) > 1}


def _last_parts(name: str) -> set[str]:
    found = set()
    for path in _paths(_whole(name)):
        last = path.rstrip("/").rpartition("/")[2]
        if path.lower().endswith(_MADE_SUFFIX):
            found.add(last[: -len(_MADE_SUFFIX)])
        found |= {last, _UPLOADED.sub("", last)}
    return found - {""}


def _uploaded(name: str) -> str:
    """Return what Django makes of the name of an uploaded file."""
    return _NOT_IN_UPLOADS.sub("", name.strip().replace(" ", "_"))
