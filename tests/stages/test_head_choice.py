"""Which head labels, or all of them together."""

import json

import pytest
import torch
from torch import Tensor

from elfs.config import ClusterConfig
from elfs.stages.clustering.choice import Choice, choose

LOSS = torch.tensor([0.1, 0.2, 0.3])


def said() -> tuple[Tensor, Tensor]:
    """Return what three heads say of 60 images, the first at random and the last the best; and neighbours."""
    truth = torch.arange(60) % 3
    neighbors = torch.stack([(torch.arange(60) + 3 * step) % 60 for step in range(1, 6)], dim=1)
    noise = torch.randint(3, (60,), generator=torch.Generator().manual_seed(0))
    doubtful = torch.where(torch.arange(60) < 15, noise, truth)
    return torch.stack([4 * torch.eye(3)[own] for own in (noise, doubtful, truth)]), neighbors


@pytest.mark.parametrize(("by", "head"), [("loss", 0), ("trust", 2), ("information", 2), ("consensus", 2)])
def test_each_criterion_chooses_by_itself(by: str, head: int) -> None:
    logits, neighbors = said()
    found = choose(ClusterConfig(head_choice=by), lambda at: list(logits[:, at]), LOSS, neighbors, 3)
    assert found.head == head
    assert (found.consensus is None) == (by != "consensus")
    assert len(found.qualities) == 3 + (by == "consensus")
    assert len(list(found.together(lambda at: list(logits[:, at]))(torch.arange(2)))) == len(found.qualities)
    assert found.said("run") == ("all runs together" if by == "consensus" else f"run {head} chosen")


def test_one_head_labels_by_itself() -> None:
    logits, neighbors = said()
    found = choose(ClusterConfig(), lambda at: list(logits[1:2, at]), LOSS[1:2], neighbors, 3)
    assert (found.head, found.consensus, len(found.qualities)) == (0, None, 1)
    assert found.said("head") == "head 0 chosen"


@pytest.mark.parametrize("by", ["loss", "consensus"])
def test_other_ranks_are_told_the_same(by: str) -> None:
    logits, neighbors = said()
    found = choose(ClusterConfig(head_choice=by), lambda at: list(logits[:, at]), LOSS, neighbors, 3)
    told = Choice.from_json(json.loads(json.dumps(found.as_json())))
    assert told.head == found.head
    rows = torch.arange(60)
    ours, theirs = (list(one.together(lambda at: list(logits[:, at]))(rows)) for one in (found, told))
    assert all(torch.equal(own, other) for own, other in zip(ours, theirs, strict=True))
