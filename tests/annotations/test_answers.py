from typing import Any

import pytest

from elfs.annotations.answers import one_or_more, text_of


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (float("nan"), ""),
        (" cat ", "cat"),
        (3, "3"),
        (b"ni\xe9".decode("utf-8", "surrogateescape"), "nié"),
        ("\ud800", "�"),
    ],
)
def test_text_of(value: Any, expected: str) -> None:
    assert text_of(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("cat", ("cat",)),
        ("", ()),
        (None, ()),
        (0, ("0",)),
        (["cat", "dog", "cat"], ("cat", "dog")),
        ({"choices": ["cat"]}, ("cat",)),
        ([{"polygonlabels": ["cat"], "points": [[0, 1]]}], ("cat",)),
        ({"taxonomy": [["animal", "cat"], []]}, ("cat",)),
        ({"text": ["hm"]}, ()),
    ],
)
def test_one_or_more(value: Any, expected: tuple[str, ...]) -> None:
    assert one_or_more(value) == expected
