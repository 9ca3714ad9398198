import pytest

from elfs.annotations.answers import Answer
from elfs.annotations.matching import Labels, match_answers
from elfs.data.samples import SampleTable
from elfs.errors import InputDataError

TABLE = SampleTable.from_ids(["a/1.png", "a/2.png", "b/2.png", "b/3.png"], 0, 0)


def matched(*answers: tuple[str, str] | tuple[str, str, str]) -> Labels:
    found = [Answer(name, tuple(labels.split()), *who) for name, labels, *who in answers]
    return match_answers(found, TABLE, root=None, said="labels.csv")


def test_all_is_well() -> None:
    found = matched(("b/3.png", "dog"), ("/x/a/1.png", "cat"), ("a/2.png", "dog"))
    assert (found.names, found.values.tolist(), found.remarks()) == (("cat", "dog"), [0, 1, -1, 1], [])
    assert found.counts() == {"unknown": 0, "ambiguous": 0, "ties": 0, "skipped": 0}


def test_what_came_to_nothing_is_said() -> None:
    found = matched(
        ("a/1.png", "cat", "ann"),
        ("a/1.png", "dog", "bob"),
        ("a/2.png", "Cat"),
        ("b/2.png", "cat"),
        ("b/3.png", ""),
        *((f"c/{number}.jpg", "cat") for number in range(5)),
        ("2.png", "cat"),
        ("gone.png", ""),
    )
    assert (found.names, found.values.tolist()) == (("Cat", "cat"), [-1, 0, 1, -1])
    assert found.remarks() == [
        "1 image has several labels and no majority, and counts as not labelled: 'a/1.png' (cat or dog)",
        "5 labels of images ignored (not in the workspace): 'c/0.jpg', 'c/1.jpg', 'c/2.jpg' and 2 more",
        "1 label of an image ignored (the name of several images): '2.png'",
        "1 image is named without a label: skipped, or not annotated",
        "classes differ by case or blanks alone, and count as different: 'Cat', 'cat'",
    ]
    assert found.counts() == {"unknown": 5, "ambiguous": 1, "ties": 1, "skipped": 1}


def test_no_labels_are_no_error() -> None:
    found = matched(("a/1.png", ""), ("zzz", ""))
    assert (found.names, found.values.tolist(), found.skipped) == ((), [-1] * 4, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zzz", r"^labels\.csv: 1 of 1 ids are unknown: 'zzz'; ids look like 'a/1\.png'\.$"),
        ("2.png", r"^labels\.csv: 1 of 1 ids are the end of several ids: '2\.png'; ids look like"),
        ("x" * 9999, r"^.{,300}$"),
    ],
)
def test_labels_of_other_images_alone_are_refused(name: str, message: str) -> None:
    with pytest.raises(InputDataError, match=message):
        matched((name, "cat"), ("a/1.png", ""))
