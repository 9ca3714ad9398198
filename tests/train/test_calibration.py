"""Another clustering, and how sure heads may be beside it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.ops.calibration import powered_confidence
from elfs.train import calibration
from elfs.train.calibration import calibrations
from elfs.train.features import Features


def pool() -> tuple[Features, Tensor, Tensor]:
    """Return centred embeddings in three groups that lie apart, their neighbours, and the group of each."""
    draws = torch.Generator().manual_seed(0)
    truth = torch.arange(90) % 3
    inputs = 5 * torch.eye(6)[truth] + torch.randn(90, 6, generator=draws) / 2
    inputs -= inputs.mean(dim=0)
    similarity = torch.nn.functional.normalize(inputs) @ torch.nn.functional.normalize(inputs).T
    neighbors = similarity.fill_diagonal_(-1).topk(5).indices
    return Features(inputs.numpy(), np.arange(90), torch.device("cpu")), neighbors, truth


def logits_for(labels: Tensor) -> Tensor:
    """Return logits of three clusters for labels, some surer than others."""
    return torch.eye(3)[labels] * torch.linspace(0.1, 4, len(labels)).unsqueeze(1)


def test_head_is_as_sure_as_the_other_clustering_agrees() -> None:
    """Whatever its clusters are called; 30 of 90 moved away agree on two thirds."""
    features, neighbors, truth = pool()
    moved = torch.where(torch.arange(90) < 30, (truth + 1) % 3, truth)
    said = [logits_for((truth + 2) % 3), 50 * logits_for(moved)]
    found = calibrations(features, neighbors, 3, 0, lambda rows: [logits[rows] for logits in said])
    assert [one.agreement for one in found] == [1, 60 / 90]
    for logits, believed, one in zip(said, (91 / 92, 61 / 92), found, strict=True):
        sure = powered_confidence(logits, one.confidence_power)
        assert float(sure.mean()) == pytest.approx(believed, abs=1e-4)
    assert found[1].confidence_power < 1


def test_large_pools_are_sampled_and_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, neighbors, truth = pool()
    asked: list[list[int]] = []

    def said(rows: Tensor) -> list[Tensor]:
        asked.append(rows.tolist())
        return [logits_for(truth)[rows]]

    monkeypatch.setattr(calibration, "SAMPLE_ROWS", 30)
    whole = calibrations(features, neighbors, 3, 0, said)
    monkeypatch.setattr(calibration, "_BLOCK_NUMBERS", 100)
    assert calibrations(features, neighbors, 3, 0, said) == whole
    assert asked == [list(range(0, 90, 3))] * 2


def test_many_clusters_are_left_as_sure_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    features, neighbors, truth = pool()
    monkeypatch.setattr(calibration, "MOST_CLUSTERS", 2)
    (found,) = calibrations(features, neighbors, 3, 0, lambda rows: [logits_for(truth)[rows]])
    assert (found.agreement, found.confidence_power) == (None, 1.0)
