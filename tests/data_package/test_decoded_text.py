import pytest

from elfs.data.decoded_text import NoTextError, decoded, from_code_page, table_header, table_rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "ascii"])
@pytest.mark.parametrize("text", ["id,label\r\na.png,cat\r\n", "x"])
def test_encodings(encoding: str, text: str) -> None:
    assert decoded(text.encode(encoding)) == text


def test_bytes_of_no_encoding_are_kept() -> None:
    assert decoded(b"ni\xe9").encode("utf-8", "surrogateescape") == b"ni\xe9"
    assert decoded(b"") == ""


@pytest.mark.parametrize("data", [b"\0\1\2\3", b"a\0b", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", b"a.png\0b.png\0"])
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(NoTextError, match=r"^it is no text$"):
        decoded(data)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("nie", "nie"), ("nié", "nié"), ("ni\udce9 \udc80", "nié €"), ("\ud83d", "\ufffd")],
)
def test_from_code_page(text: str, expected: str) -> None:
    assert from_code_page(text) == expected


@pytest.mark.parametrize(
    ("text", "header", "lines"),
    [
        ("id,label\na,b\n", ["id", "label"], [["a", "b"]]),
        (" id ; label\r\na;b,c\r\n;\r\n\r\n", ["id", "label"], [["a", "b,c"]]),
        ('id\tlabel\n"a\nb"\t"c""d"\n', ["id", "label"], [["a\nb", 'c"d']]),
        ('"a;b";label\nx;y\n', ["a;b", "label"], [["x", "y"]]),
        ("sep=|\nid|label\na|b\n", ["id", "label"], [["a", "b"]]),
        ('"sep=;"\nid;label\n', ["id", "label"], []),
        ("id\na,b\n", ["id"], [["a", "b"]]),
        ("", [], []),
    ],
)
def test_table_rows(text: str, header: list[str], lines: list[list[str]]) -> None:
    assert table_rows(text) == (header, lines)
    assert table_header(text) == header
