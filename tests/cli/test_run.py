import io
import itertools
import json
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.catalog import STAGES
from elfs.config import SMOKE, ClusterConfig, DynamicsConfig, EmbedConfig, SelectConfig
from elfs.pipeline.job import Outcome
from elfs.workspace.workspace import Workspace
from tests.cli.conftest import SUMMARIES

Elfs = Callable[..., Any]


def test_all_six_stages_in_order(elfs: Elfs, stages: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elfs.parallel.runtime.available_cpus", lambda: 2)
    ran = elfs("run", "digits", "--budget", "10%", "--cluster-epochs", "5", "--dynamics-epochs", "6", "--seed", "3")
    assert ran.code == 0
    assert [call.stage for call in stages] == list(STAGES)
    by_name = {call.stage: call.config for call in stages}
    assert by_name["embed"] == EmbedConfig(source="digits", seed=3)
    assert by_name["cluster"] == ClusterConfig(epochs=5, seed=3)
    assert by_name["dynamics"] == DynamicsConfig(epochs=6, seed=3)
    assert by_name["select"] == SelectConfig(budget="10%", seed=3)
    lines = ran.err.splitlines()
    assert lines[0] == "workspace elfs-workspace   device cpu, 2 CPUs   seed 3"
    assert [line.split()[0] for line in lines[1:7]] == list(STAGES)
    assert [line.strip() for line in lines[7:]] == [
        "next       elfs report",
        "elfs export --selection aum-10pct-seed3 --format label-studio -o aum-10pct-seed3-to-label",
        "elfs train --selection aum-10pct-seed3",
    ]
    assert ran.out.startswith(
        "selection  elfs-workspace/selections/aum-10pct-seed3/selection.csv\ncontains   144 images"
    )


def test_what_is_known_to_be_there_is_not_looked_at_again(
    elfs: Elfs, stages: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the first stage that would run; the others find out for themselves."""

    def known(stage: str, *_: Any) -> Outcome | None:
        return Outcome(stage, stage, False, 0.0, SUMMARIES[stage], False) if stage in ("embed", "cluster") else None

    monkeypatch.setattr("elfs.pipeline.known.known", known)
    ran = elfs("run", "digits")
    assert [call.stage for call in stages] == ["label", "dynamics", "score", "select"]
    assert [line.split()[0] for line in ran.err.splitlines()[1:7]] == list(STAGES)
    assert [line.split()[-1] for line in ran.err.splitlines()[1:4]] == ["fresh", "fresh", "0:38"]
    stages.clear()
    assert elfs("run", "digits", "--force").code == 0
    assert [call.stage for call in stages] == list(STAGES)


def test_json_names_every_stage(elfs: Elfs, stages: list[Any]) -> None:
    document = json.loads(elfs("run", "digits", "--json").out)
    assert [stage["stage"] for stage in document["stages"]] == list(STAGES)
    assert document["selection"]["name"] == "aum-0.1"


def test_the_folder_reaches_embed(elfs: Elfs, stages: list[Any], tmp_path: Path) -> None:
    Path("photos").mkdir()
    elfs("run", "photos")
    assert stages[0].options["source_root"] == tmp_path / "photos"


def test_without_source_every_stage_keeps_what_it_was_told(elfs: Elfs, stages: list[Any], builder: Any) -> None:
    builder.commit("embed", {"source": "digits", "limit": 100})
    builder.commit("cluster", {"heads": 4, "epochs": 9})
    assert elfs("run", "--heads", "8").code == 0
    by_name = {call.stage: call.config for call in stages}
    assert by_name["embed"] == EmbedConfig(source="digits", limit=100)
    assert by_name["cluster"] == ClusterConfig(heads=8, epochs=9)


def test_with_source_nothing_recorded_counts(elfs: Elfs, stages: list[Any], builder: Any) -> None:
    builder.commit("embed", {"source": "mnist", "limit": 100})
    builder.commit("cluster", {"heads": 4})
    elfs("run", "digits", "--force")
    assert stages[0].config == EmbedConfig(source="digits")
    assert stages[1].config == ClusterConfig()


def test_a_smoke_run_leaves_none_of_its_settings_behind(elfs: Elfs, stages: list[Any], builder: Any) -> None:
    builder.commit("embed", {"source": "digits", **SMOKE["embed"]}, smoke=True)
    builder.commit("cluster", {**SMOKE["cluster"], "clusters": 7}, smoke=True)
    elfs("run")
    assert stages[0].config == EmbedConfig(source="digits")
    assert stages[1].config == ClusterConfig(clusters=7)


def test_without_source_and_workspace(elfs: Elfs, stages: list[Any]) -> None:
    ran = elfs("run")
    assert ran.code == 2
    assert "no SOURCE: expected a folder of images" in ran.err
    assert ran.err.endswith("run:   elfs run FOLDER\n")


def test_from_leaves_the_stages_before_it(elfs: Elfs, stages: list[Any], builder: Any) -> None:
    builder.commit_all()
    ran = elfs("run", "--from", "score", "--window", "4", "--heads", "3", "--cluster-epochs", "9")
    assert [call.stage for call in stages] == ["score", "select"]
    assert "warning: --heads, --cluster-epochs: without effect, cluster stays as it is." in ran.err


def test_from_and_source_exclude_each_other(elfs: Elfs, stages: list[Any]) -> None:
    ran = elfs("run", "digits", "--from", "label")
    assert ran.code == 2
    assert "SOURCE and --root belong to embed, which --from label leaves as it is." in ran.err
    assert stages == []


def test_from_knows_the_stages(elfs: Elfs, stages: list[Any]) -> None:
    ran = elfs("run", "--from", "labels")
    assert ran.code == 2
    assert "unknown stage 'labels'. Did you mean 'label'?" in ran.err


def test_dry_run_says_what_would_run_and_why(elfs: Elfs, stages: list[Any], builder: Any) -> None:
    builder.commit_all()
    ran = elfs("run", "--dry-run", "--window", "4")
    assert ran.out.splitlines() == [
        "embed           skip  fresh, unless the images have changed",
        "cluster         skip  fresh",
        "label           skip  fresh",
        "dynamics        skip  fresh",
        "score           run   window 10 -> 4",
        "select/aum-0.1  run   score runs before it; another list is named aum-0.1-2",
    ]
    assert (ran.err, stages) == ("", [])


def test_other_images_take_force_or_another_workspace(
    elfs: Elfs, stages: list[Any], builder: Any, tmp_path: Path
) -> None:
    for name in ("photos", "flat"):
        (tmp_path / name).mkdir()
    builder.commit("embed", {"source": "folder"})
    Workspace.open(builder.path).set_source_root(str(tmp_path / "photos"))
    flat, held = str(tmp_path / "flat"), str(tmp_path / "photos")
    for command in ("run", "embed"):
        refused = elfs(command, flat)
        assert refused.code == 2
        assert f"holds {held}, and SOURCE is {flat}. Give another --workspace" in refused.err
        assert elfs(command, "digits").code == 2
        assert stages == []
        said = elfs(command, flat, "-n").out
        assert "takes --force, or another --workspace" in said
        assert "skip" not in said
        assert f"source {held} -> {flat}" in elfs(command, flat, "-n", "--force").out
    assert elfs("embed", flat, "--force").code == 0
    assert elfs("embed", "--root", flat).code == 0
    assert elfs("embed", held).code == 0
    assert elfs("embed", f"{tmp_path}/flat/../photos").code == 0
    assert elfs("embed", flat, "-w", "other").code == 0


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 2), ("\n", 2)])
def test_a_person_is_asked(
    elfs: Elfs, stages: list[Any], builder: Any, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    builder.commit("embed", {"source": "mnist"})
    monkeypatch.setattr("elfs.cli._output.Output.can_ask", True)
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    ran = elfs("embed", "digits")
    assert (ran.code, len(stages)) == (code, 1 if code == 0 else 0)
    assert "Embed it in their place?" in ran.err


@pytest.mark.parametrize(
    ("arguments", "most"),
    [
        (("pool", "--budget", "7"), 6),
        (("pool", "--budget", "5", "--limit", "4"), 4),
        (("pool", "--holdout", "7"), 6),
        (("pool", "--embeddings", "rows.npy", "--budget", "4"), 3),
        (("digits", "--budget", "1438"), 1437),
        (("synthetic:balanced,images=50", "--budget", "100"), None),
        (("pool", "--files", "list.txt", "--budget", "6"), 5),
        (("tar:pool.tar", "--budget", "7"), 6),
        (("tar:pool.tar:.mask.png", "--budget", "3"), 2),
    ],
)
def test_a_budget_above_the_pool_is_refused_before_the_first_stage(
    elfs: Elfs, stages: list[Any], tmp_path: Path, arguments: tuple[str, ...], most: int | None
) -> None:
    for number in range(6):
        (tmp_path / "pool/deep").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"pool/deep/{number}.png").write_bytes(b"x")
    (tmp_path / "pool/deep/loop").symlink_to(tmp_path / "pool")
    (tmp_path / "pool/.hidden.png").write_bytes(b"x")
    (tmp_path / "pool/labels.csv").write_text("id,label\n")
    (tmp_path / "list.txt").write_text("".join(f"deep/{number}.png\n" for number in (0, 1, 2, 3, 4, 4)))
    np.save(tmp_path / "rows.npy", np.ones((3, 2), dtype=np.float32))
    with tarfile.open(tmp_path / "pool.tar", "w") as shard:
        for name in ("0.png", "1.png", "2.png", "3.png", "0.mask.png", "1.mask.png", "0.txt"):
            shard.addfile(tarfile.TarInfo(name))
    for more in ((), ("--dry-run",)):
        ran = elfs("run", *arguments, *more)
        assert (ran.code, stages) == (2, [])
    option, count = next(pair for pair in itertools.pairwise(arguments) if pair[0] in ("--budget", "--holdout"))
    assert f"{option} is {int(count):,} images, and there are " in ran.err
    if most is not None:
        assert f"there are {most:,} at most in " in ran.err
        fits = [str(most) if word == count else word for word in arguments]
        assert elfs("run", *fits).code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "match"),
    [
        (("--method", "margin"), 4, "margin asks what a classifier of the annotations is unsure of"),
        (("--method", "uherding", "--budget", "5"), 4, "no image is annotated yet"),
        (("--balance", "class"), 2, "--balance class needs pseudo-labels that have learned the classes of people"),
    ],
)
def test_what_needs_annotations_is_refused_before_the_first_stage(
    elfs: Elfs, stages: list[Any], arguments: tuple[str, ...], code: int, match: str
) -> None:
    ran = elfs("run", "digits", *arguments)
    assert (ran.code, stages) == (code, [])
    assert match in ran.err


@pytest.mark.parametrize("network", ["resnet8", "resnet18", "resnet34", "mlp", "linear"])
def test_a_network_on_images_is_refused_before_the_first_stage_where_there_are_none(
    elfs: Elfs, stages: list[Any], builder: Any, tmp_path: Path, network: str
) -> None:
    np.save(tmp_path / "rows.npy", np.ones((30, 2), dtype=np.float32))
    calls = [("run", "--embeddings", "rows.npy"), ("run", "--embeddings", "rows.npy", "--dry-run")]
    on_images = network.startswith("resnet")
    for call in calls:
        ran = elfs(*call, "--network", network)
        assert ran.code == (3 if on_images else 0)
        assert (f"network '{network}' needs images, but embeddings alone are given. Use --network mlp." in ran.err) == (
            on_images
        )
    assert bool(stages) != on_images
    assert elfs("run", "digits", "--network", network, "--dry-run").code == 0
    builder.commit("embed", {"source": "embeddings", "embeddings": "rows.npy"})
    for call in (("dynamics",), ("dynamics", "--dry-run"), ("run", "--from", "dynamics")):
        stages.clear()
        ran = elfs(*call, "--network", network)
        assert ("needs images" in ran.err) == on_images


@pytest.mark.parametrize(
    ("command", "usual", "rest"),
    [
        ("run", "--budget --method --key --encoder --clusters", "--warmup-epochs"),
        ("embed", "--encoder --embeddings --ids", "--neighbor-search"),
        ("cluster", "--clusters --method", "--teacher-momentum"),
        ("label", "--head", "--rank-timeout"),
        ("dynamics", "--recipe --epochs", "--weight-decay"),
        ("score", "--window", "--smoke"),
        ("select", "--budget --method --exclude --holdout", "--blocks"),
        ("plan", "--budgets --groups", "--dedup"),
        ("train", "--labels --selection", "--sync-batch-norm"),
        ("compare", "--labels --methods --rounds", "--reference"),
    ],
)
def test_help_is_short_and_help_all_is_not(
    elfs: Elfs, monkeypatch: pytest.MonkeyPatch, command: str, usual: str, rest: str
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    short, full = elfs(command, "-h").out, elfs(command, "--help-all").out
    assert elfs(command, "--help").out == short
    for spelling in [*usual.split(), "--workspace", "--help-all"]:
        assert re.search(rf"│ {spelling} ", short)
    assert rest in full
    assert rest not in short
    assert len(re.findall(r"^│ --", short, re.MULTILINE)) <= 19
    assert "\n Next: elfs " in short or command == "compare"
    assert elfs(command, "-h").out == short  # nothing stays as it was shown


@pytest.mark.parametrize("option", ["--include", "--exclude", "--groups", "--metadata"])
def test_list_that_is_not_there_is_refused_before_the_first_stage(elfs: Elfs, stages: list[Any], option: str) -> None:
    ran = elfs("run", "digits", option, "none.csv", "--name", "x")
    assert ran.code == 3
    assert f"{option} none.csv: there is no such file." in ran.err
    ran = elfs("run", "digits", "--groups", "(")
    assert ran.code == 2
    assert "neither a file nor a regular expression" in ran.err
    assert stages == []


def test_groups_reach_the_selection(elfs: Elfs, stages: list[Any]) -> None:
    assert elfs("run", "digits", "--groups", "^.", "--per-group", "3", "--budget", "9").code == 0
    select = stages[-1].config
    assert (select.groups, select.per_group, select.by_group) == ("^.", 3, False)


@pytest.mark.parametrize(("there", "expected"), [(True, "films.csv:film"), (False, None)])
def test_table_of_groups_that_is_lost_is_not_needed_again(
    elfs: Elfs, stages: list[Any], builder: Any, there: bool, expected: str | None
) -> None:
    """The workspace keeps what it said."""
    builder.commit("embed", {"source": "digits"})
    for stage in STAGES[1:-1]:
        builder.commit(stage)
    builder.commit("select", {"groups": "films.csv:film", "per_group": 3})
    if there:
        Path("films.csv").write_text("id,film\n")
    assert elfs("run", "--from", "score").code == 0
    assert (stages[-1].config.groups, stages[-1].config.per_group) == (expected, 3)
