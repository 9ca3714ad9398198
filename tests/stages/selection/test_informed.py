"""What annotations tell a selector, and what is said where there are none."""

from pathlib import Path

import numpy as np
import pytest
import torch

from elfs.annotations.annotating import annotate, remove_annotations
from elfs.catalog import SELECTORS
from elfs.config import SelectConfig
from elfs.errors import MissingUpstreamError
from elfs.ops.selection import Pool
from elfs.pipeline.selections import read_images
from elfs.stages.selection.informed import informed, is_informed, with_annotated_settled
from elfs.train.annotated import Annotated
from elfs.workspace.workspace import Workspace
from tests.chain import Finished, run_stage

NEEDY = sorted(name for name, method in SELECTORS.items() if method.instead is not None)


def example() -> tuple[Pool, np.ndarray, Annotated]:
    """Return a pool of rows 5 to 64 of 70 rows of embeddings, of which 8 are annotated, one of them outside."""
    draws = np.random.default_rng(0)
    embeddings = draws.normal(size=(70, 3)).astype(np.float32)
    embeddings[:, 0] += np.arange(70) % 2 * 4
    settled = torch.zeros(60, dtype=torch.bool)
    settled[59] = True
    rows = np.array([0, 5, 6, 7, 8, 20, 21, 33])
    return Pool(tie_breaker=torch.arange(60), settled=settled), embeddings, Annotated(rows, rows % 2, ("a", "b"))


@pytest.mark.parametrize("method", [name for name in SELECTORS if is_informed(name)])
def test_a_method_gets_what_it_reads(method: str) -> None:
    pool, embeddings, annotated = example()
    found = informed(pool, np.arange(5, 65), SelectConfig(method=method), annotated, embeddings)
    if method == "dropquery":
        assert found.disagreement is not None
        assert found.disagreement.shape == (60,)
        return
    if method == "auto":
        assert found.unsure is not None
        assert found.probabilities is None
        assert found.unsure.shape == (60,)
        assert found.unsure.max() > found.unsure.min() >= 0
        return
    if method == "badge":
        assert found.errors is not None
        assert found.features is not None
        torch.testing.assert_close(found.errors.sum(dim=1), torch.zeros(60))
        named, mean = found.errors.argmin(dim=1), found.features.mean(dim=0)
        torch.testing.assert_close(mean, torch.zeros(3), atol=1e-5, rtol=0)
        unsure = found.errors.abs().sum(dim=1) > 0  # others are named by no error: their probability is 1 as a float32
        assert unsure.sum() > 15
        assert (named == torch.arange(5, 65) % 2)[unsure].float().mean() > 0.75
        return
    assert found.probabilities is not None
    named = found.probabilities.argmax(dim=1)
    assert (named == torch.arange(5, 65) % 2).float().mean() > 0.9


def test_auto_goes_on_as_it_was_where_one_class_is_annotated() -> None:
    pool, embeddings, annotated = example()
    one = Annotated(annotated.rows, np.zeros_like(annotated.classes), annotated.names)
    assert informed(pool, np.arange(5, 65), SelectConfig(), one, embeddings) is pool


@pytest.mark.slow
def test_auto_selects_by_annotations_and_without_them_as_before(
    digits: Finished, workspace: Path, tmp_path: Path
) -> None:
    digits.copy(workspace)
    before = run_stage("select", workspace, budget="12", name="before")
    ids = [image.id for image in read_images(Workspace.open(workspace), "before")]
    (tmp_path / "l.csv").write_text("id,label\n" + "".join(f"{name},{number % 3}\n" for number, name in enumerate(ids)))
    annotate(workspace, tmp_path / "l.csv")
    run_stage("label", workspace)
    run_stage("dynamics", workspace)
    run_stage("score", workspace)
    run_stage("select", workspace, budget="12", name="after")
    said = Workspace.open(workspace).path / "selections" / "after" / "selection.csv"
    assert "those whose class is unsure" in said.read_text()
    remove_annotations(workspace, str(tmp_path / "l.csv"))
    for stage in ("label", "dynamics", "score"):
        run_stage(stage, workspace)
    again = run_stage("select", workspace, budget="12", name="again")
    assert [image.id for image in read_images(Workspace.open(workspace), "again")] == ids
    assert again.summary["trust_by"] == before.summary["trust_by"]


def test_annotated_rows_are_settled_besides_those_that_were() -> None:
    pool, _, annotated = example()
    found = with_annotated_settled(pool, np.arange(5, 65), annotated)
    assert found.settled is not None
    assert found.settled.nonzero().flatten().tolist() == [0, 1, 2, 3, 15, 16, 28, 59]
    assert found.probabilities is None


@pytest.mark.parametrize("method", NEEDY)
def test_without_annotations_the_nearest_method_is_named(method: str, digits: Finished, workspace: Path) -> None:
    digits.copy(workspace)
    with pytest.raises(MissingUpstreamError, match=f"no image is annotated yet.*{SELECTORS[method].instead} comes"):
        run_stage("select", workspace, method=method, budget="5")
