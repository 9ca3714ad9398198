"""The judge behind ``--hard-rate search``."""

import dataclasses

import numpy as np
import pytest
import torch

from elfs.data.samples import SampleTable
from elfs.parallel.runtime import Runtime, Silence
from elfs.train.window_search import ProxyJudge
from elfs.workspace.workspace import Workspace
from tests.chain import Finished


@pytest.fixture(scope="module")
def judge(embeddings: Finished) -> ProxyJudge:
    """Of three groups that a small network tells apart at once."""
    workspace = Workspace.open(embeddings.path)
    table = SampleTable.from_tensors(workspace.arrays("samples"))
    rows, labels = np.arange(60), torch.arange(60) // 20
    made = ProxyJudge.of(workspace, table, rows, labels, Runtime(devices="cpu"), None, seed=0)
    made.builder.recipe = dataclasses.replace(made.builder.recipe, iterations=30)
    return made


def test_window_that_holds_all_clusters_beats_one_that_lacks_some(judge: ProxyJudge) -> None:
    everywhere, two, one = (torch.arange(start, 60, 20).repeat(1) for start in (0, 1, 2))
    assert judge.accuracy(torch.cat([everywhere, two, one]), Silence()) == 1.0
    assert judge.accuracy(torch.arange(0, 40, 5), Silence()) == pytest.approx(
        32 / 52, abs=1e-9
    )  # nothing of the third group
    assert judge.accuracy(torch.arange(0, 20, 5), Silence()) == pytest.approx(16 / 56, abs=1e-9)


def test_order_of_the_rows_has_no_influence_and_the_result_repeats(judge: ProxyJudge) -> None:
    rows = torch.tensor([3, 25, 47, 9, 33, 58])
    assert judge.accuracy(rows, Silence()) == judge.accuracy(rows.flip(0), Silence()) == judge.accuracy(rows, Silence())


def test_whole_pool_leaves_nothing_to_judge(judge: ProxyJudge) -> None:
    assert judge.accuracy(torch.arange(60), Silence()) == 1.0
