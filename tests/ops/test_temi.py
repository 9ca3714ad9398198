import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from elfs.ops.temi import (
    Views,
    WeightMode,
    log_probabilities,
    pair_weights,
    probability_sum,
    scan_loss,
    temi_loss,
    updated_prior,
)

DATA = Path(__file__).parents[1] / "data"


def random_views(seed: int, *, num_pairs: int = 12, scale: float = 1.0) -> Views:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(2, 3, num_pairs, 5, generator=generator)
    return log_probabilities(logits[0], 0.5), log_probabilities(logits[1], 0.5)


def with_gradient(views: Views) -> Views:
    return views[0].clone().requires_grad_(), views[1].clone().requires_grad_()


def gradients(views: Views) -> list[Tensor]:
    found = [view.grad for view in views if view.grad is not None]
    assert len(found) == 2
    return found


def test_temi_matches_reference() -> None:
    """eltsai/elfs@089444b, losses/multihead_losses.py, TEMI: three steps; loss, prior and gradient."""
    golden = np.load(DATA / "temi_loss.npz")
    num_heads, num_clusters = golden["student"].shape[1], golden["student"].shape[3]
    prior = torch.full((num_heads, num_clusters), 1 / num_clusters)
    for step in range(3):
        logits = torch.from_numpy(golden["student"][step]).requires_grad_()
        student = log_probabilities(logits, float(golden["student_temp"])).chunk(2, dim=1)
        teacher_logits = torch.from_numpy(golden["teacher"][step])
        teacher = log_probabilities(teacher_logits, float(golden["teacher_temp"])).chunk(2, dim=1)
        total, count = probability_sum(*teacher)
        prior = updated_prior(prior, total, count, momentum=float(golden["probs_momentum"]))
        weights = pair_weights((teacher[0], teacher[1]), "temi")
        loss = temi_loss((student[0], student[1]), (teacher[0], teacher[1]), prior, weights, beta=float(golden["beta"]))
        torch.autograd.backward(loss.mean())
        assert logits.grad is not None
        np.testing.assert_allclose(prior.numpy(), golden["pk"][step], rtol=1e-6)
        np.testing.assert_allclose(loss.detach().numpy(), golden["loss"][step], rtol=2e-5, atol=1e-6)
        np.testing.assert_allclose(logits.grad.numpy(), golden["grad_student"][step], rtol=1e-4, atol=1e-7)


def test_pair_weights_by_hand() -> None:
    view1 = torch.tensor([[[0.5, 0.5]], [[1.0, 0.0]]]).log()  # two heads, one pair
    view2 = torch.tensor([[[0.5, 0.5]], [[0.8, 0.2]]]).log()
    expected: dict[WeightMode, list[list[float]]] = {
        "wmi": [[0.5], [0.8]],
        "temi": [[0.65], [0.65]],
        "pmi": [[1.0], [1.0]],
    }
    for mode, value in expected.items():
        torch.testing.assert_close(pair_weights((view1, view2), mode), torch.tensor(value))


def test_no_gradient_reaches_the_teacher() -> None:
    teacher, student = with_gradient(random_views(0)), with_gradient(random_views(1))
    loss = temi_loss(student, teacher, torch.full((3, 5), 0.2), pair_weights(teacher, "temi"), beta=0.6)
    torch.autograd.backward(loss.sum())
    assert teacher[0].grad is None
    assert teacher[1].grad is None
    assert not pair_weights(teacher, "temi").requires_grad
    assert not probability_sum(*teacher)[0].requires_grad


@pytest.mark.parametrize("mode", ["temi", "wmi", "pmi"])
def test_temi_matches_the_formula_written_out(mode: WeightMode) -> None:
    student, teacher, beta = random_views(0), random_views(1), 0.7
    prior = torch.tensor([[0.1, 0.2, 0.3, 0.3, 0.1]]).repeat(3, 1)
    weights = pair_weights(teacher, mode)
    s1, s2, t1, t2 = (view.exp() for view in (*student, *teacher))
    expected = torch.zeros(3)
    for head in range(3):
        for pair in range(12):
            both = 0.0
            for a, b in ((s1, t2), (s2, t1)):
                both -= math.log(float(((a[head, pair] * b[head, pair]) ** beta / prior[head]).sum()))
            expected[head] += weights[head, pair] * both / 2 / 12
    torch.testing.assert_close(temi_loss(student, teacher, prior, weights, beta=beta), expected)


