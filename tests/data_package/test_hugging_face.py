import io
import itertools
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from elfs.config import EmbedConfig
from elfs.data.decoding import BadImageError
from elfs.data.loaders import load_images
from elfs.data.pool_size import most_images
from elfs.data.samples import SampleTable, Split
from elfs.data.sources import open_source
from elfs.data.sources.hugging_face import HuggingFaceSource
from elfs.errors import InputDataError

datasets = pytest.importorskip("datasets")

LIMIT = 1_000_000


def picture(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (level, level, level)).save(file, "PNG")
    return file.getvalue()


def dataset(levels: list[int]) -> Any:
    images = [{"bytes": picture(level), "path": f"{level}.png"} for level in levels]
    features = datasets.Features({"photo": datasets.Image(), "label": datasets.Value("int64")})
    return datasets.Dataset.from_dict({"photo": images, "label": [1] * len(levels)}, features)


def source(name: str, root: Path | None, *, download: bool = False) -> HuggingFaceSource:
    return HuggingFaceSource(name, root, download, LIMIT)


def ids(table: SampleTable) -> list[str]:
    return table.ids(range(len(table)))


def levels(found: HuggingFaceSource, table: SampleTable) -> list[int]:
    reader = pickle.loads(pickle.dumps(found.reader(table)))
    return [int(np.asarray(reader.read(row))[0, 0, 0]) for row in range(len(table))]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    parts = datasets.DatasetDict({"train": dataset([1, 2, 3]), "validation": dataset([9])})
    parts.save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def test_all_splits_of_a_saved_data_set(saved: Path) -> None:
    found = source("hf:.", saved)
    table = found.list()
    assert ids(table) == ["train/00000000", "train/00000001", "train/00000002", "validation/00000000"]
    assert table.split.tolist() == [Split.TRAIN] * 3 + [Split.TEST]
    assert table.num_bytes.tolist() == [len(picture(level)) for level in (1, 2, 3, 9)]
    assert levels(found, table) == [1, 2, 3, 9]
    assert levels(found, table.take(np.array([3, 1]))) == [9, 2]
    assert (found.channels, found.mirror, found.num_classes, found.has_images) == (3, True, None, True)


def test_one_split_is_the_pool(saved: Path) -> None:
    found = source("hf:.:validation", saved)
    table = found.list()
    assert (ids(table), table.split.tolist()) == (["validation/00000000"], [Split.TRAIN])
    assert levels(found, table) == [9]


def test_rows_are_counted_before_they_are_embedded(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert most_images(EmbedConfig(source="hf:."), saved, 10) == 3
    assert most_images(EmbedConfig(source="hf:.:validation"), saved, 10) == 1
    asked: list[bool] = []

    def load(self: HuggingFaceSource, name: str, split: str | None) -> Any:
        asked.append(self.download)
        raise InputDataError("it is not here")

    monkeypatch.setattr(HuggingFaceSource, "_load", load)
    for told, download in itertools.product((False, True), repeat=2):
        assert most_images(EmbedConfig(source="hf:name", download=told), None, 10, download=download) is None
    assert asked == [False, False, False, True]


def test_a_data_set_without_splits(tmp_path: Path) -> None:
    dataset([5, 6]).save_to_disk(str(tmp_path))
    found = source("hf:.", tmp_path)
    assert ids(found.list()) == ["train/00000000", "train/00000001"]


def test_a_selection_of_rows_keeps_its_order(tmp_path: Path) -> None:
    dataset([0, 1, 2, 3]).select([3, 1]).save_to_disk(str(tmp_path))
    found = source("hf:.", tmp_path)
    assert levels(found, found.list()) == [3, 1]


def test_an_unknown_split(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputDataError, match=r"hf:\.:tset was not found in .*there is no split 'tset', only train, val"
    ):
        source("hf:.:tset", saved).list()
    dataset([1]).save_to_disk(str(tmp_path / "one"))
    with pytest.raises(InputDataError, match=r"there is no split 'test', only one without a name"):
        source("hf:.:test", tmp_path / "one").list()


def test_nothing_saved_there(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match=r"hf:\. was not found in .* \(FileNotFoundError: ") as caught:
        source("hf:.", tmp_path).list()
    assert caught.value.hint is None


def test_no_column_of_images(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"label": [1]}).save_to_disk(str(tmp_path))
    with pytest.raises(InputDataError, match=r"hf:\.: no column holds encoded images"):
        source("hf:.", tmp_path).list()


def test_no_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: dataset([]))
    with pytest.raises(InputDataError, match=r"hf:photos has no rows\.$"):
        source("hf:photos", None).list()


def test_rows_with_a_path_alone_and_with_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(picture(4))
    values = [{"bytes": None, "path": str(tmp_path / "x.png")}, None]
    given = datasets.Dataset.from_dict({"image": values}, datasets.Features({"image": datasets.Image()}))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: given)
    found = source("hf:some/photos", None)
    table = found.list()
    assert table.num_bytes.tolist() == [0, 0]
    reader = found.reader(table)
    assert reader.read(0).getpixel((0, 0)) == (4, 4, 4)
    with pytest.raises(BadImageError, match=r"^missing: the row holds no image$"):
        reader.read(1)


def test_a_name_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def load(name: str, **options: Any) -> Any:
        calls.append((name, options, datasets.config.HF_HUB_OFFLINE))
        return dataset([1])

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    source("hf:some/photos:train[:10%]", tmp_path).list()
    source("hf:photos", None, download=True).list()
    assert calls == [
        ("some/photos", {"split": "train[:10%]", "cache_dir": str(tmp_path)}, True),
        ("photos", {"split": None, "cache_dir": None}, False),
    ]
    assert datasets.config.HF_HUB_OFFLINE is False


def test_row_57_without_a_download_only_the_cache_is_looked_into(tmp_path: Path) -> None:
    with pytest.raises(
        InputDataError, match=r"hf:some/photos was not found in the cache \(ConnectionError: "
    ) as caught:
        source("hf:some/photos", tmp_path).list()
    assert caught.value.hint == "elfs embed hf:some/photos --download"


def test_row_57_a_failed_download_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(InputDataError, match=r"was not found in the cache or on the hub .*no route to host"):
        source("hf:some/photos", tmp_path, download=True).list()


@pytest.mark.slow
def test_worker_processes_read_rows(tmp_path: Path) -> None:
    dataset(list(range(130))).save_to_disk(str(tmp_path))
    found = open_source("hf:.", tmp_path)
    images = load_images(found.reader(found.list()), torch.arange(130), 4, num_workers=2)
    assert images[:, 0, 0, 0].tolist() == list(range(130))


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputDataError, match=r"hf:\. needs the package datasets, which is not installed") as caught:
        source("hf:.", tmp_path).list()
    assert caught.value.hint == "pip install 'elfs[hf]'"


def test_splits_with_other_columns_are_named(tmp_path: Path) -> None:
    parts = {
        "captions": datasets.Dataset.from_dict({"text": ["a"]}),
        "train": datasets.Dataset.from_dict({"image": [picture(1)]}, datasets.Features({"image": datasets.Image()})),
    }
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "set")
    with pytest.raises(InputDataError, match="split 'captions' has no image column 'image', as 'train' has") as caught:
        open_source("hf:.", tmp_path / "set").list()
    assert caught.value.hint == f"elfs embed hf:{tmp_path / 'set'}:train"
