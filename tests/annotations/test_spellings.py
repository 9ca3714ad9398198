import pytest

from elfs.annotations.spellings import alike, alike_remarks


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["cat", "dog"], ()),
        (["cat", "Cat", "dog"], (("Cat", "cat"),)),
        (["hot dog", "hotdog", "hot  dog"], (("hot  dog", "hot dog", "hotdog"),)),
        (["\u00e9t", "e\u0301t", "et"], (("e\u0301t", "\u00e9t"),)),
        (["\uff21", "a", "b"], (("a", "\uff21"),)),
        (["stra\u00dfe", "STRASSE"], (("STRASSE", "stra\u00dfe"),)),
        (["b", "B", "a", "A"], (("A", "a"), ("B", "b"))),
    ],
)
def test_names_that_sound_the_same(names: list[str], found: tuple[tuple[str, ...], ...]) -> None:
    assert alike(names) == found


def test_both_names_are_named_even_where_they_look_the_same() -> None:
    assert alike_remarks(["cat", "Cat", "\u00e9t", "e\u0301t"]) == [
        "classes differ by case or blanks alone, and count as different: 'Cat', 'cat'",
        r"classes differ by case, blanks or Unicode form alone, and count as different: 'e\u0301t', '\xe9t'",
    ]
