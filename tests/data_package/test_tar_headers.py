"""Headers of tar files that are odd, and what a list of members does with them."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from elfs.data.sources.tar_shards import TarSource
from elfs.errors import InputDataError

BLOCK = 512
END = bytes(2 * BLOCK)
LONG_NAME = b"././@LongLink"


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


def header(name: bytes, size: bytes | int, kind: bytes = b"0", fields: dict[int, bytes] | None = None) -> bytes:
    block = bytearray(BLOCK)
    block[: len(name)] = name
    block[124:136] = b"%011o\0" % size if isinstance(size, int) else size
    block[156:157] = kind
    block[257:263] = b"ustar\0"
    for place, value in (fields or {}).items():
        block[place : place + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def member(name: bytes, data: bytes, kind: bytes = b"0") -> bytes:
    return header(name, len(data), kind) + data + bytes(-len(data) % BLOCK)


def pax(**records: bytes) -> bytes:
    lines = b""
    for key, value in records.items():
        name = key.replace("__", ".").encode()
        length = len(name) + len(value) + 3
        length += len(str(length + len(str(length))))
        lines += b"%d %s=%s\n" % (length, name, value)
    return member(b"PaxHeader", lines, b"x")


def binary(number: int) -> bytes:
    return (number % 2**96).to_bytes(12, "big")


FOUR = b"".join(member(b"%d.png" % number, picture()) for number in range(4)) + END
SPARSE = struct.pack("12s12s", b"zzzzzzzzzzz", b"zzzzzzzzzzz")


def listed(path: Path, data: bytes) -> list[str]:
    (path / "x.tar").write_bytes(data)
    return list(TarSource(path / "x.tar", 10_000).list().names)


@pytest.mark.parametrize(
    ("odd", "first"),
    [
        (header(b"n.png", binary(-1)), []),
        (header(b"n.png", binary(-1024)), []),
        (header(b"n.png", b"\x80" + 11 * b"\xff"), []),
        (header(b"n.png", b"0000008\x0099 \0"), []),
        (pax(size=b"-2048") + member(b"n.png", picture()), ["n"]),
        (pax(GNU__sparse__map=b"0,1,2,x") + member(b"n.png", picture()), ["n"]),
        (pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0") + member(b"n.png", b"no map" * 200), ["n"]),
        (pax(GNU__sparse__major=b"1", GNU__sparse__minor=b"0") + member(b"n.png", b"9" * 5000), ["n"]),
        (header(b"n.png", BLOCK, b"S", {386: SPARSE, 482: b"\1"}) + bytes(BLOCK), []),
        (member(b"x", b"0 path=n.png\n", b"x"), []),
    ],
    ids=[
        *("negative size", "back to itself", "beyond all sizes", "digits behind the end", "negative size in a record"),
        *("odd map", "no map", "endless number", "odd numbers", "record of no bytes"),
    ],
)
@pytest.mark.parametrize("before", [0, 2])
def test_a_header_whose_numbers_are_none_is_told_and_the_list_goes_on(
    odd: bytes, first: list[str], before: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some = b"".join(member(b"b%d.png" % number, picture()) for number in range(before))
    names = [f"b{number}" for number in range(before)] + first + [str(number) for number in range(4)]
    assert listed(tmp_path, some + odd + FOUR) == names
    assert f"is damaged: no header of a member at byte {len(some)}" in caplog.text


@pytest.mark.parametrize(("name", "kind"), [(b"PaxHeader", b"x"), (LONG_NAME, b"L")])
def test_headers_of_headers_without_end_are_refused(name: bytes, kind: bytes, tmp_path: Path) -> None:
    body = b"13 comment=x\n" if kind == b"x" else b"name.png\0"
    with pytest.raises(InputDataError, match=r"x\.tar is no tar file that can be read to its end: .* has no end"):
        listed(tmp_path, member(name, body, kind) * 3_000 + FOUR)


def test_a_name_with_a_nul_is_told_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert listed(tmp_path, pax(path=b"a\0b.png") + member(b"a.png", picture()) + FOUR) == ["0", "1", "2", "3"]
    assert "the name of the member at byte 0; it is not listed" in caplog.text


def test_long_headers_of_whole_members_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = pax(comment=b"z" * 2_000_000) + member(b"a.png", picture()) + FOUR
    assert listed(tmp_path, data) == ["a", "0", "1", "2", "3"]
    assert not caplog.text
