import pytest

from elfs.annotations.answers import Answer, UnknownFormatError
from elfs.annotations.cvat import read_cvat


def images(inside: str) -> bytes:
    return f'<annotations><image id="0" name="a.png">{inside}</image></annotations>'.encode()


@pytest.mark.parametrize(
    ("inside", "labels"),
    [
        ("", ()),
        ('<tag label="cat"/>', ("cat",)),
        ('<tag label="cat"/><tag label="cat"/><box label="dog"/>', ("cat",)),
        ('<tag label="cat"><attribute name="x">1</attribute></tag><tag label="dog"/>', ("cat", "dog")),
        ('<polygon label="cat" points="0,0"/><mask label="cat"/>', ("cat",)),
        ('<tag label="a &amp; b &#252;"/>', ("a & b ü",)),
    ],
)
def test_tags_count_and_else_shapes(inside: str, labels: tuple[str, ...]) -> None:
    assert read_cvat(images(inside)) == [Answer("a.png", labels)]


BOMB = b'<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><annotations><image name="&y;"/></annotations>'
OUTSIDE = (
    b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><annotations><image name="a">&x;</image></annotations>'
)
REMOTE = b'<!DOCTYPE annotations SYSTEM "http://127.0.0.1:9/x.dtd"><annotations/>'


@pytest.mark.parametrize("data", [BOMB, OUTSIDE, REMOTE])
def test_nothing_is_expanded_or_fetched(data: bytes) -> None:
    with pytest.raises(UnknownFormatError, match=r"^declares a document type of its own, which no export does"):
        read_cvat(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<svg/>", r"^is XML of another kind: <svg>, expected CVAT's <annotations>$"),
        (b"<annotations>", r"^is no XML that can be read: no element found"),
        (b"<annotations>&x;</annotations>", r"^is no XML that can be read: undefined entity"),
        (b'<annotations><track label="x"/></annotations>', r"^holds the tracks of a video, expected the format"),
    ],
)
def test_other_xml_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(UnknownFormatError, match=message):
        read_cvat(data)
