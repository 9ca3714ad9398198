import hashlib
import io
import os
import pickle
import tarfile
import urllib.error
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from timm.data import ImageNetInfo

from elfs.data.samples import SampleTable, Split
from elfs.data.sources import class_folders, open_source
from elfs.data.sources.class_folders import ClassFoldersSource, find_class_folders
from elfs.data.sources.imagenet_subsets import IMAGENET_SUBSETS
from elfs.errors import InputDataError

LIMIT = 1_000_000
CINIC_FILES = {
    "train/airplane/cifar10-train-10008.png": 1,
    "train/bird/n01503061_10014.png": 2,
    "valid/airplane/cifar10-train-1.png": 3,
    "test/airplane/cifar10-test-10.png": 4,
    "test/bird/n01503061_9.png": 5,
}
IMAGENET_FILES = {
    "train/n01440764/n01440764_10026.JPEG": 10,
    "train/n01440764/n01440764_18.JPEG": 20,
    "train/n01443537/n01443537_2.JPEG": 30,
    "val/n01440764/ILSVRC2012_val_00000293.JPEG": 40,
    "val/n01443537/ILSVRC2012_val_00000236.JPEG": 50,
}


def picture(level: int, image_format: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (level, level, level)).save(file, image_format)
    return file.getvalue()


def write(root: Path, files: dict[str, int], image_format: str) -> Path:
    for name, level in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(level, image_format))
    return root


def source(name: str, root: Path | None, *, download: bool = False) -> ClassFoldersSource:
    return ClassFoldersSource(name, root, download, LIMIT)


def ids(table: SampleTable) -> list[str]:
    return table.ids(range(len(table)))


def levels(found: ClassFoldersSource, table: SampleTable) -> list[int]:
    reader = pickle.loads(pickle.dumps(found.reader(table)))
    return [int(np.asarray(reader.read(row)).mean().round()) for row in range(len(table))]


@pytest.mark.parametrize("place", ["CINIC-10", "cinic-10", "cinic10", "."])
def test_train_and_valid_of_cinic10_make_its_train_split(tmp_path: Path, place: str) -> None:
    root = write(tmp_path / place, CINIC_FILES, "PNG")
    (root / "README.md").write_text("as in the archive")
    (root / "train" / "bird" / ".hidden.png").touch()
    (root / "train" / "bird" / "notes.txt").touch()
    found = open_source("cinic10", tmp_path)
    assert isinstance(found, ClassFoldersSource)
    table = found.list()
    assert ids(table) == [f"cinic10/{name}" for name in CINIC_FILES]
    assert table.split.tolist() == [Split.TRAIN] * 3 + [Split.TEST] * 2
    assert table.num_bytes.tolist() == [0] * 5
    assert levels(found, table) == [1, 2, 3, 4, 5]
    assert (found.channels, found.mirror, found.num_classes, found.has_images) == (3, True, 10, True)


@pytest.mark.parametrize("place", ["imagenet", "ImageNet", "ILSVRC/Data/CLS-LOC", "."])
def test_imagenet_in_class_folders(tmp_path: Path, place: str) -> None:
    write(tmp_path / place, IMAGENET_FILES, "JPEG")
    (tmp_path / place / "train" / "lost+found").mkdir()
    found = source("imagenet", tmp_path)
    table = found.list()
    assert ids(table) == [f"imagenet/{name}" for name in IMAGENET_FILES]
    assert table.split.tolist() == [Split.TRAIN] * 3 + [Split.TEST] * 2
    assert levels(found, table) == [10, 20, 30, 40, 50]
    assert (found.num_classes, found.mirror) == (1000, True)


def test_val_of_imagenet_may_lie_flat(tmp_path: Path) -> None:
    files = {name: level for name, level in IMAGENET_FILES.items() if name.startswith("train")}
    files |= {"val/ILSVRC2012_val_00000002.JPEG": 60, "val/ILSVRC2012_val_00000001.JPEG": 70, "val/other.JPEG": 80}
    write(tmp_path, files, "JPEG")
    found = source("imagenet", tmp_path)
    table = found.list()
    assert ids(table)[3:] == [f"imagenet/val/ILSVRC2012_val_0000000{number}.JPEG" for number in (1, 2)]
    assert table.split.tolist() == [Split.TRAIN] * 3 + [Split.TEST] * 2
    assert levels(found, table) == [10, 20, 30, 70, 60]
    with pytest.raises(InputDataError, match=r"lie flat, which does not tell those of imagenet-50; .* torchvision"):
        list(source("imagenet-50", tmp_path)._imagenet_paths(os.fsencode(tmp_path / "val")))


def test_listing_opens_and_examines_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, IMAGENET_FILES, "JPEG")
    found = source("imagenet", tmp_path)
    monkeypatch.setattr(class_folders, "find_class_folders", lambda *_: tmp_path)
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("opened"))
    monkeypatch.setattr(class_folders.os, "stat", lambda *_, **__: pytest.fail("examined"))  # type: ignore[attr-defined]
    table = found.list()
    monkeypatch.undo()
    assert len(table) == 5


