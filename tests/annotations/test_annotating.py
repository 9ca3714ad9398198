"""Labels from people come into a workspace, and go out of it again."""

import shutil
from pathlib import Path

import pytest

from elfs.annotations.annotating import annotate, remove_annotations, show_annotations
from elfs.annotations.kept import kept_annotations
from elfs.errors import InputDataError, MissingUpstreamError
from elfs.pipeline.selections import read_images
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, bytes_of, make_pictures, run_stage
from tests.faults import faults


@pytest.fixture
def used(folder: Finished, workspace: Path) -> Path:
    return folder.copy(workspace)


def table(path: Path, **classes: str) -> Path:
    """Write a table of labels; `b_19` stands for ``b/19.png``."""
    path.write_text("id;label\n" + "".join(f"{name.replace('_', '/')}.png;{said}\n" for name, said in classes.items()))
    return path


def test_they_are_an_artifact_of_their_own(used: Path, tmp_path: Path) -> None:
    before = bytes_of(used)
    report = annotate(used, table(tmp_path / "l.csv", a_01="ape", b_02="bee"))
    opened = Workspace.open(used)
    assert kept_annotations(opened) == report.after
    assert opened.verify() == []
    after = bytes_of(used)
    assert {name for name in after if after[name] != before.get(name)} <= {
        "annotations.csv",
        "manifest.json",
        ".lock-holder",
    }
    record = opened.manifest.records["annotate"]
    assert (record.inputs, record.outputs) == ({}, ("annotations",))
    assert set(opened.manifest.runs["annotate"]["batches"]) == {"1"}
    assert "20" not in str(record.summary["headline"])


def test_the_next_batch_adds_and_the_same_again_does_nothing(used: Path, tmp_path: Path) -> None:
    first = table(tmp_path / "1.csv", a_01="ape", b_02="bee", c_03="cow")
    annotate(used, first)
    when = Workspace.open(used).manifest.runs["annotate"]["batches"]["1"]
    second = annotate(used, table(tmp_path / "2.csv", b_02="bug", c_04="cow"))
    assert second.counts | {"not_in_pool": 0} == {
        "new": 1,
        "changed": 1,
        "same": 0,
        "removed": 0,
        "unknown": 0,
        "ambiguous": 0,
        "ties": 0,
        "skipped": 0,
        "not_in_pool": 0,
    }
    assert second.changed == (("b/02.png", "bee", "bug"),)
    assert {image: said.batch for image, said in second.after.of_image.items()} == {
        "a/01.png": 1,
        "b/02.png": 2,
        "c/03.png": 1,
        "c/04.png": 2,
    }
    times = Workspace.open(used).manifest.runs["annotate"]["batches"]
    assert (set(times), times["1"]) == ({"1", "2"}, when)
    before = bytes_of(used)["manifest.json"]
    assert annotate(used, table(tmp_path / "3.csv", c_04="cow")).counts["same"] == 1
    assert bytes_of(used)["manifest.json"] == before


def test_what_asked_is_noted_and_test_sets_are_marked(used: Path, tmp_path: Path) -> None:
    run_stage("select", used, holdout="5", name="test")
    opened = Workspace.open(used)
    asked, held = (read_images(opened, name)[0].id for name in ("aum-0.2", "test"))
    (tmp_path / "l.csv").write_text(f"id,label\n{asked},x\n{held},y\nb/19.png,z\n")
    report = annotate(used, tmp_path / "l.csv")
    said = report.after.of_image
    assert (said[asked].selection, said[asked].held_out) == ("aum-0.2", False)
    assert (said[held].selection, said[held].held_out) == ("test", True)
    assert (said["b/19.png"].selection, said["b/19.png"].held_out) == ("", False)
    assert [(item.selection, item.annotated, item.images) for item in report.progress] == [
        ("aum-0.2", 1, 12),
        ("test", 1, 5),
    ]
    assert "1 annotated image is kept and not used (1 unreadable): 'b/19.png'" in report.remarks


def test_a_dry_run_changes_nothing(used: Path, tmp_path: Path) -> None:
    before = bytes_of(used)
    assert annotate(used, table(tmp_path / "l.csv", a_01="x"), dry_run=True).counts["new"] == 1
    assert bytes_of(used) == before
    annotate(used, table(tmp_path / "l.csv", a_01="x"))
    before = bytes_of(used)
    assert remove_annotations(used, "a/01.png", dry_run=True).counts["removed"] == 1
    assert bytes_of(used) == before
    assert len(show_annotations(used).after) == 1
    assert bytes_of(used) == before


def test_the_last_one_removed_leaves_no_trace(used: Path, tmp_path: Path) -> None:
    before = bytes_of(used)
    annotate(used, table(tmp_path / "l.csv", a_01="x", a_02="y"))
    assert len(remove_annotations(used, "a/01.png, nothing").after) == 1
    listed = tmp_path / "list.txt"
    listed.write_text("a/02.png\n")
    assert len(remove_annotations(used, str(listed)).after) == 0
    changed = {name for name, data in bytes_of(used).items() if before.get(name) != data}
    assert changed <= {".lock-holder"}


def test_an_export_of_a_tool_can_be_removed(used: Path, tmp_path: Path) -> None:
    annotate(used, table(tmp_path / "l.csv", a_01="x", a_02="y"))
    (tmp_path / "l.json").write_text('[{"id": "a/01.png", "label": "x"}]')
    assert list(remove_annotations(used, str(tmp_path / "l.json")).after.of_image) == ["a/02.png"]


