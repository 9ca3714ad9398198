"""What ends up in a selection."""

import re
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.catalog import SELECTORS
from elfs.data.samples import Outcome, SampleTable
from elfs.errors import InputDataError, MissingUpstreamError, UsageError
from elfs.ops.selection.hard_rate import HARD_RATES, usual_hard_rate
from elfs.ops.selection.trust import neighbor_trust
from elfs.parallel.runtime import Runtime, Task
from elfs.stages.selection import candidates, choice, trust
from elfs.train.window_search import ProxyJudge
from elfs.workspace.draft import open_draft
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, make_embeddings, run_chain, run_stage


@pytest.mark.parametrize("key", ["aum", "el2n", "entropy", "loss", "forgetting", "correctness"])
def test_every_key_counts_in_its_own_direction(digits: Finished, workspace: Path, key: str) -> None:
    digits.copy(workspace)
    run_stage("select", workspace, method="elfs", key=key, budget="40", hard_rate=0.1, name="x")
    found = Workspace.open(workspace)
    values = found.arrays("scores")[key][:160].astype(np.float64)
    hard = -values if key in ("aum", "correctness") else values
    picked = hard[found.arrays("selections/x")["indices"]]
    np.testing.assert_array_equal(picked, np.sort(hard)[::-1][16:56])


@pytest.mark.parametrize(("method", "window"), [("hardest", slice(0, 30)), ("easiest", slice(130, 160))])
def test_ends(digits: Finished, workspace: Path, method: str, window: slice) -> None:
    digits.copy(workspace)
    run_stage("select", workspace, method=method, budget="30", name="x")
    found = Workspace.open(workspace)
    aum = found.arrays("scores")["aum"]
    picked = aum[found.arrays("selections/x")["indices"]]
    np.testing.assert_array_equal(np.sort(picked), np.sort(aum[:160])[window])


