"""Configs: defaults, checks, the JSON round trip, and the budget."""

import dataclasses
import math
from typing import Any

import pytest

from elfs.config import (
    CONFIGS,
    SMOKE,
    ClusterConfig,
    DynamicsConfig,
    EmbedConfig,
    ScoreConfig,
    SelectConfig,
    StageConfig,
    as_json,
    field_type,
    from_json,
)
from elfs.errors import UsageError


@pytest.mark.parametrize("stage", CONFIGS)
def test_config_survives_json(stage: str) -> None:
    smoke = from_json(CONFIGS[stage], SMOKE.get(stage, {}))
    assert from_json(CONFIGS[stage], as_json(smoke)) == smoke
    assert from_json(CONFIGS[stage], {}) == CONFIGS[stage]()


@pytest.mark.parametrize("stage", CONFIGS)
def test_field_has_help_and_a_plain_type(stage: str) -> None:
    for field in dataclasses.fields(CONFIGS[stage]):
        plain, optional = field_type(field)
        assert plain in (str, int, float, bool)
        assert field.metadata["help"] or field.metadata["internal"]
        assert ("[auto:" in field.metadata["help"]) <= optional


def test_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ClusterConfig().heads = 3  # type: ignore[misc]


def test_whole_number_becomes_a_float_where_one_is_meant() -> None:
    rate = ClusterConfig(learning_rate=1).learning_rate
    assert (rate, type(rate)) == (1.0, float)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (ClusterConfig, {"loss": None}, r"^--loss needs a value of type str\.$"),
        (ClusterConfig, {"heads": "8"}, r"^--heads is '8', expected int\.$"),
        (ClusterConfig, {"heads": 2.5}, r"^--heads is 2\.5, expected int\.$"),
        (ClusterConfig, {"heads": True}, r"^--heads is True, expected int\.$"),
        (ClusterConfig, {"standardize": 1}, r"^--standardize is 1, expected bool\.$"),
        (ClusterConfig, {"beta": True}, r"^--beta is True, expected float\.$"),
        (ClusterConfig, {"beta": math.nan}, r"^--beta is nan, expected a finite number\.$"),
        (ClusterConfig, {"learning_rate": math.inf}, r"^--learning-rate is inf, expected a finite number\.$"),
        (ClusterConfig, {"clusters": 1}, r"^--clusters is 1, expected at least 2\.$"),
        (ClusterConfig, {"beta": 1.5}, r"^--beta is 1\.5, expected at most 1\.$"),
        (ClusterConfig, {"loss": "tami"}, r"^unknown value for --loss: 'tami'\. Did you mean 'temi'\?"),
        (SelectConfig, {"hard_rate": -0.1}, r"^--hard-rate is -0\.1, expected a share from 0 to 1, auto or search\.$"),
        (SelectConfig, {"hard_rate": "some"}, r"^--hard-rate is 'some', expected a share from 0 to 1"),
        (SelectConfig, {"hard_rate": "nan"}, r"^--hard-rate is 'nan', expected a share from 0 to 1"),
        (SelectConfig, {"hard_rate": True}, r"^--hard-rate is True, expected a share from 0 to 1"),
        (SelectConfig, {"blocks": 2}, r"^--blocks is for the methods badge, herding, k-center; auto does not need it"),
        (SelectConfig, {"key": "amu"}, r"^unknown value for --key: 'amu'\. Did you mean 'aum'\?"),
        (SelectConfig, {"budget": "many"}, r"^--budget is 'many', expected a share"),
        (DynamicsConfig, {"epochs": 1}, r"^--epochs is 1, expected at least 2\.$"),
        (ScoreConfig, {"window": 0}, r"^--window is 0, expected at least 1\.$"),
        (EmbedConfig, {"max_broken": 1.01}, r"^--max-broken is 1\.01, expected at most 1\.$"),
        (EmbedConfig, {"seed": -1}, r"^--seed is -1, expected at least 0\.$"),
        (EmbedConfig, {"seed": 2**63}, rf"^--seed is {2**63}, expected at most {2**63 - 1}\.$"),
        (EmbedConfig, {"neighbors": -1234567}, r"^--neighbors is -1234567, expected at least 1\.$"),
    ],
)
def test_config_refuses(kind: type[StageConfig], values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        kind(**values)


def test_unknown_setting_is_refused_with_a_suggestion() -> None:
    with pytest.raises(
        UsageError, match=r"^unknown setting 'window_'\. Did you mean 'window'\? Available: window, seed\.$"
    ):
        from_json(ScoreConfig, {"window_": 3})


@pytest.mark.parametrize(
    ("given", "kept", "number"),
    [
        ("0.40", "0.4", 0.4),
        (0.25, "0.25", 0.25),
        (1, "1", 1.0),
        ("1e-7", "1e-07", 1e-7),
        (0.123456789, "0.123456789", 0.123456789),
    ],
)
def test_hard_rate_has_one_way_to_be_written(given: object, kept: str, number: float) -> None:
    config = from_json(SelectConfig, {"hard_rate": given})
    assert (config.hard_rate, config.fixed_hard_rate) == (kept, number)


@pytest.mark.parametrize("given", [None, "search"])
def test_hard_rate_that_is_worked_out(given: str | None) -> None:
    assert SelectConfig(hard_rate=given).fixed_hard_rate is None


@pytest.mark.parametrize(
    ("config", "name"),
    [
        pytest.param(config, field.name, id=f"{stage}-{field.name}")
        for stage, config in CONFIGS.items()
        for field in dataclasses.fields(config)
        if field_type(field)[0] in (int, float)
    ],
)
def test_a_number_that_no_machine_counts_is_refused(config: type[StageConfig], name: str) -> None:
    for value in (2**63, -(2**63), 2**64, 10**400, 16**5000):
        shown = str(value) if value.bit_length() == 64 else f"a number of {value.bit_length()} bits"
        bound = f"at most {2**63 - 1}" if value > 0 else f"at least -{2**63 - 1}"
        with pytest.raises(UsageError, match=rf"^--[a-z-]+ is {shown}, expected {bound}\.$"):
            config(**{name: value})
