"""cluster, label, dynamics, train and compare by several ranks, stage by stage, against the workspace of one rank."""

import dataclasses
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elfs.config import CompareConfig, TrainConfig
from elfs.errors import InputDataError
from elfs.evaluation.compare import compare
from elfs.evaluation.train import train
from elfs.parallel.place import Place
from elfs.parallel.ranks import ALONE, Ranks
from elfs.parallel.runtime import Runtime
from elfs.pipeline.job import Job
from elfs.stages import cluster, dynamics, label
from elfs.stages.clustering import temi
from elfs.train.fit import Fit
from elfs.workspace.draft import open_draft
from elfs.workspace.pieces import Pieces
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, artifacts_of, config, run_stage
from tests.ranks import in_ranks

pytestmark = pytest.mark.slow

TRAIN = TrainConfig(network="mlp", iterations=12, batch_size=16, seeds=2)
COMPARE = CompareConfig(methods="elfs:0.2,random", budgets="0.1,32", seeds=2, iterations=4, batch_size=16)
"""Networks with batch statistics: each is trained by one rank alone."""

BLOCK_ROWS = 33


def all_stages(ranks: Ranks, path: Path) -> dict[str, Any]:
    """Run every stage that trains on a workspace in which all have run; return what people were told."""
    said: list[str] = []
    runtime = Runtime(devices="cpu", ranks=ranks, warn=said.append)
    notes: list[str] = []
    compared = compare(path, COMPARE, runtime, say=notes.append).as_json()  # first: of a workspace that is the same
    temi._COUNTED_ROWS = label._BLOCK_ROWS = BLOCK_ROWS
    label._PIECE_BLOCKS = 2
    summaries = [run_stage("cluster", path, runtime=runtime, force=True).summary]
    summaries.append(run_stage("label", path, runtime=runtime, force=True).summary)
    told_before = len(said)
    summaries.append(run_stage("dynamics", path, runtime=runtime, force=True, network="mlp").summary)
    told_by_mlp = said[told_before:]
    for stage in ("score", "select"):
        run_stage(stage, path, runtime=runtime)
    summaries.append(train(path, TRAIN, runtime).summary)
    told_before = len(said)
    train(path, dataclasses.replace(TRAIN, network=None, iterations=2, sync_batch_norm=False), runtime)
    summaries.append({name: value for name, value in compared.items() if name != "files"})
    return {"summaries": summaries, "mlp": told_by_mlp, "norm": said[told_before:], "notes": notes}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranked")


def copy(digits: Finished, base: Path, name: str) -> Path:
    return Path(shutil.copytree(digits.path, base / name))


@pytest.fixture(scope="module")
def alone(digits: Finished, base: Path) -> tuple[Path, dict[str, Any]]:
    before = temi._COUNTED_ROWS, label._BLOCK_ROWS, label._PIECE_BLOCKS
    try:
        path = copy(digits, base, "alone")
        return path, all_stages(ALONE, path)
    finally:
        temi._COUNTED_ROWS, label._BLOCK_ROWS, label._PIECE_BLOCKS = before


@pytest.fixture(scope="module", params=[2, 3])
def together(digits: Finished, base: Path, request: pytest.FixtureRequest) -> tuple[Path, list[dict[str, Any]]]:
    """The workspace that 2 or 3 ranks made, and what each of them was told."""
    path = copy(digits, base, f"of-{request.param}")
    return path, in_ranks(request.param, all_stages, path)


Alone = tuple[Path, dict[str, Any]]
Together = tuple[Path, list[dict[str, Any]]]


def close(found: Path, expected: Path, artifact: str, rtol: float, atol: float) -> None:
    ours, theirs = Workspace.open(found).arrays(artifact), Workspace.open(expected).arrays(artifact)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert (value.dtype, value.shape) == (theirs[name].dtype, theirs[name].shape)
        np.testing.assert_allclose(value, theirs[name], rtol=rtol, atol=atol, err_msg=name)


def test_heads(alone: Alone, together: Together) -> None:
    close(together[0], alone[0], "heads", rtol=0, atol=2e-5)
    ours, theirs = (Workspace.open(path).json("clusters") for path in (together[0], alone[0]))
    for one, two in zip(ours["heads"], theirs["heads"], strict=True):
        assert one.pop("loss") == pytest.approx(two.pop("loss"), abs=2e-5)
        assert one == two  # how many images are in each cluster, and how evenly
    assert ours["chosen"] == theirs["chosen"]


def test_pseudo_labels(alone: Alone, together: Together) -> None:
    close(together[0], alone[0], "pseudo_labels", rtol=0, atol=1e-4)
    ours, theirs = (Workspace.open(path).arrays("pseudo_labels") for path in (together[0], alone[0]))
    np.testing.assert_array_equal(ours["pseudo_labels"], theirs["pseudo_labels"])


def test_dynamics(alone: Alone, together: Together) -> None:
    close(together[0], alone[0], "dynamics", rtol=2e-3, atol=2e-4)
    close(together[0], alone[0], "proxy", rtol=0, atol=1e-5)
    ours, theirs = (Workspace.open(path).arrays("dynamics") for path in (together[0], alone[0]))
    np.testing.assert_array_equal(ours["correct"], theirs["correct"])


def test_selection_and_accuracies(alone: Alone, together: Together) -> None:
    ours, theirs = (Workspace.open(path).arrays("selections/aum-0.2-2")["indices"] for path in (together[0], alone[0]))
    np.testing.assert_array_equal(ours, theirs)
    of_alone, *of_ranks = (found["summaries"][3] for found in (alone[1], *together[1]))
    assert len(set(of_alone["accuracies"])) == 2
    assert all(summary["accuracies"] == of_alone["accuracies"] for summary in of_ranks)
    close(together[0], alone[0], "models/aum-0.2-2", rtol=0, atol=1)  # resnet8, whose batch statistics are of shares


