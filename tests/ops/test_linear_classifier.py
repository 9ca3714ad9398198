"""The linear classifier of annotations, against scikit-learn's and by hand."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from elfs.ops.folds import deal_folds
from elfs.ops.linear_classifier import (
    LinearClassifier,
    cross_validated,
    dropout_disagreement,
    fit_linear_classifier,
)


def example(num_rows: int = 90, spread: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(num_rows) % 3
    centres = torch.eye(3, 5) * 3
    return centres[labels] + spread * torch.randn(num_rows, 5, generator=draws), labels


@pytest.mark.parametrize("penalty", [0.3, 0.01])
def test_it_is_the_minimum_that_scikit_learn_finds(penalty: float) -> None:
    features, labels = example(spread=2.0)
    found = fit_linear_classifier(features, labels, 3, penalty=penalty)
    inputs = F.pad(features.double(), (0, 1), value=1.0).numpy()  # biases are penalised like weights
    oracle = LogisticRegression(C=1 / (penalty * len(labels)), fit_intercept=False, tol=1e-10, max_iter=10_000)
    oracle.fit(inputs, labels.numpy())
    torch.testing.assert_close(found.weights, torch.from_numpy(oracle.coef_[:, :-1]), atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found.bias, torch.from_numpy(oracle.coef_[:, -1]), atol=1e-4, rtol=1e-3)
    shares = torch.from_numpy(oracle.predict_proba(inputs)).float()
    torch.testing.assert_close(found.probabilities(features), shares, atol=1e-4, rtol=1e-3)


def test_probabilities_are_a_softmax_of_logits_over_temperature() -> None:
    classifier = LinearClassifier(torch.tensor([[1.0], [0.0]]).double(), torch.tensor([0.0, 1.0]).double(), 2.0)
    found = classifier.probabilities(torch.tensor([[3.0], [1.0]], dtype=torch.float16))
    torch.testing.assert_close(found, torch.tensor([[1.5, 0.5], [0.5, 0.5]]).softmax(dim=1))
    assert classifier.probabilities(torch.empty(0, 1)).shape == (0, 2)


def test_held_out_rows_are_judged_by_the_others_alone() -> None:
    features, labels = example()
    folds = deal_folds(labels, 3, torch.Generator().manual_seed(1))
    found = cross_validated(features, labels, 3, folds)
    for fold in range(3):
        held = folds == fold
        trained = fit_linear_classifier(
            features[~held], labels[~held], 3, penalty=found.penalty, temperature=found.temperature
        )
        torch.testing.assert_close(found.probabilities[held], trained.probabilities(features[held]), atol=2e-3, rtol=0)
    assert (found.probabilities.argmax(dim=1) == labels).float().mean() > 0.9


@pytest.mark.slow
def test_what_is_learned_from_noise_is_not_believed() -> None:
    features, labels = example()
    folds = deal_folds(labels, 5, torch.Generator().manual_seed(1))
    signal = cross_validated(features, labels, 3, folds)
    draws = torch.Generator().manual_seed(2)
    noise = cross_validated(torch.randn(features.shape, generator=draws), labels, 3, folds)
    assert noise.probabilities.amax(dim=1).mean() < 0.5 < signal.probabilities.amax(dim=1).mean()


def test_the_temperature_lies_where_held_out_rows_are_least_surprising() -> None:
    features, labels = example(spread=2.0)
    folds = deal_folds(labels, 5, torch.Generator().manual_seed(1))
    found = cross_validated(features, labels, 3, folds)
    logits = found.probabilities.double().log() * found.temperature
    losses = [float(F.cross_entropy(logits / (found.temperature * by), labels)) for by in (2**-0.125, 1.0, 2**0.125)]
    assert losses[1] == min(losses)


def test_classes_without_a_row_and_a_single_class_are_no_obstacle() -> None:
    features, labels = example()
    unseen = fit_linear_classifier(features, labels, 5, penalty=0.01).probabilities(features)
    assert unseen[:, 3:].max() < 0.1
    folds = torch.arange(len(labels)) % 2
    alone = cross_validated(features, torch.zeros_like(labels), 1, folds)
    assert alone.probabilities.eq(1).all()


def test_one_fold_is_refused() -> None:
    features, labels = example()
    with pytest.raises(ValueError, match="there is 1 fold, expected at least 2"):
        cross_validated(features, labels, 3, torch.zeros_like(labels))


def test_equal_arguments_give_equal_results() -> None:
    features, labels = example()
    first, again = (fit_linear_classifier(features, labels, 3, penalty=0.1) for _ in range(2))
    assert torch.equal(first.weights, again.weights)


def test_dropout_keeps_a_quarter_of_the_features() -> None:
    """One feature decides: a row that points to class 1 loses it, and its class, in three of four passes."""
    classifier = LinearClassifier(torch.tensor([[0.0], [1.0]]).double(), torch.tensor([0.5, 0.0]).double(), 1.0)
    found = dropout_disagreement(classifier, torch.ones(4000, 1), torch.Generator().manual_seed(0))
    assert set((3 * found).round().int().tolist()) == {0, 1, 2, 3}
    assert float(found.mean()) == pytest.approx(0.75, abs=0.01)
    sure = dropout_disagreement(classifier, torch.zeros(10, 1), torch.Generator().manual_seed(0))
    assert sure.eq(0).all()


def test_dropout_by_hand() -> None:
    """Three passes, in each a feature stays, four times as large, where a draw is at least 3/4."""
    features, labels = example(num_rows=30, spread=2.0)
    classifier = fit_linear_classifier(features, labels, 3, penalty=0.1)
    draws = torch.Generator().manual_seed(5)

    def classes(rows: torch.Tensor) -> list[int]:
        logits = rows.double() @ classifier.weights.T + classifier.bias
        return [int(row.argmax()) for row in logits]

    passes = []
    for _ in range(3):
        drawn = torch.rand(30, 5, generator=draws)
        passes.append(classes(torch.where(drawn < 0.75, 0.0, 4 * features)))
    expected = [sum(one != plain for one in row) / 3 for plain, *row in zip(classes(features), *passes, strict=True)]
    found = dropout_disagreement(classifier, features, torch.Generator().manual_seed(5))
    assert found.tolist() == pytest.approx(expected)
