"""What true labels say, on a case small enough to count by hand."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from elfs.config import as_json
from elfs.data.samples import Outcome, SampleTable, Split
from elfs.errors import InputDataError, MissingUpstreamError, StaleUpstreamError
from elfs.evaluation.evaluate import evaluate
from elfs.pipeline.source_facts import SourceFacts
from elfs.workspace.draft import open_draft
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, config, run_stage

LABELS = "id,label\na,cat\nb,cat\nc,dog\nd,dog\ne,cat\nf,dog\ng,dog\nbroken,dog\n"
IDS = ["a", "b", "c", "d", "e", "f", "g", "broken", "unlabelled"]
CLUSTERS = [1, 1, 0, 0, 0, 0, 1, -1, 1]

FACTS = SourceFacts("folder", channels=3, mirror=True, num_classes=None, has_images=True, image_side=None)


def commit(
    workspace: Workspace, record: str, artifacts: dict[str, dict[str, np.ndarray]], inputs: tuple[str, ...]
) -> None:
    draft = open_draft(workspace, record, "sha256:" + 64 * "0")
    for name, tensors in artifacts.items():
        draft.save(name, tensors)
        if name.startswith("selections/"):
            lines = (f"{rank},{IDS[row]},,,why" for rank, row in enumerate(tensors["indices"].tolist(), 1))
            table = "\n".join(["rank,id,pseudo_label,score,why", *lines, ""])
            draft.save_bytes(name, f"{name}/selection.csv", table.encode())
    stage = record.partition("/")[0]
    draft.commit(
        record,
        stage=stage,
        config=as_json(config(stage)),
        inputs={name: workspace.manifest.artifacts[name].digest for name in inputs},
        seed=0,
        smoke=False,
        summary={},
        metadata={"samples": asdict(FACTS)} if stage == "embed" else {},
        run={},
    )


@pytest.fixture
def tiny(workspace: Path) -> Path:
    """Train a to e, test f and g, one broken image, one without a label; two selections."""
    found = Workspace.create(workspace)
    split = [Split.TRAIN] * 5 + [Split.TEST] * 2 + [Split.TRAIN] * 2
    table = SampleTable.from_ids(IDS, split, 1)
    outcome = np.zeros(9, np.uint8)
    outcome[7] = Outcome.BROKEN
    commit(found, "embed", {"samples": table.with_outcomes(outcome, {}).tensors()}, ())
    labels = {"pseudo_labels": np.array(CLUSTERS), "confidence": np.ones(9, np.float32)}
    commit(found, "label", {"pseudo_labels": labels}, ("samples",))
    for name, rows in (("half", [0, 2, 4]), ("all", [0, 1, 2, 3, 4, 8]), ("unknown", [8])):
        commit(found, f"select/{name}", {f"selections/{name}": {"indices": np.array(rows)}}, ("pseudo_labels",))
    (workspace.parent / "labels.csv").write_text(LABELS)
    return workspace


def test_numbers(tiny: Path) -> None:
    """Cluster 1 is cat and cluster 0 dog: on train only e is wrong, on test f and g are one right, one wrong.

    Over both splits the match is the same. On test alone there is one class, so both clusters are dog.
    """
    report = evaluate(tiny, str(tiny.parent / "labels.csv"))
    assert {name: (count, metrics.accuracy) for name, (count, metrics) in report.splits.items()} == {
        "train": (5, 4 / 5),
        "test": (2, 1 / 2),
    }
    found = {quality.name: (quality.count, quality.classes, quality.wrong) for quality in report.selections}
    assert found == {"all": (6, 2, 1 / 5), "half": (3, 2, 1 / 3)}


def test_report_for_people_and_programs(tiny: Path) -> None:
    report = evaluate(tiny, str(tiny.parent / "labels.csv"))
    lines = report.lines()
    assert lines[0].split() == ["split", "samples", "ACC", "NMI", "AMI", "ARI"]
    assert lines[1].split()[:3] == ["train", "5", "0.800"]
    assert lines[2].split()[:3] == ["test", "2", "0.500"]
    assert [line.split() for line in lines[5:]] == [
        ["all", "6", "2", "1", "of", "5", "(5", "of", "6", "labelled)"],  # the sixth was not annotated
        ["half", "3", "2", "33.3%"],
    ]
    document = report.as_json()
    assert document["splits"]["train"]["samples"] == 5
    assert document["splits"]["train"]["accuracy"] == pytest.approx(0.8)
    assert document["splits"]["train"].keys() == {"samples", "accuracy", "nmi", "ami", "ari"}
    half = {"name": "half", "count": 3, "labelled": 3, "classes": 2, "wrong": pytest.approx(1 / 3)}
    assert document["selections"][1] == half
    assert document["selections"][0]["labelled"] == 5


def test_selection_from_older_labels_is_judged_by_those_of_now(tiny: Path) -> None:
    found = Workspace.open(tiny)
    swapped = {"pseudo_labels": 1 - np.array(CLUSTERS).clip(0), "confidence": np.ones(9, np.float32)}
    commit(found, "label", {"pseudo_labels": swapped}, ("samples",))
    report = evaluate(tiny, str(tiny.parent / "labels.csv"))
    assert [(quality.name, quality.count, quality.wrong) for quality in report.selections] == [
        ("all", 6, 1 / 5),
        ("half", 3, 1 / 3),
    ]


def test_nothing_in_common_is_refused(tiny: Path) -> None:
    (tiny.parent / "labels.csv").write_text("id,label\nbroken,dog\n")
    with pytest.raises(InputDataError, match=r"^none of the samples has both a pseudo-label and a true label\.$"):
        evaluate(tiny, str(tiny.parent / "labels.csv"))


def test_digits_end_to_end(digits: Finished) -> None:
    report = evaluate(digits.path, None)
    assert {name: count for name, (count, _) in report.splits.items()} == {"train": 160, "test": 40}
    assert [quality.name for quality in report.selections] == ["aum-0.2"]


def test_pseudo_labels_must_be_there_and_fresh(digits: Finished, workspace: Path) -> None:
    with pytest.raises(MissingUpstreamError, match="there is no workspace"):
        evaluate(workspace, None)
    digits.copy(workspace)
    run_stage("embed", workspace, source="digits", limit=150)
    with pytest.raises(StaleUpstreamError, match=r"^pseudo_labels is stale: ") as caught:
        evaluate(workspace, None)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("elfs cluster --clusters 3 ")


def test_missing_pseudo_labels_are_named(workspace: Path) -> None:
    run_stage("embed", workspace, source="digits", limit=60)
    with pytest.raises(MissingUpstreamError, match=r"^evaluate needs pseudo_labels, which label has not made"):
        evaluate(workspace, None)