def test_compare_is_equal_bit_for_bit(alone: Alone, together: Together) -> None:
    assert all(found["summaries"][4] == alone[1]["summaries"][4] for found in together[1])
    ours, theirs = artifacts_of(together[0]), artifacts_of(alone[0])
    names = [name for name in theirs if name.startswith("comparison/")]
    assert len(names) == 4
    assert [name for name in names if ours[name] != theirs[name]] == []


def test_every_rank_has_the_summary_of_the_first(together: Together) -> None:
    first, *others = together[1]
    assert all(found["summaries"] == first["summaries"] for found in others)


def test_first_rank_warns_once_where_batch_statistics_are_of_shares(alone: Alone, together: Together) -> None:
    first, *others = together[1]
    assert [found["mlp"] for found in (alone[1], first, *others)] == (len(others) + 2) * [[]]
    (warning,) = first["norm"]
    assert warning.startswith(f"each of the {len(others) + 1} ranks takes the batch statistics of its own part")
    assert [found["norm"] for found in (alone[1], *others)] == (len(others) + 1) * [[]]


def test_first_rank_says_how_much_there_is_to_do(together: Together) -> None:
    first, *others = together[1]
    assert first["notes"][0] == "10 trainings of 4 steps, 0 recorded already"
    assert first["notes"][1].endswith(f"for the other {10 - len(others) - 1}")
    assert all(found["notes"] == [] for found in others)


class TestLabel:
    """What a killed run leaves is kept, whatever the number of ranks."""

    @pytest.fixture(autouse=True)
    def _small_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(label, "_BLOCK_ROWS", BLOCK_ROWS)
        monkeypatch.setattr(label, "_PIECE_BLOCKS", 2)

    def test_blocks_do_not_depend_on_the_number_of_ranks(self) -> None:
        for size in (1, 2, 3, 5, 9):
            dealt = label._dealt([(0, 200)], 200, size)
            runs = sorted(run for runs in dealt for run in runs)
            assert len(dealt) == size
            assert (runs[0][0], runs[-1][1]) == (0, 200)
            assert all(one[1] == two[0] for one, two in pairwise(runs))
            assert all(start % 33 == 0 and stop - start <= 66 for start, stop in runs)

    def test_finished_pieces_are_not_made_again(
        self, digits: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        digits.copy(workspace)
        run_stage("label", workspace, force=True)
        expected = artifacts_of(workspace)
        seen: list[int] = []
        labelled, saved = label._Labeller.__call__, Pieces.save

        def watched(self: Any, inputs: Any) -> Any:
            seen.append(len(inputs))
            return labelled(self, inputs)

        def killed(self: Pieces, run: Any, tensors: Any, **facts: Any) -> None:
            saved(self, run, tensors, **facts)
            if run[0] >= 66:
                raise KeyboardInterrupt

        monkeypatch.setattr(label._Labeller, "__call__", watched)
        monkeypatch.setattr(Pieces, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            run_stage("label", workspace, force=True)
        assert seen == [33, 33, 33, 33]
        monkeypatch.setattr(Pieces, "save", saved)
        run_stage("label", workspace, force=True)
        assert seen == [33, 33, 33, 33, 33, 33, 2]
        assert artifacts_of(workspace) == expected

    def test_several_files_hold_what_one_does(
        self, folder: Finished, workspace: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One image of the folder is broken: its row has no label."""
        folder.copy(workspace)
        one = run_stage("label", workspace, force=True).summary
        expected = Workspace.open(workspace).arrays("pseudo_labels")
        monkeypatch.setattr(label, "_FILE_ROWS", 13)
        summary = run_stage("label", workspace, force=True).summary
        found = Workspace.open(workspace)
        assert len(found.manifest.artifacts["pseudo_labels"].files) == 5
        assert summary == one
        for name, values in found.arrays("pseudo_labels").items():
            np.testing.assert_array_equal(values, expected[name])
        assert np.isnan(expected["confidence"]).sum() == 1


@pytest.mark.parametrize("stage", ["cluster", "label", "dynamics"])
def test_more_ranks_than_images_are_refused(digits: Finished, stage: str, tmp_path: Path) -> None:
    num_images = 200 if stage == "label" else 160
    workspace = Workspace.open(digits.path)
    runtime = Runtime(devices="cpu", ranks=Ranks(Place(0, 201, 0, 1, "", 0)))
    job = Job(workspace, open_draft(workspace, "x", "sha256:" + 64 * "0"), runtime)
    module = {"cluster": cluster, "label": label, "dynamics": dynamics}[stage]
    with pytest.raises(InputDataError, match=rf"^201 ranks for {num_images} images: every rank needs at least one\."):
        module.run(job, config(stage))
    job.draft.discard()


class CaughtError(Exception):
    """Raised where a training would begin."""


@pytest.mark.parametrize("asked", [False, True])
def test_option_reaches_the_training(
    digits: Finished, workspace: Path, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Fit] = []

    def catch(fit: Fit, *others: Any) -> None:
        seen.append(fit)
        raise CaughtError

    monkeypatch.setattr("elfs.train.proxies.record_dynamics", catch)
    monkeypatch.setattr("elfs.evaluation.training.train_on_labels", catch)
    digits.copy(workspace)
    with pytest.raises(CaughtError):
        run_stage("dynamics", workspace, force=True, sync_batch_norm=asked)
    with pytest.raises(CaughtError):
        train(workspace, TrainConfig(sync_batch_norm=asked), Runtime(devices="cpu"))
    assert [fit.sync_batch_norm for fit in seen] == [asked, asked]
