"""Members of tar shards whose bytes do not lie together, in both formats of GNU tar, written byte by byte."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from elfs.data.sources.tar_shards import TarSource
from tests.data_package.test_tar_shards import LIMIT, ids, levels, picture, write


def gnu_sparse(name: str, pieces: list[tuple[int, bytes]], size: int) -> bytes:
    """Return a sparse member as GNU tar's own format has it: up to four pieces are named in the header."""
    data = b"".join(piece for _, piece in pieces)
    member = tarfile.TarInfo(name)
    member.size = len(data)
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    for number, (offset, piece) in enumerate(pieces):
        header[386 + 24 * number : 410 + 24 * number] = b"%011o\0%011o\0" % (offset, len(piece))
    header[483:495] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data + bytes(-len(data) % 512)


def pax_sparse(name: str, pieces: list[tuple[int, bytes]], size: int) -> bytes:
    """Return a sparse member as the extended format 1.0 has it: its data begin with a map."""
    lines = [len(pieces), *(number for offset, piece in pieces for number in (offset, len(piece)))]
    index = "".join(f"{number}\n" for number in lines).encode()
    data = index + bytes(-len(index) % 512) + b"".join(piece for _, piece in pieces)
    member = tarfile.TarInfo(f"GNUSparseFile.0/{name}")
    member.size = len(data)
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name}
    member.pax_headers["GNU.sparse.realsize"] = str(size)
    return member.tobuf(tarfile.PAX_FORMAT) + data + bytes(-len(data) % 512)


@pytest.mark.parametrize("kind", [gnu_sparse, pax_sparse])
def test_sparse_members_are_counted_and_those_behind_them_are_read(
    tmp_path: Path, kind: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    file = io.BytesIO()
    Image.new("L", (64, 64)).save(file, "BMP")
    data = file.getvalue()[:-512] + b"\7" * 512
    member = kind("a.bmp", [(0, data[:1536]), (len(data) - 512, data[-512:])], len(data))
    rest = write(tmp_path / "rest", [("b.png", picture(9))]).read_bytes()
    path = tmp_path / "x.tar"
    path.write_bytes(member + rest)
    with tarfile.open(path) as shard:
        found = shard.extractfile("a.bmp")
        assert found is not None
        assert (shard.getnames(), found.read()) == (["a.bmp", "b.png"], data)
    source = TarSource(path, LIMIT)
    table = source.list()
    assert (ids(table), levels(source, table)) == (["b"], [9])
    assert "1 sparse members are not listed, their bytes do not lie together" in caplog.text
