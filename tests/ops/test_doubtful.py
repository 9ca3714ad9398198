"""Labels that are likely wrong, by hand and against plain loops."""

import torch
from cleanlab.filter import find_label_issues

from elfs.ops.doubtful import doubtful_labels


def loops(probabilities: torch.Tensor, labels: torch.Tensor) -> list[int]:
    """Return the doubtful rows, from the definition: thresholds, confident joint, its off-diagonal, by support."""
    values, given = probabilities.double().tolist(), labels.tolist()
    members = {c: [row[c] for row, own in zip(values, given, strict=True) if own == c] for c in set(given)}
    threshold = {c: sum(own) / len(own) for c, own in members.items()}
    found = []
    for number, (row, own) in enumerate(zip(values, given, strict=True)):
        confident = [c for c in threshold if row[c] >= threshold[c] - 1e-6]
        best = max(range(len(row)), key=row.__getitem__)
        if confident and max(confident, key=row.__getitem__) != own and best != own:
            found.append((row[own], number))
    return [number for _, number in sorted(found)]


def test_by_hand() -> None:
    """Class 0 averages (0.9 + 0.8 + 0.2) / 3 = 0.633, class 1 (0.7 + 0.6) / 2 = 0.65: row 2 reaches class 1's."""
    sure = torch.tensor([0.9, 0.8, 0.2, 0.3, 0.4])
    found = doubtful_labels(torch.stack([sure, 1 - sure], dim=1), torch.tensor([0, 0, 0, 1, 1]))
    assert found.rows.tolist() == [2]
    assert found.classes.tolist() == [1]
    torch.testing.assert_close(found.support, torch.tensor([0.2]))


def test_a_row_that_reaches_no_average_is_not_accused() -> None:
    """It is taken for class 1, as unsurely as nobody of that class is."""
    probabilities = torch.tensor([[0.45, 0.55], [0.99, 0.01], [0.1, 0.9]])
    assert len(doubtful_labels(probabilities, torch.tensor([0, 0, 1])).rows) == 0


def test_against_loops_and_cleanlab() -> None:
    draws = torch.Generator().manual_seed(0)
    for _ in range(5):
        labels = torch.randint(4, (300,), generator=draws)
        named = torch.where(torch.rand(300, generator=draws) < 0.2, (labels + 1) % 4, labels)
        logits = torch.randn(300, 5, generator=draws) + 2 * torch.eye(5)[named]
        found = doubtful_labels(logits.softmax(dim=1), labels)
        assert found.rows.tolist() == loops(logits.softmax(dim=1), labels)
        oracle = find_label_issues(
            labels.numpy(),
            logits.softmax(dim=1)[:, :4].double().numpy(),
            filter_by="confident_learning",
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
        )
        assert doubtful_labels(logits.softmax(dim=1)[:, :4], labels).rows.tolist() == oracle.tolist()
        assert len(found.rows) > 20
        assert torch.equal(found.classes, logits.argmax(dim=1)[found.rows])
        assert (found.support.diff() >= 0).all()
