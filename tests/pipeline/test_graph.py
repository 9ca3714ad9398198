"""The table of stages."""

from typing import Any

import pytest

from elfs.catalog import SCORES, SELECTORS
from elfs.config import ClusterConfig, SelectConfig, from_json
from elfs.errors import UsageError
from elfs.pipeline.graph import (
    STAGES,
    ancestors,
    default_selection_name,
    makers,
    needed_artifacts,
    record_name,
    stage_of,
)
from elfs.pipeline.job import StageCall, StageCode, code_of


def test_every_stage_has_code_and_its_needs_are_made_before_it() -> None:
    made: set[str] = set()
    for stage in STAGES.values():
        code = code_of(StageCall(stage, stage.name, ()))  # found by name: no type checker sees it
        assert isinstance(code, StageCode)
        assert code.run.__module__ == stage.module
        assert set(stage.needs) <= made
        assert made.isdisjoint(stage.makes)
        made |= set(stage.makes)


def test_stages_that_all_ranks_run() -> None:
    assert [name for name, stage in STAGES.items() if stage.parallel] == ["embed", "cluster", "label", "dynamics"]


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (SelectConfig(), "aum-0.1"),
        (SelectConfig(budget="10%", key="el2n"), "el2n-10pct"),
        (SelectConfig(budget="500", hard_rate="0.30"), "aum-500"),
        (SelectConfig(method="elfs", budget="500", hard_rate="0.30"), "elfs-aum-500-hard0.3"),
        (SelectConfig(method="hardest"), "hardest-aum-0.1"),
        (SelectConfig(method="easiest", hard_rate="0.3"), "easiest-aum-0.1"),
        (
            SelectConfig(method="badge", balance="cluster", dedup="near", blocks=4),
            "badge-0.1-balanced-dedup-near-blocks4",
        ),
        (SelectConfig(method="d2", key="el2n"), "d2-el2n-0.1"),
        (SelectConfig(method="random", seed=2), "random-0.1-seed2"),
    ],
)
def test_selection_is_named_after_what_matters(config: SelectConfig, name: str) -> None:
    assert default_selection_name(config) == name
    assert record_name("select", config) == f"select/{name}"


def test_no_two_ways_to_select_have_one_name() -> None:
    ways = [
        SelectConfig(method=method, key=key)
        for method, entry in SELECTORS.items()
        for key in (SCORES if entry.keyed else ["aum"])
    ]
    assert len({default_selection_name(way) for way in ways}) == len(ways)


def test_selection_keeps_the_name_that_it_was_given() -> None:
    assert record_name("select", SelectConfig(name="first round")) == "select/first round"
    assert record_name("cluster", ClusterConfig()) == "cluster"


@pytest.mark.parametrize("name", ["../x", "/x", ".x", "a\tb", "C:x"])
def test_name_with_a_place_in_it_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"^--name is .*, expected a plain folder name without"):
        record_name("select", SelectConfig(name=name))


@pytest.mark.parametrize("name", ["x" * 201, "\u00e9" * 101])
def test_a_name_that_is_too_long_for_a_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"^--name has 20\d bytes, expected a plain folder name of at most 200"):
        record_name("select", SelectConfig(name=name))
    assert record_name("select", SelectConfig(name="\u00e9" * 100)) == "select/" + "\u00e9" * 100


def test_random_needs_what_embed_makes() -> None:
    made = STAGES["embed"].makes
    assert set(needed_artifacts("select", SelectConfig(method="random", dedup="near"))) == set(made)
    assert set(needed_artifacts("select", SelectConfig(method="random"))) == {"samples", "embeddings"}
    assert needed_artifacts("select", SelectConfig(method="random", dedup="off")) == ("samples",)
    assert set(needed_artifacts("select", SelectConfig(method="elfs", hard_rate="0.1", dedup="off"))) == {
        "samples",
        "scores",
    }


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ({"method": "hardest", "balance": "cluster"}, {"scores", "pseudo_labels"}),
        ({}, {"scores", "embeddings", "pseudo_labels", "neighbors"}),
        ({"method": "elfs"}, {"scores", "embeddings"}),
        ({"method": "elfs", "hard_rate": "search"}, {"scores", "embeddings", "pseudo_labels", "proxy"}),
        ({"method": "badge"}, {"proxy", "embeddings", "pseudo_labels"}),
        ({"method": "random", "exclude": "selections/a,b.csv", "name": "x"}, {"selections/a"}),
    ],
)
def test_select_needs_what_its_settings_read(settings: dict[str, Any], more: set[str]) -> None:
    assert set(needed_artifacts("select", from_json(SelectConfig, settings | {"dedup": "off"}))) == {"samples"} | more


@pytest.mark.parametrize(
    ("settings", "reads_groups", "reads_them_beside_annotations"),
    [
        ({}, False, True),
        ({"per_group": 1}, True, True),
        ({"by_group": True}, True, True),
        ({"holdout": "10"}, True, True),
        ({"groups": "shots.csv"}, False, False),
        ({"groups": "shots.csv", "per_group": 1}, False, False),
    ],
)
def test_select_reads_groups_that_were_named_before(
    settings: dict[str, Any], reads_groups: bool, reads_them_beside_annotations: bool
) -> None:
    """Only where they decide something, and never where it names others."""
    stage = stage_of("select", SelectConfig(**settings))
    assert set(stage.optional) == {"annotations", *["groups"] * reads_groups}
    assert stage.beside_annotations == ("groups",) * reads_them_beside_annotations


def test_rounds_do_not_make_select_its_own_ancestor() -> None:
    config = SelectConfig(method="random", exclude="selections/a", name="x")
    assert ancestors("select", config) == ["embed"]


def test_ancestors() -> None:
    assert ancestors("embed", None) == []
    assert ancestors("select", SelectConfig(method="random")) == ["embed"]
    assert ancestors("select", None) == ["embed", "cluster", "label", "dynamics", "score"]
    assert ancestors("label", None) == ["embed", "cluster"]


def test_makers() -> None:
    assert makers(["samples", "neighbors"]) == ["embed"]
    assert makers(["pseudo_labels", "samples"]) == ["embed", "cluster", "label"]
    assert makers(["selections/aum-0.1"]) == list(STAGES)


def test_no_stage_makes_what_people_bring() -> None:
    assert makers(["annotations"]) == []
    assert makers(["pseudo_labels", "annotations", "neighbors"]) == ["embed", "cluster", "label"]
