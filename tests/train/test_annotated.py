"""The linear classifier of a few annotated rows among many."""

import numpy as np
import pytest
import torch

from elfs.ops.selection.uncertainty import unsureness
from elfs.train.annotated import Annotated, AnnotatedClassifier


def pool() -> tuple[np.ndarray, np.ndarray]:
    """Return 300 rows in three groups, on an axis each, at scales that only standardising evens out."""
    draws = np.random.default_rng(0)
    labels = np.arange(300) % 3
    return ((np.eye(3)[labels] * 4 + draws.normal(size=(300, 3))) * [1.0, 100.0, 0.01]).astype(np.float32), labels


def annotated(labels: np.ndarray, count: int) -> Annotated:
    rows = np.arange(count)
    return Annotated(rows, labels[rows], ("a", "b", "c", "nobody"))


def test_thirty_annotations_tell_the_groups_apart() -> None:
    embeddings, labels = pool()
    found = AnnotatedClassifier.fit(embeddings, np.arange(300), annotated(labels, 30), 0)
    probabilities = found.probabilities(np.arange(300))
    assert probabilities.shape == (300, 4)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(300))
    assert probabilities[:, 3].eq(0).all()
    assert np.mean(probabilities.argmax(dim=1).numpy() == labels) > 0.9
    assert found.cross_validation is not None
    assert found.cross_validation.probabilities.shape == (30, 4)
    assert (found.cross_validation.probabilities.argmax(dim=1).numpy() == labels[:30]).mean() > 0.8
    assert torch.equal(found.unsureness(np.arange(300)), unsureness(probabilities))
    backwards = found.probabilities(np.arange(300)[::-1].copy())
    torch.testing.assert_close(backwards.flip(0), probabilities)


def test_one_annotation_is_enough_to_go_on() -> None:
    embeddings, labels = pool()
    found = AnnotatedClassifier.fit(embeddings, np.arange(300), annotated(labels, 1), 0)
    assert found.cross_validation is None
    assert found.probabilities(np.arange(300))[:, 0].eq(1).all()


@pytest.mark.slow
def test_equal_arguments_give_equal_results_and_the_seed_draws_what_is_dropped() -> None:
    embeddings, labels = pool()
    first, again = (AnnotatedClassifier.fit(embeddings, np.arange(300), annotated(labels, 30), 0) for _ in range(2))
    rows = np.arange(300)
    assert torch.equal(first.probabilities(rows), again.probabilities(rows))
    assert torch.equal(first.disagreement(rows, 0), again.disagreement(rows, 0))
    assert not torch.equal(first.disagreement(rows, 0), first.disagreement(rows, 1))
