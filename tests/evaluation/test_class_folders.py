"""Labels of data sets in class folders, and the coarse ones of CIFAR-100, from files in the sets' own formats."""

import hashlib
import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from torchvision import datasets

from elfs.data.samples import SampleTable
from elfs.data.sources.torchvision_sets import TorchvisionSource
from elfs.errors import InputDataError
from elfs.evaluation.class_folders import class_folder_labels, coarse_labels
from elfs.evaluation.labels import true_labels
from elfs.workspace.workspace import Workspace

WNIDS = ["n01440764", "n01443537"]
FLAT = ["imagenet/train/n01440764/a.JPEG", "imagenet/train/n01443537/b.JPEG"] + [
    f"imagenet/val/ILSVRC2012_val_0000000{number}.JPEG" for number in (1, 2, 3)
]


def table_of(names: list[str]) -> SampleTable:
    return SampleTable.from_ids(names, 0, 0)


def test_the_folder_of_an_image_is_its_class() -> None:
    names = ["cinic10/train/dog/a.png", "cinic10/valid/cat/b.png", "cinic10/test/dog/a.png"]
    values, classes = class_folder_labels("cinic10", table_of(names), None)
    assert (values.tolist(), classes) == ([1, 0, 1], ("cat", "dog"))


def devkit() -> dict[str, bytes]:
    """Return meta.mat and the ground truth as they are in ILSVRC2012_devkit_t12; ids are not in the wnids' order."""
    fields = [(name, object) for name in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children")]
    synsets = np.empty(3, dtype=fields)
    synsets[0] = (2, WNIDS[0], "tench, Tinca tinca", "a fish", 0, [])
    synsets[1] = (1, WNIDS[1], "goldfish", "a fish", 0, [])
    synsets[2] = (1001, "n00001740", "entity", "anything", 2, [1, 2])
    file: Any = io.BytesIO()  # scipy's stubs know paths alone
    scipy.io.savemat(file, {"synsets": synsets})
    return {"meta.mat": file.getvalue(), "ILSVRC2012_validation_ground_truth.txt": b"2\n1\n2\n"}


def folder(root: Path) -> Path:
    for part in ("train", "val"):
        (root / part).mkdir(parents=True)
    return root


def check(root: Path) -> None:
    values, classes = class_folder_labels("imagenet", table_of(FLAT), root)
    assert (values.tolist(), classes) == ([0, 1, 0, 1, 0], tuple(WNIDS))


def test_flat_validation_images_by_the_unpacked_kit(tmp_path: Path) -> None:
    place = folder(tmp_path) / "ILSVRC2012_devkit_t12" / "data"
    place.mkdir(parents=True)
    for name, data in devkit().items():
        (place / name).write_bytes(data)
    check(tmp_path)


def write_kit(path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in devkit().items():
            member = tarfile.TarInfo(f"ILSVRC2012_devkit_t12/data/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_flat_validation_images_by_the_archive_of_the_kit(tmp_path: Path) -> None:
    folder(tmp_path / "imagenet")
    write_kit(tmp_path / "ILSVRC2012_devkit_t12.tar.gz")
    check(tmp_path)


@pytest.mark.filterwarnings("ignore:Python 3.14 will, by default, filter:DeprecationWarning")
def test_flat_validation_images_by_the_file_of_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = write_kit(folder(tmp_path) / "ILSVRC2012_devkit_t12.tar.gz")
    meta = datasets.imagenet.ARCHIVE_META | {"devkit": (kit.name, hashlib.md5(kit.read_bytes()).hexdigest())}
    monkeypatch.setattr(datasets.imagenet, "ARCHIVE_META", meta)
    datasets.imagenet.parse_devkit_archive(str(tmp_path))
    kit.unlink()
    assert torch.load(tmp_path / "meta.bin", weights_only=True)[1] == [WNIDS[0], WNIDS[1], WNIDS[0]]
    check(tmp_path)


def test_flat_validation_images_without_a_kit(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"lie flat in .*val, and what they show is not known; expected meta\.bin"):
        check(folder(tmp_path))


def write_cifar100(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Write train, test and meta as the data set's page describes them, with fine and coarse labels that differ."""
    place = root / "cifar-100-python"
    place.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), np.uint8)
    labels = {"train": ([99, 3, 50], [19, 4, 7]), "test": ([1, 2], [0, 4])}
    contents: dict[str, dict[str, Any]] = {"meta": {"fine_label_names": ["x"] * 100, "coarse_label_names": ["y"] * 20}}
    for (name, (fine, coarse)), part in zip(labels.items(), (images[:3], images[3:]), strict=True):
        contents[name] = {"data": part.reshape(len(part), -1), "fine_labels": fine, "coarse_labels": coarse}
    digests = {}
    for name, content in contents.items():
        (place / name).write_bytes(pickle.dumps(content, protocol=2))
        digests[name] = hashlib.md5((place / name).read_bytes()).hexdigest()
    cls = datasets.CIFAR100
    monkeypatch.setattr(cls, "train_list", [["train", digests["train"]]])
    monkeypatch.setattr(cls, "test_list", [["test", digests["test"]]])
    monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": digests["meta"]})
    return images.transpose(0, 2, 3, 1)


def test_cifar20_is_cifar100_with_its_coarse_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_cifar100(tmp_path, monkeypatch)
    for name in ("cifar20", "cifar100"):
        source = TorchvisionSource(name, tmp_path, download=False)
        table = source.list()
        reader = source.reader(table)
        assert table.ids([0, 3, 4]) == [f"{name}/train/00000", f"{name}/test/00000", f"{name}/test/00001"]
        assert all(np.array_equal(np.asarray(reader.read(row)), images[row]) for row in range(5))
    assert coarse_labels(tmp_path).tolist() == [19, 4, 7, 0, 4]


def as_metadata(source: str) -> dict[str, object]:
    facts = {"channels": 3, "mirror": True, "num_classes": None, "has_images": True, "image_side": 32}
    return facts | {"source": source}


class _Artifact:
    def __init__(self, source: str) -> None:
        self.metadata, self.record = as_metadata(source), "embed"


@pytest.mark.parametrize(("name", "expected"), [("cifar20", [19, 4, 7, 0, 4]), ("cifar100", [99, 3, 50, 1, 2])])
def test_a_workspace_gets_the_labels_of_its_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: list[int]
) -> None:
    write_cifar100(tmp_path, monkeypatch)
    table = TorchvisionSource(name, tmp_path, download=False).list()
    assert true_labels(workspace_of(tmp_path, name), table, None).values.tolist() == expected


def test_a_workspace_of_class_folders_gets_their_names(tmp_path: Path) -> None:
    table = table_of(["cinic10/train/dog/a.png", "cinic10/valid/cat/b.png"])
    found = true_labels(workspace_of(tmp_path, "cinic10"), table, None)
    assert (found.values.tolist(), found.names) == ([1, 0], ("cat", "dog"))


def workspace_of(root: Path, source: str) -> Workspace:
    """Return a workspace whose manifest names the source and its root, and holds nothing else."""
    workspace = Workspace.create(root / "workspace")
    manifest = workspace.manifest.with_source_root(str(root))
    object.__setattr__(manifest, "artifacts", {"samples": _Artifact(source)})
    object.__setattr__(workspace, "manifest", manifest)
    return workspace
