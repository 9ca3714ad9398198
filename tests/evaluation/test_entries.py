"""What may be typed after --methods and --budgets."""

from typing import Any

import pytest

from elfs.catalog import SELECTORS
from elfs.config import CompareConfig
from elfs.errors import UsageError
from elfs.evaluation.entries import ALL, Entry, every_method, parse_budgets, parse_methods


def labels(methods: str, **settings: Any) -> list[str]:
    found = parse_methods(CompareConfig(methods=methods, **settings))
    return [entry.label if isinstance(entry, Entry) else entry for entry in found]


@pytest.mark.parametrize(
    ("methods", "settings", "expected"),
    [
        ("elfs,random", {}, ["elfs@aum", "random"]),
        (" elfs , random,", {}, ["elfs@aum", "random"]),
        ("elfs@el2n,elfs:0.3,elfs@el2n:0.30", {}, ["elfs@el2n", "elfs@aum:0.3", "elfs@el2n:0.3"]),
        ("elfs,hardest,random", {"key": "loss"}, ["elfs@loss", "hardest@loss", "random"]),
        (
            "elfs,elfs:auto,elfs:0.1,random",
            {"hard_rate": "0.2"},
            ["elfs@aum:0.2", "elfs@aum", "elfs@aum:0.1", "random"],
        ),
        ("elfs:search", {}, ["elfs@aum:search"]),
        ("elfs,elfs@aum,elfs", {}, ["elfs@aum"]),
        ("all,elfs@el2n", {}, [ALL, "elfs@el2n"]),
    ],
)
def test_methods(methods: str, settings: dict[str, Any], expected: list[str]) -> None:
    assert labels(methods, **settings) == expected


@pytest.mark.parametrize("methods", ["elfs@el2n:0.3", "elfs@aum", "random", "ccs@aum:0.5", "elfs@aum:search"])
def test_a_label_can_be_typed(methods: str) -> None:
    assert labels(methods) == [methods]


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (" , ", r"^--methods is ' , ', expected names such as elfs,random\.$"),
        ("elf", r"^unknown method in --methods: 'elf'\. Did you mean 'elfs'\? Available: all, auto"),
        ("@aum", r"^unknown method in --methods: ''\."),
        ("all@aum", r"^unknown method in --methods: 'all'\."),
        ("elfs@amu", r"^unknown score key in --methods: 'amu'\. Did you mean 'aum'\?"),
        ("random@aum", r"^--methods: 'random@aum' names a key, but random ranks by none\.$"),
        ("hardest:0.3", r"^--methods: 'hardest:0\.3' names a hard rate, but hardest prunes nothing\.$"),
        ("elfs:1.5", r"^--hard-rate is '1\.5', expected"),
        ("elfs:0\n3", r"^--hard-rate is '0\\n3', expected"),
    ],
)
def test_methods_that_are_refused(methods: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        labels(methods)


def test_hard_rate_is_checked_even_where_nothing_is_pruned() -> None:
    with pytest.raises(UsageError, match=r"^--hard-rate is '2', expected a share from 0 to 1, auto or search\.$"):
        labels("random", hard_rate="2")


def test_every_method_takes_what_concerns_it() -> None:
    entries = list(every_method(CompareConfig(key="loss", hard_rate="0.2")))
    assert [entry.method for entry in entries] == list(SELECTORS)
    for entry in entries:
        method = SELECTORS[entry.method]
        assert entry.key == ("loss" if method.keyed else None)
        assert entry.hard_rate == ("0.2" if method.prunes else None)


def test_select_is_told_the_same() -> None:
    config = Entry("elfs", "el2n", "0.3").select_config("5%", 7)
    assert (config.method, config.key, config.hard_rate, config.budget, config.seed) == ("elfs", "el2n", "0.3", "5%", 7)
    assert Entry("random").select_config("10", 0).key == "aum"  # the default, which random ignores


def test_budgets() -> None:
    assert parse_budgets(CompareConfig(budgets="0.01, 5%,100,0.01,")) == ["0.01", "5%", "100"]
    with pytest.raises(UsageError, match=r"^--budgets is '', expected shares or counts such as 0\.01,0\.05,0\.1\.$"):
        parse_budgets(CompareConfig(budgets=""))
    with pytest.raises(UsageError, match=r"^--budgets is 'many', expected a share"):
        parse_budgets(CompareConfig(budgets="0.1,many"))
    with pytest.raises(UsageError, match=r"^--budgets is 1\.5: a share is at most 1\.0"):
        parse_budgets(CompareConfig(budgets="1.5"))
