"""What stages report, from JSON and back."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from elfs.errors import CorruptArtifactError
from elfs.workspace.parsing import Facts, parse


@dataclass(frozen=True)
class Part(Facts):
    number: int
    total: int | None


@dataclass(frozen=True)
class Whole(Facts):
    share: float
    balance: str | None
    count: int = 0
    rate: float | None = None
    part: Part | None = None
    by: dict[str, float] = field(default_factory=dict)
    parts: tuple[Part, ...] | None = None
    curve: tuple[tuple[float, float], ...] | None = None


@pytest.mark.parametrize(
    "document",
    [
        {"share": 0.5, "balance": None},
        {"share": 1, "balance": "class", "count": 3, "rate": 0.0, "by": {"heads": 1, "proxies": 0.5}},
        {"share": 0.5, "balance": None, "part": {"number": 0, "total": None}, "parts": [], "curve": []},
        {"share": 0.5, "balance": None, "parts": [{"number": 1, "total": 2}], "curve": [[0, 0.5], [0.1, 1]]},
    ],
)
def test_what_is_read_is_written_again(document: dict[str, Any]) -> None:
    assert Whole.of(document).as_json() == document


def test_other_versions_say_less_or_more() -> None:
    assert Whole.of({"share": 0.5, "headline": "half of it"}) == Whole(0.5, None)
    assert Whole.of({"share": 0.5, "part": {"number": 1, "more": 2}}).part == Part(1, None)


def test_a_field_at_its_default_is_not_written() -> None:
    assert Whole(0.5, None, count=0).as_json() == {"share": 0.5, "balance": None}
    assert Whole(0.5, None, rate=0.0).as_json() == {"share": 0.5, "balance": None, "rate": 0.0}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, r"^field 'summary\.share': expected a number, got None\.$"),
        ({"share": True}, r"^field 'summary\.share': expected a number, got True\.$"),
        ({"share": 1, "count": None}, r"^field 'summary\.count': expected an integer, got None\.$"),
        ({"share": 1, "balance": 1}, r"^field 'summary\.balance': expected a string or null, got 1\.$"),
        ({"share": 1, "part": 1}, r"^field 'summary\.part': expected an object, got 1\.$"),
        ({"share": 1, "part": {}}, r"^field 'summary\.part\.number': expected an integer, got None\.$"),
        ({"share": 1, "parts": [{}]}, r"^field 'summary\.parts\.0\.number': expected an integer, got None\.$"),
        ([], r"^field 'summary': expected an object, got \[\]\.$"),
    ],
)
def test_what_does_not_fit_is_named(document: Any, message: str) -> None:
    with pytest.raises(CorruptArtifactError, match=message):
        Whole.of(document)


def test_other_dataclasses_are_read_exactly() -> None:
    @dataclass(frozen=True)
    class Exact:
        name: str = ""

    with pytest.raises(CorruptArtifactError, match=r"^field 'x': expected exactly the fields name, got \[\]\.$"):
        parse(Exact, {}, "x")
