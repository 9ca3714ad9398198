from pathlib import Path
from typing import Any

from elfs.cli._plan import PlannedStage, changes, plan
from elfs.config import (
    ClusterConfig,
    DynamicsConfig,
    EmbedConfig,
    LabelConfig,
    ScoreConfig,
    SelectConfig,
    StageConfig,
    as_json,
)


def steps(path: Path, *calls: tuple[str, StageConfig], force: bool = False) -> list[tuple[str, str, str]]:
    return [(step.record, step.action, step.reason) for step in plan(path, calls, force=force)]


CHAIN: list[tuple[str, StageConfig]] = [
    ("cluster", ClusterConfig()),
    ("label", LabelConfig()),
    ("score", ScoreConfig()),
]


def test_changes_are_named() -> None:
    recorded = as_json(ClusterConfig(heads=16, epochs=20))
    assert changes(ClusterConfig(heads=8), recorded) == ["heads 16 -> 8", "epochs 20 -> auto"]
    assert changes(ClusterConfig(heads=16, epochs=20), recorded) == []


def test_files_are_compared_as_the_manifest_keeps_them() -> None:
    recorded = as_json(EmbedConfig(source="digits", weights="a.safetensors"))
    asked = EmbedConfig(source="digits", weights="/far/a.safetensors", data_root="/data", download=True)
    assert changes(asked, recorded) == []
    assert changes(EmbedConfig(source="digits", weights="/far/b.safetensors"), recorded) == [
        "weights a.safetensors -> b.safetensors"
    ]


def test_without_a_workspace_only_embed_can_run(tmp_path: Path) -> None:
    config = EmbedConfig(source="digits")
    assert steps(tmp_path / "none", ("embed", config)) == [("embed", "run", "never ran")]
    assert steps(tmp_path / "none", ("cluster", ClusterConfig())) == [("cluster", "refuse", "embed is missing")]


def test_a_fresh_chain_has_nothing_to_do(builder: Any) -> None:
    builder.commit_all()
    assert steps(builder.path, ("embed", EmbedConfig(source="digits")), ("cluster", ClusterConfig())) == [
        ("embed", "skip", "fresh, unless the images have changed"),
        ("cluster", "skip", "fresh"),
    ]
    assert plan(builder.path, [("cluster", ClusterConfig())], force=True) == [
        PlannedStage("cluster", "cluster", "run", "--force")
    ]


def test_a_change_reaches_everything_below(builder: Any) -> None:
    builder.commit_all()
    found = steps(builder.path, ("cluster", ClusterConfig(heads=8)), ("label", LabelConfig()))
    assert found == [("cluster", "run", "heads auto -> 8"), ("label", "run", "cluster runs before it")]


def test_stale_records_say_why(builder: Any) -> None:
    builder.commit_all()
    builder.commit("embed", {"source": "digits"}, version=1)
    found = steps(builder.path, *CHAIN[:2])
    assert found[0][:2] == ("cluster", "run")
    assert "were rebuilt after it (embed)" in found[0][2]
    assert found[1] == ("label", "run", "cluster runs before it")


def test_what_lacks_its_upstream_is_refused(builder: Any) -> None:
    builder.commit_all()
    builder.commit("embed", {"source": "digits"}, version=1)
    assert steps(builder.path, ("score", ScoreConfig())) == [("score", "refuse", "cluster is stale")]
    below = steps(builder.path, ("label", LabelConfig()), ("score", ScoreConfig()))
    assert below == [("label", "refuse", "cluster is stale"), ("score", "refuse", "cluster is stale")]


def test_a_refusal_reaches_what_stands_on_it(builder: Any) -> None:
    builder.commit("embed", {"source": "digits"})
    found = steps(builder.path, ("label", LabelConfig()), ("dynamics", DynamicsConfig()))
    assert found == [("label", "refuse", "cluster is missing"), ("dynamics", "refuse", "cluster is missing")]


def test_selections_are_planned_by_their_name(builder: Any) -> None:
    builder.commit_all()
    config = SelectConfig(budget="0.2")
    assert steps(builder.path, ("select", SelectConfig())) == [("select/aum-0.1", "skip", "fresh")]
    assert steps(builder.path, ("select", config)) == [("select/aum-0.2", "run", "never ran")]


def test_another_list_is_planned_under_another_name(builder: Any) -> None:
    builder.commit_all()
    builder.commit("score", {}, version=1)
    [(record, action, reason)] = steps(builder.path, ("select", SelectConfig()))
    assert (record, action) == ("select/aum-0.1", "run")
    assert reason == "made from older scores; another list is named aum-0.1-2"
    chosen = SelectConfig(budget="0.2", name="aum-0.1")
    assert steps(builder.path, ("select", chosen))[0][2].endswith("; another list is refused")
    assert not steps(builder.path, ("select", chosen), force=True)[0][2].endswith("refused")
