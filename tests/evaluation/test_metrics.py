"""Clustering metrics against the reference's output and by hand."""

from pathlib import Path

import numpy as np
import pytest

from elfs.evaluation.metrics import clustering_metrics, match_clusters

GOLDEN = Path(__file__).parent.parent / "data" / "cluster_metrics.npz"


@pytest.mark.parametrize(
    ("predicted", "expected"), [("pred", "acc_nmi_ami_ari"), ("pred_over", "over_acc_nmi_ami_ari")]
)
def test_metrics_reproduce_the_reference(predicted: str, expected: str) -> None:
    """eltsai/elfs@089444b, utils.py, compute_metrics: in percent, also for ten clusters on five classes."""
    golden = np.load(GOLDEN, allow_pickle=False)
    found = clustering_metrics(golden["labels"].astype(np.int64), golden[predicted].astype(np.int64))
    np.testing.assert_allclose(
        [100 * found.accuracy, 100 * found.nmi, 100 * found.ami, 100 * found.ari], golden[expected], atol=1e-6
    )


def test_renaming_the_clusters_changes_nothing() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    metrics = clustering_metrics(labels, np.array([2, 2, 0, 0, 1, 1]))
    assert (metrics.accuracy, metrics.nmi, metrics.ami, metrics.ari) == pytest.approx((1, 1, 1, 1))


def test_fewer_clusters_than_classes_leave_a_class_without_one() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    clusters = np.array([0, 0, 0, 1, 1, 1])
    assert match_clusters(labels, clusters).tolist() == [0, 1]
    assert clustering_metrics(labels, clusters).accuracy == pytest.approx(5 / 6)


def test_a_spare_cluster_stands_for_its_majority() -> None:
    labels = np.array([0, 0, 0, 0, 0, 1, 1])
    clusters = np.array([0, 0, 0, 2, 2, 1, 1])
    assert match_clusters(labels, clusters).tolist() == [0, 1, 0]