def test_scan_matches_the_formula_written_out() -> None:
    """Van Gansbeke et al., ECCV 2020, equation 2, with the gradient that autograd finds for it."""
    ours, plain = with_gradient(random_views(0)), with_gradient(random_views(0))
    loss = scan_loss(ours, *probability_sum(ours[0]), entropy_weight=2.0)
    mean = plain[0].exp().mean(dim=1)
    agreement = (plain[0].exp() * plain[1].exp()).sum(dim=-1)
    expected = -agreement.log().mean(dim=1) - 2.0 * -(mean * mean.log()).sum(dim=-1)
    torch.testing.assert_close(loss, expected)
    torch.autograd.backward(loss.sum())
    torch.autograd.backward(expected.sum())
    for actual_gradient, expected_gradient in zip(gradients(ours), gradients(plain), strict=True):
        torch.testing.assert_close(actual_gradient, expected_gradient)


def test_scan_prefers_agreement_and_many_clusters() -> None:
    spread = log_probabilities(20 * torch.eye(4).unsqueeze(0), 1.0)
    collapsed = log_probabilities(20 * torch.eye(4)[[0, 0, 0, 0]].unsqueeze(0), 1.0)
    disagreeing = (spread, spread.roll(1, dims=1))
    best = scan_loss((spread, spread), *probability_sum(spread))
    assert best < scan_loss((collapsed, collapsed), *probability_sum(collapsed))
    assert best < scan_loss(disagreeing, *probability_sum(spread))


def split(views: Views, rank: int) -> Views:
    parts = [view.detach().chunk(2, dim=1)[rank].clone().requires_grad_() for view in views]
    return parts[0], parts[1]


def test_temi_over_two_processes_is_temi_over_one() -> None:
    whole, teacher, prior = with_gradient(random_views(0)), random_views(1), torch.full((3, 5), 0.2)
    new_prior = updated_prior(prior, *probability_sum(*teacher), momentum=0.9)
    loss = temi_loss(whole, teacher, new_prior, pair_weights(teacher, "temi"), beta=0.6)
    torch.autograd.backward(loss.sum())

    students, teachers = [split(whole, rank) for rank in (0, 1)], [split(teacher, rank) for rank in (0, 1)]
    sums = [probability_sum(*views) for views in teachers]
    reduced = updated_prior(prior, sums[0][0] + sums[1][0], sums[0][1] + sums[1][1], momentum=0.9)
    torch.testing.assert_close(reduced, new_prior)
    losses = [
        temi_loss(views, teacher_views, reduced, pair_weights(teacher_views, "temi"), beta=0.6)
        for views, teacher_views in zip(students, teachers, strict=True)
    ]
    assert_mean_over_processes(losses, students, loss, whole)


def test_scan_over_two_processes_is_scan_over_one() -> None:
    whole = with_gradient(random_views(0))
    loss = scan_loss(whole, *probability_sum(whole[0]))
    torch.autograd.backward(loss.sum())

    students = [split(whole, rank) for rank in (0, 1)]
    sums = [probability_sum(views[0]) for views in students]
    total, count = sums[0][0] + sums[1][0], sums[0][1] + sums[1][1]
    losses = [scan_loss(views, total, torch.tensor(count)) for views in students]
    assert_mean_over_processes(losses, students, loss, whole)


def assert_mean_over_processes(losses: list[Tensor], students: list[Views], loss: Tensor, whole: Views) -> None:
    """Assert that mean loss and averaged gradient of two half batches are those of the whole batch."""
    mean_loss = (losses[0] + losses[1]) / 2
    torch.testing.assert_close(mean_loss, loss)
    torch.autograd.backward(mean_loss.sum())
    for view in (0, 1):
        halves = torch.cat([gradients(students[rank])[view] for rank in (0, 1)], dim=1)
        torch.testing.assert_close(halves, gradients(whole)[view])


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_losses_stay_finite_with_empty_clusters_and_hard_logits(scale: float) -> None:
    student, teacher = with_gradient(random_views(0, scale=scale)), random_views(1, scale=scale)
    prior = torch.tensor([[0.5, 0.5, 0.0, 0.0, 0.0]]).repeat(3, 1)
    total = torch.tensor([[12.0, 0.0, 0.0, 0.0, 0.0]]).repeat(3, 1)
    loss = temi_loss(student, teacher, prior, pair_weights(teacher, "temi"), beta=0.6) + scan_loss(student, total, 12)
    torch.autograd.backward(loss.sum())
    assert loss.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(student))


def test_one_cluster_one_pair_one_head() -> None:
    views = (torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
    prior = updated_prior(torch.ones(1, 1), *probability_sum(*views), momentum=0.9)
    assert prior.item() == pytest.approx(1.0)
    assert temi_loss(views, views, prior, pair_weights(views, "temi"), beta=0.6).item() == pytest.approx(0.0)
    assert scan_loss(views, *probability_sum(views[0])).item() == pytest.approx(0.0)


def test_log_probabilities_compute_half_precision_in_float32() -> None:
    logits = torch.tensor([[1.0, -3.0, 60000.0]], dtype=torch.float16)
    actual = log_probabilities(logits, 0.1)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, torch.tensor([[-599990.0, -600030.0, 0.0]]))
