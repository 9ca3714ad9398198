"""Names that people type, held equal to the code behind them."""

import pytest

from elfs import catalog
from elfs.config import CONFIGS
from elfs.data.sources import open_source
from elfs.errors import UsageError
from elfs.models.encoders import build_encoder
from elfs.models.networks import build_network
from elfs.ops.scores import SCORES
from elfs.ops.selection import SELECTORS
from elfs.stages.graph import STAGES
from elfs.train.recipes import RECIPES


def test_lists_agree_with_the_code() -> None:
    assert catalog.SCORES.keys() == SCORES.keys()
    assert catalog.SELECTORS.keys() == SELECTORS.keys()
    assert catalog.RECIPES.keys() == RECIPES.keys()
    assert tuple(STAGES) == catalog.STAGES
    assert {*catalog.STAGES, "train"} == CONFIGS.keys()


@pytest.mark.parametrize("name", catalog.DATASETS)
def test_data_set_opens_as_it_is_described(name: str) -> None:
    source = open_source(name, None, download=False, max_pixels=1)
    described = catalog.DATASETS[name]
    assert (source.name, source.num_classes, source.mirror) == (name, described.num_classes, described.mirror)


@pytest.mark.parametrize("name", catalog.ENCODERS)
def test_encoder_needs_no_weights(name: str) -> None:
    assert build_encoder(name, weights=None, image_size=8, channels=1).name == name


@pytest.mark.parametrize("name", catalog.NETWORKS)
def test_network_can_be_built(name: str) -> None:
    network = build_network(name, num_classes=3, image_size=8, dim=4, seed=0)
    assert network.classifier.out_features == 3


def test_choose_returns_what_is_known() -> None:
    assert catalog.choose("score key", "aum", catalog.SCORES) == "aum"


def test_choose_suggests_the_nearest_name_and_lists_all() -> None:
    expected = (
        r"^unknown score key 'amu'\. Did you mean 'aum'\? "
        r"Available: aum, correctness, el2n, entropy, forgetting, loss\.$"
    )
    with pytest.raises(UsageError, match=expected):
        catalog.choose("score key", "amu", catalog.SCORES)


def test_choose_suggests_nothing_far_fetched() -> None:
    with pytest.raises(UsageError, match=r"^unknown colour 'zzz'\. Available: blue, red\.$"):
        catalog.choose("colour", "zzz", ["red", "blue"])


def test_suggestion_is_a_clause_with_its_space() -> None:
    assert catalog.suggestion("cifar1", ["cifar10", "stl10"]) == " Did you mean 'cifar10'?"
    assert catalog.suggestion("zzz", ["cifar10"]) == ""
