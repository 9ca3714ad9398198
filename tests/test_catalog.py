"""Names that people type, held equal to the code behind them."""

from pathlib import Path

import pytest

from elfs import catalog, source_names
from elfs.config import CONFIGS
from elfs.data.sources import open_source
from elfs.errors import UsageError
from elfs.models.encoders import build_encoder
from elfs.models.networks import build_network
from elfs.ops.scores import SCORES
from elfs.ops.selection import SELECTORS
from elfs.pipeline.graph import STAGES
from elfs.suggestions import choose, suggestion
from elfs.train.recipes import RECIPES


def test_lists_agree_with_the_code() -> None:
    assert catalog.SCORES.keys() == SCORES.keys()
    assert catalog.SELECTORS.keys() == SELECTORS.keys()
    assert catalog.RECIPES.keys() == RECIPES.keys()
    assert tuple(STAGES) == catalog.STAGES
    assert {*catalog.STAGES, "plan", "train", "compare"} == CONFIGS.keys()


@pytest.mark.parametrize("name", source_names.DATASETS)
def test_data_set_opens_as_it_is_described(name: str) -> None:
    source = open_source(name, None, download=False, max_pixels=1)
    described = source_names.DATASETS[name]
    assert (source.name, source.num_classes, source.mirror) == (name, described.num_classes, described.mirror)


@pytest.mark.parametrize("name", catalog.ENCODERS)
def test_encoder_needs_no_weights(name: str) -> None:
    assert build_encoder(name, weights=None, image_size=8, channels=1).name == name


@pytest.mark.parametrize("name", catalog.NETWORKS)
def test_network_can_be_built(name: str) -> None:
    network = build_network(name, num_classes=3, image_size=8, dim=4, seed=0)
    assert network.classifier.out_features == 3


def test_choose_returns_what_is_known() -> None:
    assert choose("score key", "aum", catalog.SCORES) == "aum"


def test_choose_suggests_the_nearest_name_and_lists_all() -> None:
    expected = (
        r"^unknown score key 'amu'\. Did you mean 'aum'\? "
        r"Available: aum, confidence, correctness, density, dual, dyn_unc, el2n, entropy, forgetting, loss, "
        r"prototypicality, tdds, typicality, variability\.$"
    )
    with pytest.raises(UsageError, match=expected):
        choose("score key", "amu", catalog.SCORES)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("aum", [1, 1, 1]),
        ("forgetting", [2, 2, 2]),
        ("variability", [2, 2, 2]),
        ("dual", [2, 2, 10]),
        ("dyn_unc", [2, 2, 10]),
        ("tdds", [3, 3, 11]),
        ("typicality", [0, 0, 0]),
    ],
)
def test_epochs_that_a_score_needs(key: str, expected: list[int]) -> None:
    assert [catalog.required_epochs(key, window) for window in (1, 2, 10)] == expected


def test_choose_suggests_nothing_far_fetched() -> None:
    with pytest.raises(UsageError, match=r"^unknown colour 'zzz'\. Available: blue, red\.$"):
        choose("colour", "zzz", ["red", "blue"])


def test_suggestion_is_a_clause_with_its_space() -> None:
    assert suggestion("cifar1", ["cifar10", "stl10"]) == " Did you mean 'cifar10'?"
    assert suggestion("zzz", ["cifar10"]) == ""


SOURCES = {
    "folder": (True, True, "/r"),
    "files": (True, True, "/r"),
    "tar": (True, False, "tar:/r"),
    "tar:.seg.png": (True, False, "tar:/r:.seg.png"),
    "parquet": (True, False, "parquet:/r"),
    "hf:.": (True, False, "hf:/r"),
    "hf:.:test": (True, False, "hf:/r:test"),
    "hf:user/photos:train": (False, False, "hf:user/photos:train"),
    "synthetic:balanced": (False, False, "synthetic:balanced"),
    "digits": (False, False, "digits"),
    "embeddings": (False, False, None),
}


@pytest.mark.parametrize("name", SOURCES)
def test_source_is_typed_again_as_it_was(name: str) -> None:
    assert (source_names.has_root(name), source_names.is_files(name), source_names.typed_source(name, "/r")) == SOURCES[
        name
    ]
    assert source_names.typed_source(name, None) == (None if SOURCES[name][0] else SOURCES[name][2])
    assert source_names.typed_source("", "/r") is None


def test_every_kind_of_source_can_be_opened(tmp_path: Path) -> None:
    assert {name.partition(":")[0] for name in SOURCES} == {*source_names.SOURCES, "digits"}
    for name in SOURCES:
        assert open_source(name, tmp_path).name == name
