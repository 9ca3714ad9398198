"""What annotations tell a selector, and what is said where there are none."""

from pathlib import Path

import numpy as np
import pytest
import torch

from elfs.catalog import SELECTORS
from elfs.config import SelectConfig
from elfs.errors import MissingUpstreamError
from elfs.ops.selection import Pool
from elfs.stages.selection.informed import informed, is_informed, with_annotated_settled
from elfs.train.annotated import Annotated
from tests.chain import Finished, run_stage

NEEDY = sorted(name for name, method in SELECTORS.items() if method.instead is not None)


def example() -> tuple[Pool, np.ndarray, Annotated]:
    """Return a pool of rows 5 to 64 of 70 rows of embeddings, of which 8 are annotated, one of them outside."""
    draws = np.random.default_rng(0)
    embeddings = draws.normal(size=(70, 3)).astype(np.float32)
    embeddings[:, 0] += np.arange(70) % 2 * 6
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
    if method == "badge":
        assert found.errors is not None
        assert found.features is not None
        torch.testing.assert_close(found.errors.sum(dim=1), torch.zeros(60))
        named, mean = found.errors.argmin(dim=1), found.features.mean(dim=0)
        torch.testing.assert_close(mean, torch.zeros(3), atol=1e-5, rtol=0)
    else:
        assert found.probabilities is not None
        named = found.probabilities.argmax(dim=1)
    assert (named == torch.arange(5, 65) % 2).float().mean() > 0.9


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
