"""The table of stages."""

import importlib

import pytest

from elfs.config import ClusterConfig, SelectConfig
from elfs.errors import UsageError
from elfs.stages.graph import STAGES, ancestors, default_selection_name, makers, needed_artifacts, record_name


def test_every_stage_has_code_and_its_needs_are_made_before_it() -> None:
    made: set[str] = set()
    for stage in STAGES.values():
        assert callable(importlib.import_module(stage.module).run)
        assert set(stage.needs) <= made
        assert made.isdisjoint(stage.makes)
        made |= set(stage.makes)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (SelectConfig(), "aum-0.1"),
        (SelectConfig(budget="10%", key="el2n"), "el2n-10pct"),
        (SelectConfig(budget="500", hard_rate=0.3), "aum-500-hard0.3"),
        (SelectConfig(method="hardest"), "hardest-aum-0.1"),
        (SelectConfig(method="easiest", hard_rate=0.3), "easiest-aum-0.1"),
        (SelectConfig(method="random", seed=2), "random-0.1-seed2"),
    ],
)
def test_selection_is_named_after_what_matters(config: SelectConfig, name: str) -> None:
    assert default_selection_name(config) == name
    assert record_name("select", config) == f"select/{name}"


def test_selection_keeps_the_name_that_it_was_given() -> None:
    assert record_name("select", SelectConfig(name="first round")) == "select/first round"
    assert record_name("cluster", ClusterConfig()) == "cluster"


@pytest.mark.parametrize("name", ["../x", "/x", ".x", "a\tb", "C:x"])
def test_name_with_a_place_in_it_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"^--name is .*, expected a plain folder name without"):
        record_name("select", SelectConfig(name=name))


def test_random_needs_the_samples_alone() -> None:
    assert needed_artifacts("select", SelectConfig(method="random")) == ("samples",)
    assert needed_artifacts("select", SelectConfig()) == needed_artifacts("select", None) == STAGES["select"].needs


def test_ancestors() -> None:
    assert ancestors("embed", None) == []
    assert ancestors("select", SelectConfig(method="random")) == ["embed"]
    assert ancestors("select", None) == ["embed", "cluster", "label", "dynamics", "score"]
    assert ancestors("label", None) == ["embed", "cluster"]


def test_makers() -> None:
    assert makers(["samples", "neighbors"]) == ["embed"]
    assert makers(["pseudo_labels", "samples"]) == ["embed", "cluster", "label"]
    assert makers(["selections/aum-0.1"]) == list(STAGES)
