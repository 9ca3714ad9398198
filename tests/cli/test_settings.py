import os
from pathlib import Path
from typing import Any

import pytest

from elfs.cli._settings import Settings, load_settings, parse_count, parse_option, resolve, unknown_variables
from elfs.config import CONFIGS, SMOKE, ClusterConfig, SelectConfig
from elfs.config.spellings import option_fields
from elfs.errors import UsageError


def write(text: str) -> Path:
    """Write the file beside the workspace; return the workspace."""
    Path("elfs.toml").write_text(text, encoding="utf-8")
    return Path("elfs-workspace")


def clusters(flags: dict[str, Any], settings: Settings, **options: Any) -> ClusterConfig:
    config = resolve("cluster", flags, settings, **options)
    assert isinstance(config, ClusterConfig)
    return config


def test_no_file_no_settings() -> None:
    assert load_settings(Path("elfs-workspace")) == Settings()


def test_a_byte_order_mark_is_no_setting() -> None:
    assert load_settings(write("\ufeff[select]\nbudget = 3\n")).tables == {"select": {"budget": "3"}}


def test_each_place_wins_over_those_below_it() -> None:
    settings = Settings(tables={"cluster": {"heads": 5}})
    base = ClusterConfig(heads=7, bottleneck=99)
    assert clusters({}, Settings()).heads is None
    assert clusters({}, Settings(), base=base).heads == 7
    assert clusters({}, settings, base=base).heads == 5
    assert clusters({}, settings, base=base).bottleneck == 99
    assert clusters({}, settings, smoke=True).heads == SMOKE["cluster"]["heads"] != 5
    assert clusters({"heads": 3}, settings, smoke=True, base=base).heads == 3


def test_an_explicit_auto_wins_over_the_file() -> None:
    assert clusters({"heads": None}, Settings(tables={"cluster": {"heads": 5}})).heads is None


def test_stages_without_smoke_settings_take_the_flag_too() -> None:
    assert "label" not in SMOKE
    assert resolve("label", {}, Settings(), smoke=True) == CONFIGS["label"]()


def test_the_file_is_read_beside_the_workspace() -> None:
    workspace = write('devices = 0\nseed = 3\nworkers = "auto"\n[cluster]\nheads = "auto"\ntemperature = 1\n')
    settings = load_settings(workspace)
    assert (settings.devices, settings.seed, settings.workers) == ("0", 3, "auto")
    assert settings.tables == {"cluster": {"heads": None, "temperature": 1}}
    assert settings.values("cluster") == {"heads": None, "temperature": 1, "seed": 3}
    assert settings.values("label") == {}


