"""True labels and kinds of a synthetic pool, asked through workspaces that the command line made."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from elfs.cli.app import run
from elfs.data.samples import SampleTable, Split
from elfs.data.sources import open_source
from elfs.data.synthetic.plan import make_plan
from elfs.data.synthetic.spec import parse_source
from elfs.errors import InputDataError, UsageError
from elfs.evaluation.labels import true_labels
from elfs.evaluation.synthetic import Kind, synthetic_classes, synthetic_kinds
from elfs.workspace.workspace import Workspace

pytestmark = pytest.mark.usefixtures("few_atoms")

SOURCE = "synthetic:clean,classes=8,images=500,test=200,clutter=0.8,outliers=0.05,duplicates=0.1"


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after embed, by the real command line, its spec written another way."""
    path = tmp_path_factory.mktemp("synthetic") / "workspace"
    typed = "synthetic:outliers=0.050,images=500,classes=8,clutter=.8,test=200,duplicates=.1"
    assert run(["embed", typed, "--workspace", str(path), "--devices", "cpu", "-q"]) == 0
    return path


def table_of(path: Path) -> SampleTable:
    return SampleTable.from_tensors(Workspace.open(path).arrays("samples"))


def test_manifest_has_the_one_name(embedded: Path) -> None:
    manifest = Workspace.open(embedded).manifest
    assert manifest.records["embed"].config["source"] == SOURCE
    facts = manifest.artifacts["samples"].metadata
    assert (facts["source"], facts["num_classes"], facts["mirror"], facts["image_side"]) == (SOURCE, 8, False, 12)


def test_embed_knows_an_equal_spec_again(embedded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def ran(typed: str | None) -> bool:
        words = ["embed", *([typed] if typed else []), "--workspace", str(embedded), "--devices", "cpu", "--json"]
        assert run(words) == 0
        return bool(json.loads(capsys.readouterr().out)["stages"][0]["ran"])

    capsys.readouterr()
    assert not ran("synthetic:clutter=0.80,classes=8,test=200,images=500,outliers=5e-2,duplicates=0.1,seed=0")
    assert not ran(None)


def test_true_labels_follow_the_plan(embedded: Path) -> None:
    found = true_labels(Workspace.open(embedded), table_of(embedded), None)
    plans = [make_plan(parse_source(SOURCE), split) for split in Split]
    np.testing.assert_array_equal(found.values, np.concatenate([plan.classes for plan in plans]))
    assert found.names == tuple("01234567")


def test_classes_by_id() -> None:
    ids, values, names = synthetic_classes("synthetic:classes=3,images=9,test=3")
    assert ids[8:10] == ["synthetic/train/00008", "synthetic/test/00000"]
    assert values.dtype == np.int64
    assert np.bincount(values).tolist() == [4, 4, 4]
    assert names == ("0", "1", "2")


def test_kinds_of_a_whole_table_and_of_a_part(embedded: Path) -> None:
    table = table_of(embedded)
    found = synthetic_kinds(SOURCE, table)
    counts = {kind: int(np.sum(found.kinds == kind)) for kind in Kind}
    assert list(counts.values()) == [625, 0, 0, 25, 38, 12]
    copies = np.flatnonzero(found.kinds == Kind.DUPLICATE)
    reader = open_source(SOURCE, None).reader(table)
    for row in copies[:5].tolist():
        assert reader.read(row).tobytes() == reader.read(int(found.origins[row])).tobytes()
    assert not found.kinds[table.rows(Split.TEST)].any()
    np.testing.assert_array_equal(found.styles < 0, found.kinds == Kind.OUTLIER)

    first, lost = copies[0], copies[found.origins[copies] != found.origins[copies[0]]][0]
    kept = np.unique([first, lost, found.origins[first]])
    part = synthetic_kinds(SOURCE, table.take(kept))
    place = {row: index for index, row in enumerate(kept.tolist())}
    assert part.origins[place[first]] == place[found.origins[first]]
    assert part.origins[place[lost]] == -1
    np.testing.assert_array_equal(part.kinds, found.kinds[kept])
    np.testing.assert_array_equal(part.others, found.others[kept])


def test_kinds_are_of_this_pool_alone(embedded: Path) -> None:
    with pytest.raises(InputDataError, match=r"ids are unknown: 'synthetic/train/00400'"):
        synthetic_kinds("synthetic:images=400", table_of(embedded))
    with pytest.raises(UsageError, match=r"^synthetic: there is no preset 'digits'"):
        synthetic_kinds("digits", table_of(embedded))


@pytest.mark.slow
def test_pixels_tell_something_and_the_patches_encoder_more(embedded: Path) -> None:
    """Chance is 0.125. A linear classifier on pixels must not be enough, or there is nothing for an encoder to do."""
    table = table_of(embedded)
    reader = open_source(SOURCE, None).reader(table)
    labels = synthetic_classes(SOURCE)[1]
    embeddings = np.asarray(Workspace.open(embedded).arrays("embeddings")["embeddings"], dtype=float)
    pixels = np.stack([np.asarray(reader.read(row)).ravel() / 255 for row in range(len(table))])
    train, test = table.rows(Split.TRAIN), table.rows(Split.TEST)

    def accuracy(features: Any) -> float:
        features = (features - features[train].mean(axis=0)) / features[train].std(axis=0)
        model = LogisticRegression(C=0.01, max_iter=200).fit(features[train], labels[train])
        return float(model.score(features[test], labels[test]))

    on_pixels, on_patches = accuracy(pixels), accuracy(embeddings)
    assert 0.5 < on_pixels < 0.9
    assert on_patches > on_pixels + 0.05


def test_evaluate_through_the_command_line(embedded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--workspace", str(embedded), "-q"]
    assert run(["cluster", "--method", "kmeans", "--devices", "cpu", *options]) == 0
    assert run(["label", *options]) == 0
    capsys.readouterr()
    assert run(["evaluate", "--json", *options]) == 0
    splits = json.loads(capsys.readouterr().out)["splits"]
    assert (splits["train"]["samples"], splits["test"]["samples"]) == (500, 200)
    assert 0.5 < splits["test"]["accuracy"] <= 1


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("synthetic:balnced", "error: synthetic: there is no preset 'balnced'. Did you mean 'balanced'?"),
        ("synthetic", "error: no such folder: 'synthetic', and no data set of this name. Did you mean 'synthetic:"),
    ],
)
def test_command_line_refuses(
    typed: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["embed", typed]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []
