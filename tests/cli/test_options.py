import dataclasses
import inspect
from typing import Any, get_args

import pytest
import typer

from elfs.catalog import RECIPES, SCORES, STAGES
from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._words import words
from elfs.config import CONFIGS, DEFAULT_WORKSPACE, ClusterConfig, SelectConfig, field_type
from elfs.config.spellings import option_fields, spellings
from elfs.errors import UsageError

SHARED: dict[str, Any] = {
    "workspace": DEFAULT_WORKSPACE,
    "devices": None,
    "workers": None,
    "seed": None,
    "force": False,
    "dry_run": False,
    "smoke": False,
    "json": False,
    "quiet": False,
    "verbose": False,
}


def call(stage: str, seen: list[Invocation]) -> Any:
    """Return a command of one stage that notes how it was called."""

    @command(stage)
    def body(invocation: Invocation) -> None:
        """Note the call."""
        seen.append(invocation)

    return body


def defaults(body: Any) -> dict[str, Any]:
    return {name: item.default for name, item in inspect.signature(body).parameters.items()}


def invoke(stage: str, **values: Any) -> Invocation:
    seen: list[Invocation] = []
    body = call(stage, seen)
    body(**(defaults(body) | values))
    return seen[0]


def option(body: Any, name: str) -> Any:
    """Return the ``typer.Option`` of one parameter."""
    return get_args(inspect.signature(body).parameters[name].annotation)[-1]


@pytest.mark.parametrize("stage", CONFIGS)
def test_every_field_is_an_option_and_none_is_retyped(stage: str) -> None:
    body = call(stage, [])
    for name, item in option_fields(stage).items():
        made = option(body, f"{stage}__{name}")
        assert defaults(body)[f"{stage}__{name}"] is None
        assert made.envvar == f"ELFS_{stage.upper()}_{name.upper()}"
        assert made.help.startswith(str(item.metadata["help"]).split(" [")[0].rstrip("."))
        if not field_type(item)[1] and field_type(item)[0] is not bool:
            assert f"\\[default: {item.default}]" in made.help


def test_what_typer_reads_from_a_field() -> None:
    body = call("select", [])
    key = option(body, "select__key")
    assert (key.default, key.metavar, key.rich_help_panel) == ("--key", "KEY", None)
    assert key.autocompletion("") == [(name, score.summary) for name, score in SCORES.items()]
    assert key.help == f"Score to select by: {', '.join(SCORES)}. \\[default: aum]"
    assert "\\[default: auto = by how well each window covers the pool" in option(body, "select__hard_rate").help
    alias = option(body, "select__hard_rate__0")
    assert (alias.default, alias.hidden) == ("--mis-ratio", True)


def test_optional_choices_take_auto() -> None:
    recipe = option(call("dynamics", []), "dynamics__recipe")
    assert recipe.autocompletion("") == [("auto", ""), *RECIPES.items()]
    assert recipe.autocompletion("c") == [("cifar", RECIPES["cifar"])]


def test_flags_have_a_way_back() -> None:
    made = option(call("cluster", []), "cluster__standardize")
    assert made.default == "--standardize/--no-standardize"
    assert made.help.endswith("\\[default: yes]")
    assert invoke("cluster", cluster__standardize=False).flags == {"cluster": {"standardize": False}}


def test_only_given_options_are_flags() -> None:
    assert invoke("cluster").flags == {"cluster": {}}
    assert invoke("cluster", cluster__heads="8", cluster__epochs="auto").flags == {
        "cluster": {"heads": 8, "epochs": None}
    }


def test_an_alias_counts_where_the_option_is_not_given() -> None:
    assert invoke("select", select__hard_rate__0="0.3").flags == {"select": {"hard_rate": "0.3"}}
    both = invoke("select", select__hard_rate="0.1", select__hard_rate__0="0.3")
    assert both.flags == {"select": {"hard_rate": "0.1"}}


def test_only_seeded_stages_take_a_seed() -> None:
    assert "seed" in inspect.signature(call("cluster", [])).parameters
    assert "seed" not in inspect.signature(call("label", [])).parameters


def test_own_parameters_stay() -> None:
    @command("label")
    def body(invocation: Invocation, extra: str = "x") -> None:
        """Do nothing."""

    assert next(iter(inspect.signature(body).parameters)) == "extra"
    assert "invocation" not in body.__annotations__


def test_shared_names_get_the_stage_before_them() -> None:
    written = spellings(STAGES)
    assert written["cluster"]["epochs"] == "--cluster-epochs"
    assert written["dynamics"]["epochs"] == "--dynamics-epochs"
    assert written["embed"]["batch_size"] == "--embed-batch-size"
    assert written["cluster"]["clusters"] == "--clusters"
    assert written["select"]["method"] == "--method"
    assert written["cluster"]["method"] == "--cluster-method"
    assert spellings(["cluster"])["cluster"]["epochs"] == "--epochs"
    every = [spelling for stage in written.values() for spelling in stage.values()]
    assert len(set(every)) == len(every)


def invocation(flags: dict[str, dict[str, Any]], **shared: Any) -> Invocation:
    return Invocation(SHARED | shared, flags, spellings(STAGES))


def test_the_seed_goes_to_every_config_that_has_one() -> None:
    seeded = invocation({}, seed="5")
    cluster = seeded.config("cluster")
    assert isinstance(cluster, ClusterConfig)
    assert cluster.seed == 5
    assert seeded.config("label") == CONFIGS["label"]()
    assert invocation({}).seed is None
    base = ClusterConfig(seed=9)
    kept = invocation({}).config("cluster", base=base)
    assert kept == base


def test_the_flag_beats_the_file_for_shared_options(tmp_path: Any) -> None:
    (tmp_path / "elfs.toml").write_text('devices = "cpu"\nseed = 4\nworkers = 2\n')
    from_file = invocation({})
    assert from_file.seed == 4
    assert (from_file.runtime().devices, from_file.runtime().num_workers) == ("cpu", 2)
    typed = invocation({}, devices="cpu:1", workers="auto", seed="1")
    assert typed.seed == 1
    assert (typed.runtime().devices, typed.runtime().num_workers) == ("cpu:1", None)


def test_devices_are_refused_before_anything_is_loaded() -> None:
    with pytest.raises(UsageError, match="--devices is 'gpu', expected auto, cpu, cpu:2, all, or GPU numbers"):
        invocation({}, devices="gpu").runtime()


def test_errors_name_the_option_as_it_is_written() -> None:
    with pytest.raises(UsageError, match=r"^--cluster-epochs is 0, expected at least 1"):
        invocation({"cluster": {"epochs": 0}}).config("cluster")
    with pytest.raises(UsageError, match=r"^unknown value for --method: 'best'"):
        invocation({"select": {"method": "best"}}).config("select")
    with pytest.raises(UsageError, match=r"^--warmup-epochs is -1"):
        invocation({"cluster": {"warmup_epochs": -1}}).config("cluster")


def test_internal_fields_are_given_by_the_command() -> None:
    config = invocation({}).config("embed", source="digits")
    assert dataclasses.asdict(config)["source"] == "digits"


def test_select_config_parses_budgets() -> None:
    config = invocation({"select": {"budget": "10%"}}).config("select")
    assert isinstance(config, SelectConfig)
    assert config.budget == "10%"


def test_words_complete_their_beginnings() -> None:
    complete = words(("aum", "el2n", "entropy"))
    assert complete("") == [("aum", ""), ("el2n", ""), ("entropy", "")]
    assert words(SCORES)("el") == [("el2n", SCORES["el2n"].summary)]


def test_typer_accepts_the_signature() -> None:
    app = typer.Typer(add_completion=False)
    seen: list[Invocation] = []
    app.command()(call("cluster", seen))
    app(["--heads", "8", "--no-standardize", "-q"], standalone_mode=False)
    assert seen[0].flags == {"cluster": {"heads": 8, "standardize": False}}
    assert seen[0].output.quiet