@pytest.mark.parametrize(("written", "budget"), [("500", "500"), ("0.1", "0.1"), ("1.0", "1.0"), ('"10%"', "10%")])
def test_a_number_may_stand_for_text(written: str, budget: str) -> None:
    config = resolve("select", {}, load_settings(write(f"[select]\nbudget = {written}\n")))
    assert isinstance(config, SelectConfig)
    assert config.budget == budget


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clusters = 3", r"elfs\.toml: unknown setting 'clusters'\. Did you mean 'cluster'\?"),
        ("[cluster]\nhead = 3", r"elfs\.toml, \[cluster\]: unknown setting 'head'\. Did you mean 'heads'\?"),
        ("[cluster]\nseed = 3", r"elfs\.toml, \[cluster\]: unknown setting 'seed'"),
        ("[cluster]\nheads = 0", r"elfs\.toml, \[cluster\]: --heads is 0, expected at least 1"),
        ("[cluster]\nheads = 'x'", r"elfs\.toml, \[cluster\]: --heads is 'x', expected int"),
        ("cluster = 3", r"elfs\.toml: cluster is 3, expected a table \[cluster\]"),
        ("seed = -1", r"elfs\.toml: seed is -1, expected a whole number of at least 0"),
        ("seed = true", r"elfs\.toml: seed is True, expected a whole number"),
        ("devices = [0]", r"elfs\.toml: devices is \[0\], expected text or a whole number"),
        ("workers = false", r"elfs\.toml: workers is False, expected text or a whole number"),
        ("= 3", r"elfs\.toml is not valid TOML: "),
        ('"bud\\nget" = 3', r"elfs\.toml: unknown setting 'bud\\nget'\. "),
        (
            "[cluster]\nclusters = 0x" + "f" * 5000,
            r"\[cluster\]: --clusters is a number of 20000 bits, expected at most",
        ),
        ("[cluster]\nbeta = 0x" + "f" * 500, r"\[cluster\]: --beta is a number of 2000 bits, expected at most"),
        ("workers = 0x" + "f" * 5000, r"elfs\.toml: workers is a number of 20000 bits, expected at most"),
        ("seed = 0x" + "f" * 5000, r"elfs\.toml: seed is a number of 20000 bits, expected at most"),
        *(
            (
                f"{name} = {sign}{2**63}",
                rf"elfs\.toml: {name} is {sign}{2**63}, expected at (most|least) {sign}{2**63 - 1}\.$",
            )
            for name in ("devices", "seed", "workers", "rank_timeout")
            for sign in ("", "-")
        ),
    ],
)
def test_a_wrong_file_is_refused_by_its_name(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_settings(write(text))


def test_a_file_that_is_no_text_is_refused() -> None:
    Path("elfs.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match=r"elfs\.toml is not valid TOML"):
        load_settings(Path("elfs-workspace"))


def test_a_pipe_is_no_file_of_settings() -> None:
    os.mkfifo("elfs.toml")
    with pytest.raises(UsageError, match=r"elfs\.toml is a pipe, expected a file\.$"):
        load_settings(Path("elfs-workspace"))


def test_options_are_read_by_the_type_of_their_field() -> None:
    fields = option_fields("cluster")
    assert parse_option(fields["heads"], "--heads", "8") == 8
    assert parse_option(fields["heads"], "--heads", " AUTO ") is None
    assert parse_option(fields["temperature"], "--temperature", "1e-2") == 0.01
    assert parse_option(fields["method"], "--method", "auto") is None
    assert parse_option(fields["loss"], "--loss", "auto") == "auto"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("heads", "x", "--heads is 'x', expected a whole number or auto"),
        ("heads", "1.5", "--heads is '1.5', expected a whole number or auto"),
        ("warmup_epochs", "auto", "--warmup_epochs is 'auto', expected a whole number[.]"),
        ("temperature", "warm", "--temperature is 'warm', expected a number[.]"),
    ],
)
def test_values_that_are_no_values_are_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_option(option_fields("cluster")[name], "--" + name, text)


def test_internal_fields_are_no_options() -> None:
    assert "seed" not in option_fields("cluster")
    assert "source" not in option_fields("embed")


def test_variables_that_are_no_options_are_named() -> None:
    right = ["ELFS_SELECT_BUDGET", "ELFS_SELECT_HARD_RATE", "ELFS_WORKSPACE", "ELFS_SEED", "PATH"]
    assert unknown_variables(["select"], [*right, "ELFS_CLUSTER_HEDS"]) == []
    assert unknown_variables(["cluster", "select"], [*right, "ELFS_SELECT_BUDGT", "ELFS_CLUSTER_QQ"]) == [
        "the variable ELFS_CLUSTER_QQ is no option and has no effect.",
        "the variable ELFS_SELECT_BUDGT is no option and has no effect. Did you mean 'ELFS_SELECT_BUDGET'?",
    ]
    for stage in CONFIGS:
        assert unknown_variables([stage], [f"ELFS_{stage}_{name}".upper() for name in option_fields(stage)]) == []


def test_a_command_warns_of_a_variable_that_is_no_option(elfs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELFS_SELECT_BUDGT", "6")
    warning = "warning: the variable ELFS_SELECT_BUDGT is no option and has no effect."
    assert warning in elfs("select").err
    assert warning not in elfs("cluster").err


def test_counts() -> None:
    assert parse_count("--workers", "0") == 0
    assert parse_count("--workers", "auto") is None
    assert parse_count("--workers", None) is None
    for blank in " \t\n\x1c\x1f\x85\u3000":
        assert parse_count("--workers", f"{blank}3{blank}") == 3


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "", "\u0663", "\u00b2", "9" * 7, "9" * 5000])
def test_counts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--workers is '{text}', expected a whole number of at least 0 or auto"):
        parse_count("--workers", text)


@pytest.mark.parametrize("text", ["[cluster]\nclusters = " + "9" * 5000, "a = " + "[" * 5000])
def test_row_48_numbers_and_nesting_without_end_are_no_toml(text: str) -> None:
    Path("elfs.toml").write_text(text)
    with pytest.raises(UsageError, match=r"elfs\.toml is not valid TOML: "):
        load_settings(Path("work"))
