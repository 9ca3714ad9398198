import pytest

from elfs.annotations.answers import Answer
from elfs.annotations.voting import vote


def say(*answers: tuple[str | None, str] | tuple[str | None, str, str]) -> tuple[str, ...]:
    return vote([Answer("x", tuple(labels.split()), who, *when) for who, labels, *when in answers])


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([("ann", "cat")], ("cat",)),
        ([("ann", "cat"), ("bob", "dog"), ("eve", "cat")], ("cat",)),
        ([("ann", "cat"), ("bob", "dog")], ("cat", "dog")),
        ([("ann", "cat"), ("bob", "dog"), ("eve", "")], ("cat", "dog")),
        ([("ann", "cat"), ("bob", "")], ("cat",)),
        ([("ann", "")], ()),
        ([], ()),
        ([("ann", "dog"), ("ann", "dog"), ("bob", "cat"), ("eve", "cat")], ("cat",)),  # a person counts once
        ([("ann", "dog"), ("ann", "cat")], ("cat",)),  # the latest
        ([("ann", "cat", "2026-02"), ("ann", "dog", "2026-01")], ("cat",)),
        ([("ann", "cat", "2026-01"), ("ann", "", "2026-02")], ()),  # taken back
        ([(None, "cat"), (None, "cat"), (None, "dog")], ("cat",)),
        ([(None, "cat"), (None, "dog")], ("cat", "dog")),
        ([("ann", "cat dog")], ("cat", "dog")),
        ([("ann", "cat dog"), ("bob", "dog")], ("dog",)),
    ],
)
def test_vote(answers: list[tuple[str | None, str]], expected: tuple[str, ...]) -> None:
    assert say(*answers) == expected