def test_images_that_are_gone_keep_their_annotation(used: Path, tmp_path: Path, folder: Finished) -> None:
    annotate(used, table(tmp_path / "l.csv", a_01="x", a_02="y", c_03="z"))
    pool = tmp_path / "pool"
    (pool / "a").mkdir(parents=True)
    for name in ("a/01.png", "a/02.png", "a/03.png", "a/04.png", "a/05.png", "a/06.png"):
        (pool / name).write_bytes((Path(str(folder.root)) / name).read_bytes())
    run_stage("embed", used, root=pool, source="folder")
    report = show_annotations(used)
    assert len(report.after) == 3
    assert "1 annotated image is kept and not used (1 not in the workspace): 'c/03.png'" in report.remarks
    assert remove_annotations(used, "c/03.png").counts["removed"] == 1


@pytest.mark.parametrize(
    ("classes", "remark"),
    [
        (
            {"a_01": "Cat", "a_02": "cat"},
            "classes differ by case or blanks alone, and count as different: 'Cat', 'cat'",
        ),
        ({"a_01": "x", "a_02": "x", "a_03": "y"}, "1 class has one image alone, on which no estimate can rest: 'y'"),
        ({"a_01": "x", "a_02": "x"}, "all are of one class, 'x': nothing can be learned from them yet"),
        ({"a_01": "x", "zzz": "x"}, "1 label of an image ignored (not in the workspace): 'zzz.png'"),
    ],
)
def test_what_is_odd_is_said(used: Path, tmp_path: Path, classes: dict[str, str], remark: str) -> None:
    assert remark in annotate(used, table(tmp_path / "l.csv", **classes)).remarks


def test_names_are_held_against_those_of_earlier_batches(used: Path, tmp_path: Path) -> None:
    annotate(used, table(tmp_path / "1.csv", a_01="hot dog"))
    remarks = annotate(used, table(tmp_path / "2.csv", a_02="Hotdog")).remarks
    assert "classes differ by case or blanks alone, and count as different: 'Hotdog', 'hot dog'" in remarks


def test_two_labels_for_one_image_count_as_none(used: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("id,label\na/01.png,x\na/01.png,y\na/02.png,x\n")
    report = annotate(used, tmp_path / "l.csv")
    assert list(report.after.of_image) == ["a/02.png"]
    assert report.counts["ties"] == 1
    assert any("'a/01.png' (x or y)" in remark for remark in report.remarks)


def test_what_cannot_be_taken_in_is_refused(used: Path, tmp_path: Path, workspace: Path) -> None:
    before = bytes_of(used)
    with pytest.raises(InputDataError, match=r"gives no image a label: 1 image is named without a label"):
        annotate(used, table(tmp_path / "l.csv", a_01=""))
    with pytest.raises(InputDataError, match=r"1 of 1 ids are unknown: 'zzz\.png'"):
        annotate(used, table(tmp_path / "l.csv", zzz="x"))
    with pytest.raises(InputDataError, match=r"--remove a: none of 1 images is annotated: 'a'. There is none yet"):
        remove_annotations(used, "a")
    with pytest.raises(InputDataError, match="--remove names nothing"):
        remove_annotations(used, " , ")
    changed = {name for name, data in bytes_of(used).items() if before.get(name) != data}
    assert changed <= {".lock-holder"}
    annotate(used, table(tmp_path / "l.csv", a_01="x"))
    with pytest.raises(InputDataError, match=r"Annotated ids look like 'a/01.png'"):
        remove_annotations(used, "a/02.png")


def test_a_workspace_without_images_is_refused(used: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingUpstreamError, match="there is no workspace"):
        annotate(tmp_path / "none", table(tmp_path / "l.csv", a_01="x"))
    Workspace.open(used).remove("embed")
    with pytest.raises(MissingUpstreamError, match="holds no images to annotate yet"):
        annotate(used, table(tmp_path / "l.csv", a_01="x"))


@pytest.mark.slow
@pytest.mark.parametrize("call", ["again", "others", "remove"])
def test_annotations_of_before_outlive_a_kill_while_they_are_replaced(
    everything: Finished, tmp_path: Path, call: str
) -> None:
    """At one moment the old ones are out of the manifest and the new ones are not in it: the next call finishes."""
    place = everything.copy(tmp_path / "place")
    before = kept_annotations(Workspace.open(place / "w"))
    assert before
    lost = 0
    for number in range(30, 50, 3):
        shutil.rmtree(place)
        everything.copy(place)
        with faults(place, number, dies=True):
            annotate(place / "w", place / "more.csv")
        lost += not Workspace.open(place / "w").has("annotations")
        if call == "remove":
            remove_annotations(place / "w", next(iter(before.of_image)))
        else:
            annotate(place / "w", place / ("more.csv" if call == "again" else "given.csv"))
        after = kept_annotations(Workspace.open(place / "w")).of_image
        assert len(set(before.of_image) - set(after)) == (call == "remove")
        assert not (place / "w" / "partial").exists()
    assert lost


@pytest.mark.parametrize("around", ["workspace", "folder of the images"])
def test_a_folder_around_the_project_is_no_folder_of_labels(tmp_path: Path, around: str) -> None:
    """The folder of the images would be a class, and every image of it."""
    pool, apart = make_pictures(tmp_path / "project" / "photos"), tmp_path / "apart" / "w"
    workspace = tmp_path / "project" / "w" if around == "workspace" else apart
    run_stage("embed", workspace, source="folder", root=pool, encoder="pixels")
    project = tmp_path / "project" if around == "workspace" else pool.parent
    before = bytes_of(workspace)
    with pytest.raises(InputDataError, match=rf"project holds the {around} .*: its folders are no classes\. Expected"):
        annotate(workspace, project)
    assert bytes_of(workspace) == before
