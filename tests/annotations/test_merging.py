from elfs.annotations.kept import Annotation, Annotations
from elfs.annotations.merging import added, removed

BEFORE = Annotations({"a/1.png": Annotation("cat", 1, "first"), "b/1.png": Annotation("dog", 3)})


def test_later_ones_win_and_changes_are_told() -> None:
    change = added(BEFORE, {"a/1.png": "lynx", "b/1.png": "dog", "c.png": "cat"}, {"c.png": ("test", True)})
    assert (change.new, change.changed, change.same) == (("c.png",), (("a/1.png", "cat", "lynx"),), 1)
    assert change.after.of_image == {
        "a/1.png": Annotation("lynx", 4, "first"),
        "b/1.png": Annotation("dog", 3),
        "c.png": Annotation("cat", 4, "test", held_out=True),
    }
    assert BEFORE.of_image["a/1.png"].name == "cat"


def test_the_same_again_changes_nothing() -> None:
    change = added(BEFORE, {"a/1.png": "cat"}, {"a/1.png": ("other", False)})
    assert change.after == BEFORE


def test_removal_takes_paths_and_names_what_it_does_not_know() -> None:
    removal = removed(BEFORE, ["/pool/a/1.png", "1.png", "zzz", "zzz"], "/pool")
    assert (removal.gone, removal.unknown) == (("a/1.png",), ("1.png", "zzz"))
    assert list(removal.after.of_image) == ["b/1.png"]
    assert removed(Annotations(), ["a"], None).unknown == ("a",)
