import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chain import Finished

Elfs = Callable[..., Any]


@pytest.fixture
def used(folder: Finished) -> Path:
    return folder.copy(Path("elfs-workspace"))


def test_what_people_read(elfs: Elfs, used: Path) -> None:
    assert elfs("annotate").out == "by people  nothing annotated yet\n"
    Path("l.csv").write_text("id,label\na/01.png,ape\na/02.png,ape\na/03.png,\nb/01.png,bee\nb/02.png,bee\nzzz,ape\n")
    planned = elfs("annotate", "l.csv", "-n")
    assert planned.out.startswith("would do   4 taken in, 1 without a label\n")
    ran = elfs("annotate", "l.csv")
    assert ran.code == 0
    first, people, *classes = ran.out.splitlines()
    assert first == "done       4 taken in, 1 without a label"
    assert people.startswith("by people  ")
    assert people.endswith(", 2 classes")
    assert classes == ["class      ape   2 images", "class      bee   2 images"]
    assert ran.err.count("warning: ") == 1
    assert "warning: 1 label of an image ignored (not in the workspace): 'zzz'." in ran.err
    Path("l.csv").write_text("id,label\na/01.png,bee\n")
    assert "changed    a/01.png: ape -> bee" in elfs("annotate", "l.csv").out
    assert elfs("annotate", "--remove", "a/01.png").out.startswith("done       1 removed\n")


def test_many_changes_are_counted(elfs: Elfs, used: Path) -> None:
    for said in ("x", "y"):
        Path("l.csv").write_text("id,label\n" + "".join(f"a/{number:02d}.png,{said}\n" for number in range(12)))
        ran = elfs("annotate", "l.csv")
    assert ran.out.count(": x -> y") == 10
    assert "           and 2 more; --json has all" in ran.out
    Path("l.csv").write_text("id,label\n" + "".join(f"a/{number:02d}.png,z\n" for number in range(12)))
    document = json.loads(elfs("annotate", "l.csv", "--json").out)
    assert len(document["changes"]) == document["changed"] == 12
    assert document["changes"][0] == {"id": "a/00.png", "before": "y", "after": "z"}


def test_status_says_how_far_people_are(elfs: Elfs, used: Path) -> None:
    assert "by people" not in elfs("status").out
    assert json.loads(elfs("status", "--json").out)["annotations"] == {}
    lines = (used / "selections/aum-0.2/selection.csv").read_text().splitlines()[1:]
    ids = [line.split(",")[1] for line in lines]
    Path("l.csv").write_text("id,label\n" + "".join(f"{name},{name[0]}\n" for name in ids))
    elfs("annotate", "l.csv")
    assert "by people  12 of 12 of aum-0.2 annotated, 3 classes" in elfs("status").out
    assert json.loads(elfs("status", "--json").out)["annotations"]["annotated"] == 12
    (used / "annotations.csv").write_text("torn")
    ran = elfs("status")
    assert ran.code == 0
    assert "annotations.csv has" in ran.err


def test_one_thing_at_a_time(elfs: Elfs, used: Path) -> None:
    ran = elfs("annotate", "l.csv", "--remove", "a")
    assert (ran.code, "one at a time" in ran.err) == (2, True)
    assert elfs("annotate", "l.csv").code == 3


@pytest.mark.slow
def test_doubtful_ones_become_a_list_that_other_commands_read(elfs: Elfs, used: Path) -> None:
    rows = [f"{name}/{number:02d}.png,{name}\n" for name in "ac" for number in range(20)]
    rows[3] = "a/03.png,c\n"
    Path("l.csv").write_text("id,label\n" + "".join(rows))
    elfs("annotate", "l.csv")
    ran = elfs("annotate", "--doubtful", "-o", "again.csv")
    assert (ran.code, ran.out.splitlines()[1].split()[:3]) == (0, ["a/03.png", "c", "a"])
    assert Path("again.csv").read_text().startswith("id,class,taken_for,support\na/03.png,c,a,")
    document = json.loads(elfs("annotate", "--doubtful", "--json").out)
    assert [doubt["image"] for doubt in document["doubtful"]] == ["a/03.png"]
    assert elfs("annotate", "--doubtful", "-o", "again.csv").code == 2
    assert elfs("annotate", "--doubtful", "-o", "again.csv", "--force").code == 0
    assert elfs("annotate", "--remove", "again.csv").out.startswith("done       1 removed\n")
    assert elfs("annotate", "--doubtful").out == "no annotation is doubtful\n"
    assert elfs("annotate", "-o", "x.csv").code == 2
    assert elfs("annotate", "--doubtful", "l.csv").code == 2
