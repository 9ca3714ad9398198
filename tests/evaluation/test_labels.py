"""True labels from the source, from a table, from folders: on digits all say the same."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from elfs.data.samples import SampleTable, Split
from elfs.data.sources.digits import digits_order
from elfs.errors import InputDataError
from elfs.evaluation import labels as module
from elfs.evaluation.labels import labels_digest, true_labels
from elfs.workspace.files import sha256_file
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, run_stage


def opened(finished: Finished) -> tuple[Workspace, SampleTable]:
    workspace = Workspace.open(finished.path)
    return workspace, SampleTable.from_tensors(workspace.arrays("samples"))


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    return tmp_path / "labels.csv"


def test_source_knows_its_labels(digits: Finished) -> None:
    workspace, table = opened(digits)
    found = true_labels(workspace, table, None)
    chosen = np.linspace(0, 1796, 200).round().astype(int)
    np.testing.assert_array_equal(found.values, load_digits().target[digits_order()][chosen])
    assert found.names == tuple("0123456789")


def test_table_says_the_same_as_the_source(digits: Finished, table_file: Path) -> None:
    workspace, table = opened(digits)
    source = true_labels(workspace, table, None)
    lines = [f"{name},{label}" for name, label in zip(table.ids(np.arange(200)), source.values, strict=True)]
    table_file.write_text("\n".join(["id,label", *reversed(lines)]) + "\n")
    found = true_labels(workspace, table, str(table_file))
    np.testing.assert_array_equal(found.values, source.values)
    assert found.names == source.names


def test_folders_say_the_same_as_the_source(digits: Finished, tmp_path: Path, workspace: Path) -> None:
    images, targets = load_digits().images, load_digits().target
    for number in range(0, 1797, 30):
        place = tmp_path / "digits" / ("test" if number % 60 else "train") / f"is {targets[number]}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((images[number] * 15).astype(np.uint8)).save(place / f"{number:04d}.png")
    run_stage("embed", workspace, root=tmp_path / "digits", source="folder")
    opened_now = Workspace.open(workspace)
    table = SampleTable.from_tensors(opened_now.arrays("samples"))
    assert {split: len(table.rows(split)) for split in Split} == {Split.TRAIN: 30, Split.TEST: 30}
    found = true_labels(opened_now, table, "folders")
    expected = [targets[int(Path(name).stem)] for name in table.ids(np.arange(60))]
    assert [found.names[value] for value in found.values] == [f"is {target}" for target in expected]


def test_part_of_the_samples_may_have_labels(digits: Finished, table_file: Path) -> None:
    workspace, table = opened(digits)
    text = "label,note,id\nzebra,,{0}\n,not yet,{1}\n ape ,,{2}\nzebra,,{0}\n".format(*table.ids([4, 5, 6]))
    table_file.write_bytes(b"\xef\xbb\xbf" + text.encode())  # as a spreadsheet writes it
    found = true_labels(workspace, table, str(table_file))
    assert (found.names, found.values[[4, 5, 6]].tolist()) == (("ape", "zebra"), [1, -1, 0])
    assert (found.values >= 0).sum() == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour,label\na,b\n", r"labels\.csv has the columns colour, label, expected id and label\.$"),
        ("id,colour\na,b\n", r"labels\.csv has the columns id, colour, expected id and label\.$"),
        ("", r"labels\.csv is empty, expected a table with the columns id and label\.$"),
        ("id,label\nnope,1\n", r"labels\.csv: 1 of 1 ids are unknown: 'nope'; ids look like 'digits/"),
        ("id,label\n" + 200_000 * "x" + ",1\n", r"labels\.csv is no CSV file that can be read: field larger"),
    ],
)
def test_table_is_refused(digits: Finished, table_file: Path, text: str, message: str) -> None:
    table_file.write_text(text)
    with pytest.raises(InputDataError, match=message):
        true_labels(*opened(digits), str(table_file))


def test_folder_without_class_folders_is_refused(digits: Finished, folder: Finished) -> None:
    workspace, table = opened(folder)
    assert true_labels(workspace, table, "folders").names == ("a", "b", "c")
    with pytest.raises(InputDataError, match=r"^--labels folders: all images lie in one folder"):
        true_labels(workspace, table.take(np.arange(10)), "folders")


@pytest.mark.parametrize("kind", ["folder", "embeddings"])
def test_source_without_labels_says_how_to_give_them(kind: str, request: pytest.FixtureRequest) -> None:
    finished: Finished = request.getfixturevalue(kind)
    message = rf"^the source '{kind}' has no true labels of its own\. Give them with --labels labels\.csv"
    with pytest.raises(InputDataError, match=message):
        true_labels(*opened(finished), None)


def test_table_that_is_not_there(digits: Finished, tmp_path: Path) -> None:
    missing = str(tmp_path / "none.csv")
    with pytest.raises(InputDataError, match=r"^--labels .*none\.csv: there is no such file\.$"):
        true_labels(*opened(digits), missing)
    with pytest.raises(InputDataError, match=r"^--labels .*none\.csv: there is no such file\.$"):
        labels_digest(missing)


def test_digest_is_that_of_a_file(table_file: Path) -> None:
    assert labels_digest(None) == labels_digest("folders") == {}
    table_file.write_text("id,label\n")
    assert labels_digest(str(table_file)) == {"external:labels": sha256_file(table_file)}


def test_torchvision_labels_are_found_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    class Split3:
        """Three samples; svhn and stl10 call their labels otherwise."""

        def __init__(self, name: str) -> None:
            setattr(self, name, [2, 0, 1])

        def __len__(self) -> int:
            return 3

    for attribute, name in (("targets", "cifar10"), ("labels", "svhn")):
        monkeypatch.setattr(module, "open_torchvision", lambda *_, a=attribute, **__: Split3(a))
        ids, values, names = module._torchvision(name, None)
        assert ids[1] == f"{name}/train/00001"
        assert ids[5] == f"{name}/test/00002"
        assert (values.tolist(), names) == ([2, 0, 1, 2, 0, 1], ("0", "1", "2"))
