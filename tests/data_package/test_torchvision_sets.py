import hashlib
import pickle
import struct
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from torchvision import datasets

from elfs.data.samples import Split
from elfs.data.sources.torchvision_sets import TorchvisionSource, default_data_root, open_torchvision
from elfs.errors import InputDataError
from elfs.source_names import DATASETS


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, np.ndarray]:
    """Write five batches of two images and a test batch of three, as the data set's page describes them."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (13, 3, 32, 32), np.uint8)
    parts = {f"data_batch_{i + 1}": images[2 * i : 2 * i + 2] for i in range(5)} | {"test_batch": images[10:]}
    digests = {}
    for name, part in parts.items():
        content = pickle.dumps({"data": part.reshape(len(part), -1), "labels": [0] * len(part)}, protocol=2)
        (folder / name).write_bytes(content)
        digests[name] = hashlib.md5(content).hexdigest()
    meta = pickle.dumps({"label_names": ["x"] * 10}, protocol=2)
    (folder / "batches.meta").write_bytes(meta)
    cls = datasets.CIFAR10
    monkeypatch.setattr(cls, "train_list", [[name, digests[name]] for name, _ in cls.train_list])
    monkeypatch.setattr(cls, "test_list", [[name, digests[name]] for name, _ in cls.test_list])
    monkeypatch.setattr(cls, "meta", {**cls.meta, "md5": hashlib.md5(meta).hexdigest()})
    return images[:10], images[10:]


def write_mnist(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write the four idx files of MNIST with four train and two test images."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
    for prefix, part in (("train", images[:4]), ("t10k", images[4:])):
        header = struct.pack(">IIII", 0x0803, len(part), 28, 28)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(header + part.tobytes())
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x0801, len(part)) + bytes(len(part)))
    return images[:4], images[4:]


def test_cifar10_rows_follow_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = write_cifar10(tmp_path, monkeypatch)
    source = TorchvisionSource("cifar10", tmp_path, download=False)
    table = source.list()
    assert table.ids([0, 1, 9, 10, 12]) == [
        "cifar10/train/00000",
        "cifar10/train/00001",
        "cifar10/train/00009",
        "cifar10/test/00000",
        "cifar10/test/00002",
    ]
    assert table.split.tolist() == [Split.TRAIN] * 10 + [Split.TEST] * 3
    assert set(table.num_bytes.tolist()) == {3072}
    reader = pickle.loads(pickle.dumps(source.reader(table)))
    expected = np.concatenate([train, test]).transpose(0, 2, 3, 1)
    assert all(np.array_equal(np.asarray(reader.read(row)), expected[row]) for row in range(13))
    assert (source.channels, source.mirror, source.num_classes) == (3, True, 10)


def test_mnist_is_gray_and_read_as_rgb(tmp_path: Path) -> None:
    train, test = write_mnist(tmp_path)
    source = TorchvisionSource("mnist", tmp_path, download=False)
    table = source.list()
    assert table.ids([0, 4]) == ["mnist/train/00000", "mnist/test/00000"]
    reader = source.reader(table)
    expected = np.concatenate([train, test])
    for row in range(6):
        image = np.asarray(reader.read(row))
        assert image.shape == (28, 28, 3)
        assert np.array_equal(image[..., 2], expected[row])
    assert (source.channels, source.mirror) == (1, False)


def test_svhn_takes_its_split_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    digests = {}
    for name, part in (("train", images[:3]), ("test", images[3:])):
        path = tmp_path / f"{name}_32x32.mat"
        scipy.io.savemat(path, {"X": part.transpose(1, 2, 3, 0), "y": np.ones((len(part), 1))})
        digests[name] = ["", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", {**datasets.SVHN.split_list, **digests})
    source = TorchvisionSource("svhn", tmp_path, download=False)
    table = source.list()
    reader = source.reader(table)
    assert table.split.tolist() == [0, 0, 0, 1, 1]
    assert all(np.array_equal(np.asarray(reader.read(row)), images[row]) for row in range(5))
    assert source.channels == 3


def test_stl10_takes_its_split_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), np.uint8)
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    contents = {
        "train_X.bin": images[:2].transpose(0, 3, 2, 1).tobytes(),
        "train_y.bin": b"\1\2",
        "unlabeled_X.bin": b"",
        "test_X.bin": images[2:].transpose(0, 3, 2, 1).tobytes(),
        "test_y.bin": b"\3",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    cls = datasets.STL10
    for attribute in ("train_list", "test_list"):
        files = [[name, hashlib.md5(contents[name]).hexdigest()] for name, _ in getattr(cls, attribute)]
        monkeypatch.setattr(cls, attribute, files)
    source = TorchvisionSource("stl10", tmp_path, download=False)
    table = source.list()
    reader = source.reader(table)
    assert table.split.tolist() == [0, 0, 1]
    assert all(np.array_equal(np.asarray(reader.read(row)), images[row]) for row in range(3))


def test_row_57_absent_files_name_the_folder_and_the_command(tmp_path: Path) -> None:
    source = TorchvisionSource("cifar10", tmp_path, download=False)
    with pytest.raises(InputDataError, match=r"cifar10 was not found in .*nothing was downloaded.*CIFAR10") as caught:
        source.list()
    assert str(tmp_path) in str(caught.value)
    assert caught.value.hint == "elfs embed cifar10 --download"
    assert not any(tmp_path.iterdir())


def test_row_57_a_damaged_file_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar10(tmp_path, monkeypatch)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(InputDataError, match=r"was not found in .*corrupted"):
        TorchvisionSource("cifar10", tmp_path, download=False).list()


@pytest.mark.parametrize("name", [name for name, dataset in DATASETS.items() if dataset.torchvision])
def test_row_57_a_failed_download_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def offline(*_: object, **__: object) -> None:
        print("Downloading")  # noqa: T201 (what torchvision may do)
        raise urllib.error.URLError("no route\nto host")

    for module in ("utils", "cifar", "mnist", "svhn", "stl10"):
        for function in ("download_url", "download_and_extract_archive"):
            monkeypatch.setattr(f"torchvision.datasets.{module}.{function}", offline, raising=False)
    with pytest.raises(
        InputDataError, match=f"could not download {name} to .*no route to host.*Put the files"
    ) as caught:
        open_torchvision(name, tmp_path, Split.TRAIN, download=True)
    assert caught.value.hint == f"elfs embed {name} --download"


def test_downloading_prints_nothing_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mnist(tmp_path)
    monkeypatch.setattr(datasets.MNIST, "download", lambda _: print("Downloading"))  # noqa: T201
    assert len(open_torchvision("mnist", tmp_path, Split.TEST, download=True)) == 2
    assert capsys.readouterr() == ("", "Downloading\n")


def test_a_reader_of_another_data_sets_ids_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mnist(tmp_path / "a")
    write_cifar10(tmp_path / "b", monkeypatch)
    table = TorchvisionSource("cifar10", tmp_path / "b", download=False).list()
    with pytest.raises(InputDataError, match="13 of 13 ids are unknown: 'cifar10/train/00000'"):
        TorchvisionSource("mnist", tmp_path / "a", download=False).reader(table)


def test_default_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELFS_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("USERPROFILE", "/home/someone")
    assert default_data_root() == Path("/home/someone/.cache/elfs/data")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert default_data_root() == Path("/caches/elfs/data")
    monkeypatch.setenv("ELFS_CACHE_DIR", "/own")
    assert default_data_root() == Path("/own/data")


def test_the_default_root_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELFS_CACHE_DIR", str(tmp_path))
    write_mnist(tmp_path / "data")
    assert len(TorchvisionSource("mnist", None, download=False).list()) == 6
