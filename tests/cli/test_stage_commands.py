import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elfs.catalog import SCORES, SELECTORS
from elfs.config import SMOKE, ClusterConfig, EmbedConfig, SelectConfig
from elfs.errors import StaleUpstreamError
from elfs.parallel.runtime import Runtime
from elfs.pipeline.job import Outcome

Elfs = Callable[..., Any]


def test_a_stage_says_its_row_and_what_comes_next(elfs: Elfs, stages: list[Any]) -> None:
    ran = elfs("cluster", "--heads", "8")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.splitlines() == [
        "  cluster   TEMI, 16 heads, 10 clusters        head 7 chosen         0:38",
        "next       elfs label",
    ]
    [call] = stages
    assert call.config == ClusterConfig(heads=8)
    assert call.workspace == Path("elfs-workspace")
    assert call.options == {"force": False, "smoke": False, "source_root": None}


def test_hints_name_the_workspace_where_it_is_not_the_usual_one(elfs: Elfs, stages: list[Any]) -> None:
    assert (
        elfs("score", "-w", "my cats").err.splitlines()[1]
        == "next       elfs select --budget 0.1 --key aum -w 'my cats'"
    )


def test_force_and_smoke_reach_the_stage(elfs: Elfs, stages: list[Any]) -> None:
    ran = elfs("cluster", "--force", "--smoke", "--devices", "cpu", "--workers", "2", "--seed", "7")
    [call] = stages
    assert call.options == {"force": True, "smoke": True, "source_root": None}
    assert (call.runtime.devices, call.runtime.num_workers) == ("cpu", 2)
    assert call.config == ClusterConfig(seed=7, **SMOKE["cluster"])
    assert "warning: smoke settings: every step ran, the result means nothing." in ran.err


def test_a_profile_is_written_where_it_is_asked_for(elfs: Elfs, stages: list[Any], tmp_path: Path) -> None:
    ran = elfs("cluster", "--profile", str(tmp_path / "new" / "profile"))
    assert (ran.code, (tmp_path / "new" / "profile").is_dir()) == (0, True)
    assert ran.err.endswith("profile    nothing written: no loop took more than three steps\n")
    [call] = stages
    with call.runtime.progress.task("cluster: heads", 13, "steps") as task:
        for _ in range(13):
            task.advance()
    assert sorted(path.name for path in (tmp_path / "new" / "profile").iterdir()) == [
        "cluster-heads.json",
        "cluster-heads.txt",
    ]