def test_random_depends_on_the_seed_alone(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    picked = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        outcome = run_stage("select", workspace, method="random", seed=seed, name=name)
        assert outcome.headline == "32 of 160 by chance"
        picked.append(Workspace.open(workspace).arrays(f"selections/{name}")["indices"].tolist())
    assert picked[0] == picked[1] != picked[2]
    text = (workspace / "selections" / "c" / "selection.csv").read_text()
    assert "drawn at random with seed 1" in text


@pytest.mark.usefixtures("three_threads")
def test_blocks_and_threads_do_not_change_a_selection(
    digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits.copy(workspace)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    summaries = [run_stage("select", workspace, method="elfs", name="plain").summary]
    torch.set_num_threads(threads)
    monkeypatch.setattr(candidates, "_READ_ROWS", 7)
    monkeypatch.setattr(trust, "_BLOCK_ROWS", 7)
    summaries.append(run_stage("select", workspace, method="elfs", name="plain-2").summary)
    assert summaries[1] | {"name": "plain"} == summaries[0]
    for file in ("indices.safetensors", "selection.csv"):
        plain, in_blocks = (workspace / "selections" / name / file for name in ("plain", "plain-2"))
        assert in_blocks.read_bytes() == plain.read_bytes()


def test_summary(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    summary = run_stage("select", workspace, method="elfs", hard_rate=0.25, name="x").summary
    found = Workspace.open(workspace)
    labels = found.arrays("pseudo_labels")["pseudo_labels"]
    sizes = np.bincount(labels[found.arrays("selections/x")["indices"]], minlength=labels[:160].max() + 1)
    near = torch.from_numpy(np.array(found.arrays("neighbors")["indices"][:160]))
    by_neighbors = round(neighbor_trust(torch.from_numpy(np.array(labels[:160])).long(), [near]), 4)
    by_heads = round(found.manifest.artifacts["pseudo_labels"].metadata["trust"], 4)
    assert 0.3 < by_neighbors < 1
    assert by_heads < by_neighbors  # two heads, trained for a moment: the least counts
    coverage = summary.pop("coverage")
    assert coverage["lowest"] <= coverage["random"] <= coverage["highest"]
    assert (coverage["draws"], coverage["beaten"] == 0) == (20, coverage["selected"] <= coverage["lowest"])
    assert summary == {
        "method": "elfs",
        "key": "aum",
        "balance": "none",
        "encoder": found.manifest.records["embed"].summary["encoder"],
        "confident": found.manifest.records["label"].summary["confident"],
        "copies_left_out": 0,
        "hard_rate_curve": [],
        "count": 32,
        "eligible": 160,
        "share": 0.2,
        "hard_rate": 0.25,
        "hard_rate_chosen": "by hand",
        "without_score": 0,
        "clusters": len(np.unique(labels[:160])),
        "clusters_covered": int((sizes > 0).sum()),
        "fewest_per_cluster": int(sizes.min()),
        "most_per_cluster": int(sizes.max()),
        "name": "x",
        "trust": by_heads,
        "trust_by": {"neighbors": by_neighbors, "heads": by_heads},
        "headline": "32 of 160 by elfs, aum, hard rate 0.25",
    }


@pytest.mark.slow
def test_hard_rate_is_found_and_its_curve_is_kept(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    for budget in ("2", "0.3", "0.5", "0.7", "159", "1.0"):
        outcome = run_stage("select", workspace, method="elfs", budget=budget)
        curve = outcome.summary["hard_rate_curve"]
        assert [rate for rate, _ in curve] == list(HARD_RATES[: len(curve)])
        usual = usual_hard_rate(outcome.summary["count"] / 160)
        values = dict(curve)
        mean, spread = fmean(values.values()), pstdev(values.values()) or 1.0
        merit = {rate: (value - mean) / spread - 0.1 * ((rate - usual) / 0.1) ** 2 for rate, value in curve}
        assert outcome.summary["hard_rate"] == max(merit, key=merit.__getitem__)
        assert outcome.summary["hard_rate_chosen"] == "auto"
        assert "(auto)" in outcome.headline
    assert len(curve) == 1  # all images: no other rate than 0 leaves enough


def test_usual_hard_rate_is_that_of_all_images_that_the_budget_pays_for(
    digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits.copy(workspace)
    run_stage("select", workspace, method="random", budget="104", name="annotated")
    asked: list[float] = []

    def usual(share: float) -> float:
        asked.append(share)
        return usual_hard_rate(share)

    monkeypatch.setattr(choice, "usual_hard_rate", usual)
    run_stage("select", workspace, method="elfs", budget="112", include="selections/annotated", name="more")
    assert asked == [112 / 160]
    assert (usual_hard_rate(112 / 160), usual_hard_rate(8 / 160)) == (0.0, 0.3)


def test_hard_rate_is_found_by_training_the_proxy_on_each_window(
    digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits.copy(workspace)
    seen: list[list[int]] = []

    def accuracy(judge: ProxyJudge, positions: Tensor, task: Task) -> float:
        assert len(judge.pseudo_labels) == len(judge.inputs) == 160
        seen.append(positions.tolist())
        return 0.5 if len(seen) != 4 else 0.75

    monkeypatch.setattr(ProxyJudge, "accuracy", accuracy)
    summary = run_stage("select", workspace, method="elfs", budget="0.5", hard_rate="search").summary
    assert summary["hard_rate"] == HARD_RATES[3]
    assert summary["hard_rate_chosen"] == "search"
    fitting = HARD_RATES[:6]  # the others leave less than half
    assert summary["hard_rate_curve"] == [[rate, 0.75 if rate == HARD_RATES[3] else 0.5] for rate in fitting]
    assert summary["name"] == "elfs-aum-0.5-hardsearch"


@pytest.mark.parametrize("method", [name for name, method in SELECTORS.items() if method.instead is None])
def test_every_method_writes_a_selection(digits: Finished, workspace: Path, method: str) -> None:
    digits.copy(workspace)
    summary = run_stage("select", workspace, method=method, budget="20").summary
    found = Workspace.open(workspace)
    indices = found.arrays(f"selections/{summary['name']}")["indices"]
    assert len(set(indices.tolist())) == 20
    assert indices.max() < 160  # the rows after these are the test split
    lines = (workspace / "selections" / summary["name"] / "selection.csv").read_text().splitlines()
    assert len(lines) == 21
    assert ("hard_rate" in summary) == SELECTORS[method].prunes
    assert ("key" in summary) == SELECTORS[method].keyed


def test_rounds_do_not_overlap_and_each_can_be_named(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    taken: list[int] = []
    for number in (1, 2, 3):
        before = ",".join(f"selections/round{earlier}" for earlier in range(1, number)) or None
        run_stage("select", workspace, method="elfs", budget="30", hard_rate=0.1, name=f"round{number}", exclude=before)
        taken += Workspace.open(workspace).arrays(f"selections/round{number}")["indices"].tolist()
    assert len(set(taken)) == 90
    aum = Workspace.open(workspace).arrays("scores")["aum"][:160]
    np.testing.assert_array_equal(np.sort(aum[taken]), np.sort(aum)[16:106])  # together the window of a budget of 90


def test_second_round_stands_whatever_becomes_of_the_first(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    run_stage("select", workspace, budget="10", name="first")
    run_stage("select", workspace, budget="10", name="second", exclude="selections/first")
    run_stage("select", workspace, budget="12", name="first", force=True)
    said: list[str] = []
    runtime = Runtime(devices="cpu", warn=pytest.fail, note=said.append)
    run_stage("select", workspace, budget="10", name="third", exclude="selections/second", runtime=runtime)
    assert said == ["selection 'second' is taken as it is: it was made from older selections/first."]
    assert Workspace.open(workspace).stale_reason("select/second") is None


def test_lists_of_one_name_are_told_apart(digits: Finished, workspace: Path, tmp_path: Path) -> None:
    digits.copy(workspace)
    ids = SampleTable.from_tensors(Workspace.open(workspace).arrays("samples")).ids(np.arange(3))
    for folder, name in zip("ab", ids, strict=False):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ids.txt").write_text(name + "\n")
    both = f"{tmp_path / 'a' / 'ids.txt'},{tmp_path / 'b' / 'ids.txt'}"
    settings: dict[str, Any] = {"method": "random", "budget": "1.0", "exclude": both, "name": "x"}
    assert run_stage("select", workspace, **settings).summary["count"] == 158
    assert not run_stage("select", workspace, **settings).ran
    (tmp_path / "a" / "ids.txt").write_text(ids[2] + "\n")
    with pytest.raises(UsageError, match="'x' holds another list"):
        run_stage("select", workspace, **settings)
    run_stage("select", workspace, **settings, force=True)
    assert {1, 2}.isdisjoint(Workspace.open(workspace).arrays("selections/x")["indices"].tolist())


def test_key_that_is_not_there_matters_only_where_it_ranks(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    run_stage("score", workspace, window=10)
    assert run_stage("select", workspace, method="random", key="tdds", budget="5").summary["count"] == 5
    message = "scores hold no 'tdds': it needs 11 epochs, dynamics recorded 3"
    with pytest.raises(MissingUpstreamError, match=message) as caught:
        run_stage("select", workspace, key="tdds", budget="5")
    assert "elfs dynamics" in str(caught.value.hint)


def test_included_images_come_first_and_count(digits: Finished, workspace: Path, tmp_path: Path) -> None:
    digits.copy(workspace)
    found = Workspace.open(workspace)
    ids = SampleTable.from_tensors(found.arrays("samples")).ids(np.array([7, 3, 150]))
    annotated = tmp_path / "annotated.csv"
    annotated.write_text("id,label\n" + "".join(f"{name},0\n" for name in ids))
    summary = run_stage("select", workspace, budget="10", include=str(annotated), name="more").summary
    indices = Workspace.open(workspace).arrays("selections/more")["indices"].tolist()
    assert indices[:3] == [7, 3, 150]
    assert len(set(indices)) == 10
    assert (summary["count"], summary["included"], summary["excluded"]) == (10, 3, 0)
    lines = (workspace / "selections" / "more" / "selection.csv").read_text().splitlines()
    assert lines[1].endswith(",annotated before")
    assert not lines[4].endswith(",annotated before")
    record = Workspace.open(workspace).manifest.records["select/more"]
    assert record.config["include"] == "annotated.csv"
    assert not run_stage("select", workspace, budget="10", include=str(annotated), name="more").ran
    annotated.write_text(annotated.read_text() + SampleTable.from_tensors(found.arrays("samples")).id(9) + ",1\n")
    with pytest.raises(UsageError, match="'more' holds another list"):
        run_stage("select", workspace, budget="10", include=str(annotated), name="more")


class TestRefusedRounds:
    """Lists of images that do not fit."""

    @pytest.fixture(autouse=True)
    def finished(self, digits: Finished, workspace: Path) -> None:
        digits.copy(workspace)
        run_stage("select", workspace, budget="10", name="first")

    def test_name_is_needed(self, workspace: Path) -> None:
        with pytest.raises(UsageError, match="--include and --exclude need --name: a round stands beside"):
            run_stage("select", workspace, exclude="selections/first")

    def test_both_lists_name_an_image(self, workspace: Path) -> None:
        with pytest.raises(UsageError, match=r"--include and --exclude both name 'digits/.*' and 7 more"):
            run_stage("select", workspace, include="selections/first", exclude="selections/first", name="x")

    def test_round_that_builds_on_itself(self, workspace: Path) -> None:
        message = "selection 'first' would build on itself and lose its images. Give it another --name"
        with pytest.raises(UsageError, match=message):
            run_stage("select", workspace, budget="10", exclude="selections/first", name="first")
        run_stage("select", workspace, budget="10", exclude="selections/first", name="second")
        with pytest.raises(UsageError, match=message):
            run_stage("select", workspace, budget="10", include=" selections/second ,", name="first")

    def test_folder_of_a_selection(self, workspace: Path) -> None:
        path = workspace / "selections" / "first"
        with pytest.raises(InputDataError, match=r"is a folder; an earlier selection is written selections/first\."):
            run_stage("select", workspace, exclude=str(path), name="x")

    def test_everything_is_excluded(self, workspace: Path) -> None:
        run_stage("select", workspace, method="random", budget="1.0", name="all")
        with pytest.raises(UsageError, match=r"no image is left to select: of 160, 160 are included or excluded\."):
            run_stage("select", workspace, method="random", budget="1.0", exclude="selections/all", name="x")

    def test_unknown_selection(self, workspace: Path) -> None:
        with pytest.raises(UsageError, match=r"unknown selection 'selections/third'.*selections/first"):
            run_stage("select", workspace, exclude="selections/third", name="x")

    @pytest.mark.parametrize("option", ["include", "exclude"])
    def test_file_that_is_not_there(self, workspace: Path, option: str) -> None:
        with pytest.raises(InputDataError, match=rf"--{option} nothing\.csv: there is no such file\.$"):
            run_stage("select", workspace, name="x", **cast("Any", {option: "nothing.csv"}))
        for name in ("first", "aum-0.1"):
            said = f"--{option} {name}: there is no such file; an earlier selection is written selections/{name}."
            with pytest.raises(InputDataError, match=f"^{re.escape(said)}$"):
                run_stage("select", workspace, name="x", **cast("Any", {option: name}))

    def test_unknown_id(self, workspace: Path, tmp_path: Path) -> None:
        path = tmp_path / "list.txt"
        path.write_text("digits/nothing\n")
        with pytest.raises(InputDataError, match="1 of 1 ids are unknown: 'digits/nothing'; ids look like"):
            run_stage("select", workspace, exclude=str(path), name="x")

    def test_test_image(self, workspace: Path, tmp_path: Path) -> None:
        path = tmp_path / "list.txt"
        table = SampleTable.from_tensors(Workspace.open(workspace).arrays("samples"))
        path.write_text(table.id(170) + "\n")
        with pytest.raises(InputDataError, match="names images that are broken or in the test split: 'digits/"):
            run_stage("select", workspace, include=str(path), name="x")

    @pytest.mark.parametrize("budget", ["5", "10"])
    def test_nothing_is_left_to_select(self, workspace: Path, budget: str) -> None:
        message = f"--budget is {budget} images, and --include names 10: none is left to select"
        with pytest.raises(UsageError, match=message):
            run_stage("select", workspace, budget=budget, include="selections/first", name="x")

    def test_more_than_there_is(self, workspace: Path) -> None:
        message = "--budget asks for 151 images, but only 150 can be selected: of 160, 10 are included or excluded"
        with pytest.raises(UsageError, match=message):
            run_stage("select", workspace, budget="151", exclude="selections/first", name="x")
        run_stage("select", workspace, budget="1.0", exclude="selections/first", method="random", name="rest")
        assert len(Workspace.open(workspace).arrays("selections/rest")["indices"]) == 150


class TestCopies:
    """Copies of images, by embeddings of one's own: row 1 is row 0, row 3 is nearly row 2, row 5 is twice row 4."""

    @pytest.fixture(autouse=True)
    def made(self, tmp_path: Path, workspace: Path) -> None:
        values = np.load(make_embeddings(tmp_path / "own.npy"))
        values[1] = values[0]
        values[3] = values[2] + 0.01
        values[5] = 2 * values[4]
        np.save(tmp_path / "own.npy", values)
        run_chain(workspace, source="embeddings", encoder=None, embeddings=str(tmp_path / "own.npy"))

    def picked(self, workspace: Path, **settings: Any) -> list[int]:
        summary = run_stage("select", workspace, method="random", budget="1.0", **settings).summary
        return sorted(Workspace.open(workspace).arrays(f"selections/{summary['name']}")["indices"].tolist())

    def test_exact_copies_are_left_out_unless_they_are_wanted(self, workspace: Path) -> None:
        exact = self.picked(workspace)
        assert len(exact) == 59
        assert len({0, 1} & set(exact)) == 1
        assert len(self.picked(workspace, dedup="off")) == 60

    def test_near_copies(self, workspace: Path) -> None:
        near = set(self.picked(workspace, dedup="near"))
        assert len({0, 1} & near) == len({2, 3} & near) == len({4, 5} & near) == 1
        assert len(near) == 57

    def test_budget_counts_without_copies(self, workspace: Path) -> None:
        summary = run_stage("select", workspace, method="random", budget="0.5").summary
        assert (summary["count"], summary["eligible"], summary["copies_left_out"]) == (30, 59, 1)
        message = r"asks for 60 images, but only 59 can be selected: of 60, 1 are copies \(--dedup off keeps them\)"
        with pytest.raises(UsageError, match=message):
            run_stage("select", workspace, method="random", budget="60")

    def test_copy_of_an_annotated_image_is_left_out(self, workspace: Path, tmp_path: Path) -> None:
        path = tmp_path / "list.txt"
        path.write_text(SampleTable.from_tensors(Workspace.open(workspace).arrays("samples")).id(1) + "\n")
        assert {0, 1}.isdisjoint(self.picked(workspace, exclude=str(path), name="x"))
        assert {0, 1} & set(self.picked(workspace, include=str(path), name="y")) == {1}


def test_balance_takes_equally_many_of_each_cluster(embeddings: Finished, workspace: Path) -> None:
    embeddings.copy(workspace)
    summary = run_stage("select", workspace, method="random", budget="12", balance="cluster").summary
    labels = Workspace.open(workspace).arrays("pseudo_labels")["pseudo_labels"]
    assert summary["fewest_per_cluster"] == summary["most_per_cluster"] == 12 // len(np.unique(labels))


def test_long_job_is_announced_with_the_way_out(
    embeddings: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings.copy(workspace)
    said: list[str] = []
    runtime = Runtime(devices="cpu", warn=said.append)
    run_stage("select", workspace, method="k-center", runtime=runtime, name="short")
    assert said == []
    monkeypatch.setattr(choice, "_LONG_SECONDS", 1e-9)
    run_stage("select", workspace, method="k-center", runtime=runtime, name="long")
    assert "k-center compares 60 images with each of 12 picks: about 0 minutes here. With --blocks" in said[0]
    run_stage("select", workspace, method="random", runtime=runtime, name="never")
    assert len(said) == 1


def test_sum_above_the_pool_is_refused_with_the_largest_rate(digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    with pytest.raises(UsageError, match=r"The largest hard rate that fits is 0\.3\.$"):
        run_stage("select", workspace, method="elfs", budget="0.7", hard_rate=0.31)


@pytest.mark.slow
def test_row_without_a_score_is_left_out_and_counted(tmp_path: Path, workspace: Path) -> None:
    """Not in the pool of the proxy: it can be drawn at random, but not by a score."""
    own = str(make_embeddings(tmp_path / "own.npy"))
    run_chain(workspace, source="embeddings", encoder=None, embeddings=own)
    found = Workspace.open(workspace)
    scores = {key: np.array(values) for key, values in found.arrays("scores").items()}
    for values in scores.values():
        values[[5, 6]] = np.nan
    republish(found, "score", {"scores": scores})
    outcome = run_stage("select", workspace, budget="1.0", method="random", name="all")
    assert outcome.summary["count"] == 60
    outcome = run_stage("select", workspace, budget="58", hard_rate=0.0, name="scored")
    assert outcome.summary["without_score"] == 2
    assert {5, 6}.isdisjoint(Workspace.open(workspace).arrays("selections/scored")["indices"].tolist())
    with pytest.raises(UsageError, match=r"asks for 59 images, but only 58 can be selected: of 60, 2 have no score"):
        run_stage("select", workspace, budget="59", hard_rate=0.0)
    for method in ("auto", "elfs", "ccs", "dual-beta"):
        summary = run_stage("select", workspace, budget="1.0", method=method, hard_rate="0").summary
        assert (summary["count"], summary["without_score"]) == (58, 2)


def test_pool_without_any_usable_image_is_refused(embeddings: Finished, workspace: Path) -> None:
    embeddings.copy(workspace)
    found = Workspace.open(workspace)
    table = SampleTable.from_tensors(found.arrays("samples"))
    broken = table.with_outcomes(np.full(len(table), Outcome.BROKEN), {})
    others = {name: dict(found.arrays(name)) for name in ("embeddings", "neighbors")}
    republish(found, "embed", {"samples": broken.tensors(), **others})
    with pytest.raises(InputDataError, match=r"^no image can be selected: every one is broken or in the test split"):
        run_stage("select", workspace, method="random")


def republish(workspace: Workspace, record: str, artifacts: dict[str, dict[str, np.ndarray]]) -> None:
    """Replace the artifacts of a record."""
    entry = workspace.manifest.records[record]
    draft = open_draft(workspace, record, "sha256:" + 64 * "0")
    for name, tensors in artifacts.items():
        draft.save(name, {key: np.array(tensor) for key, tensor in tensors.items()})
    draft.commit(
        record,
        stage=entry.stage,
        config=entry.config,
        inputs=entry.inputs,
        seed=entry.seed,
        smoke=entry.smoke,
        summary=entry.summary,
        metadata={name: workspace.manifest.artifacts[name].metadata for name in artifacts},
        run={},
    )
