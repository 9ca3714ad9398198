import numpy as np
import pytest

from elfs.annotations.kept import COLUMNS, Annotation, Annotations
from elfs.data.samples import Outcome, SampleTable, Split
from elfs.errors import CorruptArtifactError

SAID = Annotations(
    {
        "b.png": Annotation("dog", 1, "first"),
        "=a,.png": Annotation("=cat", 2),
        "c\n.png": Annotation("dog", 2, "test", held_out=True),
        "d\udcff.png": Annotation("@", 1),
    }
)


def test_they_come_back_as_they_were() -> None:
    assert Annotations.parse(SAID.to_bytes()) == SAID
    turned = Annotations(dict(reversed(list(SAID.of_image.items()))))
    assert turned.to_bytes() == SAID.to_bytes()
    assert SAID.to_bytes().splitlines()[1] == b"\"'=a,.png\",'=cat,2,,0"


def test_what_they_hold() -> None:
    assert SAID.names == ("=cat", "@", "dog")
    assert SAID.facts() == {
        "annotated": 4,
        "classes": {"=cat": 1, "@": 1, "dog": 2},
        "held_out": 1,
        "batches": 2,
    }
    assert Annotations().facts() == {"annotated": 0, "classes": {}, "held_out": 0, "batches": 0}


def test_rows_are_of_images_that_can_be_selected() -> None:
    names = ["z.png", "c\n.png", "b.png", "=a,.png"]
    table = SampleTable.from_ids(names, [Split.TRAIN, Split.TRAIN, Split.TRAIN, Split.TEST], 0)
    rows, classes = SAID.rows(table)
    assert (rows.tolist(), classes.tolist()) == ([1, 2], [2, 2])
    assert SAID.rows(table, held_out=True)[0].tolist() == [1]
    assert SAID.rows(table, held_out=False)[0].tolist() == [2]
    broken = table.with_outcomes(np.array([0, 0, Outcome.BROKEN, 0]), {2: "cut off"})
    assert SAID.rows(broken)[0].tolist() == [1]
    assert Annotations().rows(table)[0].tolist() == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a,cat,0,,0", "batch 0"),
        ("a,cat,1,,2", "held_out 2"),
        ("a,,1,,0", "class ''"),
        ("a,cat,x,,0", "invalid literal"),
        ("a,cat,1", "not enough values"),
    ],
)
def test_what_is_no_annotation_is_refused(line: str, message: str) -> None:
    with pytest.raises(CorruptArtifactError, match=f"^annotations.csv holds no annotations: .*{message}"):
        Annotations.parse(f"{','.join(COLUMNS)}\n{line}\n".encode())


def test_another_table_is_refused() -> None:
    with pytest.raises(CorruptArtifactError, match=r"its columns are \['id', 'label'\], expected"):
        Annotations.parse(b"id,label\na,cat\n")