def test_a_profile_needs_a_folder(elfs: Elfs, stages: list[Any], tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    ran = elfs("cluster", "--profile", str(tmp_path / "taken"))
    assert ran.code == 7
    assert f"error: cannot make directory {tmp_path / 'taken'}"[:60] in ran.err
    assert stages == []


def test_options_come_from_variables_and_from_the_file(
    elfs: Elfs, stages: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("elfs.toml").write_text("[cluster]\nheads = 5\nepochs = 30\n")
    monkeypatch.setenv("ELFS_CLUSTER_HEADS", "6")
    monkeypatch.setenv("ELFS_SEED", "2")
    assert elfs("cluster").code == 0
    assert elfs("cluster", "--heads", "auto").code == 0
    assert [call.config for call in stages] == [
        ClusterConfig(heads=6, epochs=30, seed=2),
        ClusterConfig(heads=None, epochs=30, seed=2),
    ]


def test_switches_come_from_variables_too(elfs: Elfs, stages: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELFS_CLUSTER_STANDARDIZE", "0")
    assert elfs("cluster").code == 0
    assert elfs("cluster", "--standardize").code == 0
    assert [call.config.standardize for call in stages] == [False, True]


def test_select_says_where_the_selection_lies_and_what_it_contains(elfs: Elfs, stages: list[Any]) -> None:
    ran = elfs("select", "--method", "elfs", "--mis-ratio", "0.3")
    name = "elfs-aum-0.1-hard0.3"
    assert ran.out.splitlines() == [
        f"selection  elfs-workspace/selections/{name}/selection.csv",
        "contains   144 images of 1,437 (10.0%), 9 of 10 clusters, 0 to 21 from each",
        "verdict    fair: 1 of 10 clusters missed",
        "           try --balance cluster",
        "left out   2 images without a score",
    ]
    assert f"elfs train --selection {name}" in ran.err
    assert stages[0].config == SelectConfig(method="elfs", hard_rate="0.3")


def test_quiet_select_prints_the_file_alone(elfs: Elfs, stages: list[Any]) -> None:
    ran = elfs("select", "-q")
    assert (ran.out, ran.err) == ("elfs-workspace/selections/aum-0.1/selection.csv\n", "")


def test_json_is_one_document(elfs: Elfs, stages: list[Any]) -> None:
    document = json.loads(elfs("select", "--json").out)
    assert document["workspace"] == "elfs-workspace"
    assert document["selection"]["path"] == "elfs-workspace/selections/aum-0.1/selection.csv"
    assert document["selection"]["count"] == 144
    [stage] = document["stages"]
    assert (stage["stage"], stage["record"], stage["ran"], stage["seconds"]) == ("select", "select/aum-0.1", True, 38.2)


def test_embed_takes_a_folder(elfs: Elfs, stages: list[Any], tmp_path: Path) -> None:
    Path("photos").mkdir()
    assert elfs("embed", "photos", "--encoder", "pixels").code == 0
    assert stages[0].config == EmbedConfig(source="folder", encoder="pixels")
    assert stages[0].options["source_root"] == tmp_path / "photos"


def test_embed_takes_a_data_set_and_its_folder(elfs: Elfs, stages: list[Any], tmp_path: Path) -> None:
    assert elfs("embed", "cifar10", "--data-root", "sets").code == 0
    assert stages[0].options["source_root"] == tmp_path / "sets"


def test_embed_takes_embeddings_alone(elfs: Elfs, stages: list[Any]) -> None:
    assert elfs("embed", "--embeddings", "x.npy").code == 0
    assert stages[0].config == EmbedConfig(source="embeddings", embeddings="x.npy")


def test_embed_without_source_takes_the_recorded_one(elfs: Elfs, stages: list[Any], builder: Any) -> None:
    builder.commit("embed", {"source": "digits", "limit": 100})
    assert elfs("embed").code == 0
    assert stages[0].config == EmbedConfig(source="digits")


def test_embed_from_a_folder_that_has_moved_keeps_what_it_was_told(
    elfs: Elfs, stages: list[Any], builder: Any, tmp_path: Path
) -> None:
    builder.commit("embed", {"source": "folder", "encoder": "pixels", "limit": 100})
    Path("moved").mkdir()
    assert elfs("embed", "--root", "moved", "--limit", "90").code == 0
    assert stages[0].config == EmbedConfig(source="folder", encoder="pixels", limit=90)
    assert stages[0].options["source_root"] == tmp_path / "moved"


@pytest.mark.parametrize(
    ("arguments", "warning"),
    [
        (
            ("cluster", "--method", "kmeans", "--heads", "4", "--clusters", "3"),
            "--heads: without effect beside --method kmeans",
        ),
        (("select", "--method", "random", "--hard-rate", "0.2"), "--hard-rate: without effect beside --method random"),
        (("select", "--method", "random", "--hard-rate", "auto"), None),
        (("select", "--holdout", "9", "--per-group", "3"), "--per-group: without effect beside --holdout"),
        (("select", "--metadata", "x.csv"), "--metadata: without effect without --balance column:NAME"),
        (("select", "--metadata", "x.csv", "--balance", "column:day"), None),
        (("embed", "--embeddings", "x.npy", "--encoder", "pixels"), "--encoder: without effect beside --embeddings"),
        (("embed", "digits", "--ids", "x.txt"), "--ids: without effect where there are no --embeddings"),
        (
            ("run", "digits", "--cluster-method", "kmeans", "--cluster-epochs", "4"),
            "--cluster-epochs: without effect beside --method kmeans",
        ),
    ],
)
def test_options_that_change_nothing_are_named(
    elfs: Elfs, stages: list[Any], arguments: tuple[str, ...], warning: str | None
) -> None:
    ran = elfs(*arguments)
    found = [line for line in ran.err.splitlines() if line.startswith("warning")]
    assert found == ([] if warning is None else [f"warning: {warning}."])


def test_embed_without_any_source(elfs: Elfs, stages: list[Any]) -> None:
    ran = elfs("embed")
    assert ran.code == 2
    assert ran.err.startswith("error: no SOURCE: expected a folder of images")
    assert ran.err.endswith("run:   elfs embed FOLDER\n")
    assert stages == []


def test_lists_come_from_the_catalogue(elfs: Elfs, stages: list[Any]) -> None:
    scores = elfs("score", "--list")
    assert [line.split()[0] for line in scores.out.splitlines()] == ["KEY", *SCORES]
    assert scores.out.splitlines()[0].split() == ["KEY", "HARDER", "FROM", "EPOCHS", "MEANING"]
    assert "tdds             higher  dynamics    11      uneven change" in scores.out
    found = json.loads(elfs("score", "--list", "--json").out)["scores"]
    assert (found["el2n"]["harder"], found["dual"]["epochs"], found["density"]["source"]) == (
        "higher",
        10,
        "embeddings",
    )
    methods = elfs("select", "--list")
    assert [line.split()[0] for line in methods.out.splitlines()] == ["METHOD", *SELECTORS]
    assert json.loads(elfs("select", "--list", "--json").out)["methods"]["ccs"]["scores"] == ["aum"]
    assert stages == []


def test_dry_run_does_nothing(elfs: Elfs, stages: list[Any], builder: Any) -> None:
    builder.commit_all()
    ran = elfs("cluster", "-n", "--heads", "8")
    assert (ran.out, ran.err) == ("cluster  run  heads auto -> 8\n", "")
    document = json.loads(elfs("select", "--dry-run", "--json").out)
    assert document["plan"] == [
        {"stage": "select", "record": "select/aum-0.1", "action": "skip", "reason": "fresh"}
        | {"seconds": None, "memory_bytes": None, "disk_bytes": None, "cheaper": None},
    ]
    assert stages == []


def test_errors_carry_their_code_and_hint(elfs: Elfs, monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(*arguments: Any, **options: Any) -> None:
        raise StaleUpstreamError("scores are stale: embeddings were rebuilt after them.", hint="elfs score")

    monkeypatch.setattr("elfs.pipeline.execution.execute", execute)
    monkeypatch.setattr("elfs.pipeline.known.known", lambda *_: None)
    ran = elfs("select")
    assert ran.code == 4
    assert ran.err == "error: scores are stale: embeddings were rebuilt after them.\nrun:   elfs score\n"
    document = json.loads(elfs("select", "--json").out)
    assert document["error"]["code"] == 4
    assert document["error"]["hint"] == "elfs score"


@pytest.mark.parametrize(("key", "suggestion"), [("amu", " Did you mean 'aum'?"), ("nonsense", "")])
def test_an_unknown_key_gets_a_suggestion_where_one_is_near(
    elfs: Elfs, stages: list[Any], key: str, suggestion: str
) -> None:
    ran = elfs("select", "--key", key)
    assert ran.code == 2
    assert f"unknown value for --key: '{key}'.{suggestion} Available: aum, confidence" in ran.err


@pytest.mark.parametrize(("trust", "warned"), [(0.12, True), (0.91, False)])
def test_selection_by_bad_pseudo_labels_says_what_to_use_instead(
    elfs: Elfs, monkeypatch: pytest.MonkeyPatch, trust: float, warned: bool
) -> None:
    facts = {"name": "x", "method": "elfs", "key": "aum", "trust": trust, "trust_by": {"neighbors": trust}}
    facts |= {"headline": "144 of 1,437", "count": 144, "eligible": 1437, "share": 0.1}

    def execute(stage: str, *given: Any, **options: Any) -> Outcome:
        return Outcome(stage, "select/x", True, 1.0, facts, False)

    monkeypatch.setattr("elfs.pipeline.execution.execute", execute)
    monkeypatch.setattr("elfs.pipeline.known.known", lambda *_: None)
    monkeypatch.setattr(Runtime, "device", lambda runtime: "cpu")
    ran = elfs("select", "--method", "elfs")
    level = "weak" if warned else "good"
    assert f"verdict    {level}: pseudo-labels trusted {trust:.2f} of 1" in ran.out.splitlines()
    assert ("may do worse than chance. Use --method auto" in " ".join(ran.err.split())) is warned
    assert json.loads(elfs("select", "--method", "elfs", "--json").out)["selection"]["trust"] == trust
