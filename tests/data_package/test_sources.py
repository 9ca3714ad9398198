import gzip
import pickle
import subprocess
import sys
from importlib import resources
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from elfs.data.samples import Split
from elfs.data.sources import open_source
from elfs.data.sources.arrays import ArrayReader, array_table
from elfs.data.sources.digits import DigitsSource, digits_columns, digits_order
from elfs.errors import InputDataError, UsageError
from elfs.source_names import DATASETS


def test_digits_order_is_a_permutation_with_a_fixed_test_part() -> None:
    order = digits_order()
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(1797))
    assert set(order[1437:].tolist()) == set(np.random.RandomState(0).permutation(1797)[:360].tolist())
    assert np.all(np.diff(order[:1437]) > 0)
    assert np.all(np.diff(order[1437:]) > 0)
    assert order[1437:1442].tolist() == [4, 5, 6, 9, 14]


def test_digits_listing() -> None:
    table = DigitsSource().list()
    assert table.ids([0, 1436, 1437, 1796]) == [
        "digits/train/0000",
        "digits/train/1436",
        "digits/test/0000",
        "digits/test/0359",
    ]
    assert table.split.tolist() == [Split.TRAIN] * 1437 + [Split.TEST] * 360
    assert np.all(table.num_bytes == 64)
    assert table.usable().all()


@pytest.mark.parametrize("origin", [None, "elsewhere/__init__.py"])
def test_digits_that_are_not_there_are_named(origin: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    package = origin and ModuleSpec("sklearn", None, origin=origin)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: package)
    with pytest.raises(
        InputDataError, match=r"^scikit-learn's digits are not there: .* Run: pip install scikit-learn$"
    ):
        digits_columns([0])


def test_digits_are_read_without_the_second_that_scikit_learn_takes() -> None:
    read = "from elfs.data.sources.digits import DigitsSource; DigitsSource().list()"
    code = f"import sys; {read}; print('sklearn' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_digits_pixels_are_those_of_the_bundled_file_in_that_order() -> None:
    file = resources.files("sklearn.datasets.data") / "digits.csv.gz"
    levels = np.loadtxt(gzip.decompress(file.read_bytes()).decode().splitlines(), delimiter=",")[:, :64]
    source = DigitsSource()
    reader = pickle.loads(pickle.dumps(source.reader(source.list())))
    for row in (0, 700, 1436, 1437, 1796):
        image = np.asarray(reader.read(row))
        expected = np.rint(levels[digits_order()[row]].reshape(8, 8) * 255 / 16)
        assert image.shape == (8, 8, 3)
        assert all(np.array_equal(image[..., channel], expected) for channel in range(3))


def test_digits_flags() -> None:
    source = open_source("digits", None, download=False, max_pixels=1)
    assert (source.name, source.channels, source.mirror, source.num_classes, source.has_images) == (
        "digits",
        1,
        False,
        10,
        True,
    )


def test_array_reader_finds_the_image_of_a_row() -> None:
    gray = np.arange(3, dtype=np.uint8).reshape(3, 1, 1)
    color = np.array([[[[9, 8, 7]]]], np.uint8)
    reader = ArrayReader((gray, np.zeros((0, 1, 1), np.uint8), color), np.array([3, 0, 2]))
    assert [reader.read(row).getpixel((0, 0)) for row in range(3)] == [(9, 8, 7), (0, 0, 0), (2, 2, 2)]


def test_array_table_refuses_nothing_at_all() -> None:
    with pytest.raises(InputDataError, match="mnist has no images"):
        array_table("mnist", {Split.TRAIN: np.zeros((0, 2, 2))}, 5)


def test_embeddings_have_no_images() -> None:
    source = open_source("embeddings", None, download=False, max_pixels=1)
    assert not source.has_images
    with pytest.raises(InputDataError, match="made from embeddings and has no images"):
        source.list()
    with pytest.raises(InputDataError, match="made from embeddings and has no images"):
        source.reader(DigitsSource().list())


def test_open_source_knows_every_name_of_the_catalog(tmp_path: Path) -> None:
    for name in DATASETS:
        source = open_source(name, tmp_path, download=False, max_pixels=1)
        assert source.name == name
        assert source.mirror == DATASETS[name].mirror
        assert source.num_classes == DATASETS[name].num_classes
        assert source.has_images
    assert open_source("folder", tmp_path, download=False, max_pixels=1).name == "folder"


def test_open_source_refuses_other_names() -> None:
    with pytest.raises(UsageError, match=r"unknown data set 'cifar11'. Did you mean 'cifar10'"):
        open_source("cifar11", None, download=False, max_pixels=1)
    with pytest.raises(InputDataError, match="the folder of images is not known"):
        open_source("folder", None, download=False, max_pixels=1)