@pytest.mark.parametrize("name", IMAGENET_SUBSETS)
def test_a_subset_has_the_images_of_its_classes(tmp_path: Path, name: str) -> None:
    wanted = sorted(IMAGENET_SUBSETS[name])
    files = {f"{part}/{wnid}/{wnid}_{part}.JPEG": 9 for part in ("train", "val") for wnid in [*wanted, "n01440764"]}
    write(tmp_path, files, "JPEG")
    table = source(name, tmp_path).list()
    assert ids(table) == [f"{name}/{part}/{wnid}/{wnid}_{part}.JPEG" for part in ("train", "val") for wnid in wanted]
    assert source(name, tmp_path).num_classes == len(wanted)


def test_subsets_are_those_of_scan() -> None:
    """Digests of the sorted WordNet ids in wvangansbeke/Unsupervised-Classification@57dff92, data/imagenet_subsets."""
    known = set(ImageNetInfo("imagenet-1k").label_names())
    digests = {
        name: hashlib.sha256("\n".join(sorted(classes)).encode()).hexdigest()[:16]
        for name, classes in IMAGENET_SUBSETS.items()
    }
    assert digests == {
        "imagenet-50": "ac8134b3c52e7579",
        "imagenet-100": "fe8959b5f87ec663",
        "imagenet-200": "fca8e3dd52db9f95",
    }
    assert IMAGENET_SUBSETS["imagenet-50"] < IMAGENET_SUBSETS["imagenet-100"] < IMAGENET_SUBSETS["imagenet-200"] < known


def test_a_subset_names_the_classes_that_are_not_there(tmp_path: Path) -> None:
    write(tmp_path, IMAGENET_FILES | {"train/n01601694/x.JPEG": 1}, "JPEG")
    message = r"49 of 50 classes of imagenet-50 have no folder in .*train: n01669191, .*, \.\.\.\.$"
    with pytest.raises(InputDataError, match=message):
        source("imagenet-50", tmp_path).list()


def test_row_57_absent_imagenet_says_what_to_put_where(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(
        InputDataError, match=r"imagenet was not found in .*: no folder there has train, val\. Put"
    ) as e:
        source("imagenet", tmp_path).list()
    assert str(tmp_path / "imagenet") in str(e.value)
    assert "torchvision.datasets.ImageNet" in str(e.value)
    assert e.value.hint == "elfs embed imagenet --data-root FOLDER"
    with pytest.raises(InputDataError, match="imagenet-100 was not found"):
        source("imagenet-100", tmp_path, download=True).list()


def test_row_57_absent_cinic10_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"cinic10 was not found in .*train, valid, test\. Put CINIC-10\.tar") as e:
        source("cinic10", tmp_path).list()
    assert e.value.hint == "elfs embed cinic10 --download"
    assert not any(tmp_path.iterdir())


def test_row_57_a_failed_download_of_cinic10_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route\nto host")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", offline)
    with pytest.raises(InputDataError, match=r"could not download cinic10 to .*no route to host.*Put CINIC-10\.tar"):
        source("cinic10", tmp_path, download=True).list()


def write_archive(path: Path) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for name, level in CINIC_FILES.items():
            data = picture(level, "PNG")
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_the_archive_of_cinic10_is_unpacked_by_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_folders, "_CINIC_MD5", write_archive(tmp_path / "CINIC-10.tar.gz"))
    (tmp_path / "CINIC-10.unfinished").mkdir()
    found = source("cinic10", tmp_path, download=True)
    assert len(found.list()) == 5
    assert find_class_folders("cinic10", tmp_path) == tmp_path / "CINIC-10"
    assert not (tmp_path / "CINIC-10.unfinished").exists()


def test_row_57_a_damaged_archive_of_cinic10_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_folders, "_CINIC_MD5", write_archive(tmp_path / "CINIC-10.tar.gz"))
    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", lambda *_, **__: None)
    (tmp_path / "CINIC-10.tar.gz").write_bytes(b"cut")
    with pytest.raises(InputDataError, match="could not download cinic10"):
        source("cinic10", tmp_path, download=True).list()
    assert not (tmp_path / "CINIC-10").exists()


def test_parts_without_images_are_refused(tmp_path: Path) -> None:
    write(tmp_path, IMAGENET_FILES, "JPEG")
    for path in tmp_path.glob("val/*/*"):
        path.unlink()
    with pytest.raises(InputDataError, match=r"imagenet has no image in .*val, expected class folders"):
        source("imagenet", tmp_path).list()


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, IMAGENET_FILES, "JPEG")

    def denied(_: bytes) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(class_folders.os, "scandir", denied)  # type: ignore[attr-defined]
    with pytest.raises(InputDataError, match=r"train cannot be listed: Permission denied \(EACCES\)"):
        source("imagenet", tmp_path).list()


def test_a_reader_of_another_data_sets_ids_is_refused(tmp_path: Path) -> None:
    table = source("imagenet", write(tmp_path, IMAGENET_FILES, "JPEG")).list()
    with pytest.raises(InputDataError, match="the samples are not those of imagenet-50: the first is 'imagenet/train"):
        source("imagenet-50", tmp_path).reader(table)


def test_the_default_root_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELFS_CACHE_DIR", str(tmp_path))
    write(tmp_path / "data" / "cinic10", CINIC_FILES, "PNG")
    assert len(source("cinic10", None).list()) == 5
