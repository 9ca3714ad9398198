import pytest
import torch
from torch import Tensor

from elfs.models import shape_features
from elfs.models.shape_features import Dictionary, learn_dictionary, one_axis, pooled_activations
from elfs.ops.kmeans import kmeans


def pictures(count: int, channels: int = 3, size: int = 16) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0))


def test_axis_is_the_first_principal_component_of_each_image() -> None:
    images = pictures(5)
    images[:, 0] *= 3
    result = one_axis(images)
    for image, axis in zip(images, result, strict=True):
        values = image.flatten(1) - image.flatten(1).mean(dim=1, keepdim=True)
        scores = torch.linalg.svd(values, full_matrices=False).Vh[0]
        assert abs(float(torch.corrcoef(torch.stack([scores, axis.flatten()]))[0, 1])) == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(result.mean(dim=(1, 2, 3)), torch.zeros(5), atol=1e-5, rtol=0)
    assert result.square().mean(dim=(1, 2, 3)).sqrt().min() > 0.99
    assert result.pow(3).mean(dim=(1, 2, 3)).min() >= 0


@pytest.mark.parametrize("channels", [1, 3])
def test_inverted_and_scaled_images_are_the_same(channels: int) -> None:
    images = pictures(6, channels) ** 3  # few bright places: the skewness has a clear sign
    images = images.mean(dim=1, keepdim=True).expand_as(images)
    torch.testing.assert_close(one_axis(1 - images), one_axis(images), atol=1e-3, rtol=0)
    torch.testing.assert_close(one_axis(0.9 * images + 0.05), one_axis(images), atol=0.05, rtol=0)


def test_image_without_content_is_zero() -> None:
    assert torch.equal(one_axis(torch.full((2, 3, 8, 8), 0.3)).abs() < 1e-4, torch.ones(2, 1, 8, 8, dtype=torch.bool))


def test_dictionary_products_equal_the_written_out_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape_features, "NUM_ATOMS", 8)
    sample = shape_features._sampled_patches(one_axis(pictures(20)), 4, torch.Generator().manual_seed(0))
    filters, offset = shape_features._filters(sample, seed=0)
    mean, covariance = sample.mean(dim=0), sample.T.cov(correction=0)
    variance, axes = torch.linalg.eigh(covariance)
    floor = shape_features.ZCA_FLOOR * variance.mean()
    whitened = (sample - mean) @ axes @ torch.diag((variance + floor).rsqrt()) @ axes.T
    atoms = kmeans(whitened, 8, seed=0, num_iterations=10).centroids
    expected = whitened @ (atoms / atoms.norm(dim=1, keepdim=True)).T
    torch.testing.assert_close(sample @ filters + offset, expected, atol=1e-2, rtol=0)


def test_a_fifth_of_the_products_exceeds_the_threshold() -> None:
    images = one_axis(pictures(20))
    learned = learn_dictionary(images, torch.Generator().manual_seed(0))
    patches = shape_features._normalised(torch.nn.functional.unfold(images, 4).mT)
    active = (patches @ learned.filters + learned.offset).abs() > learned.threshold
    assert float(active.float().mean()) == pytest.approx(0.2, abs=0.01)


def test_pooled_activations_by_hand() -> None:
    """One atom, the mean difference of the right and left half of a patch of 8 x 8 images."""
    images = one_axis(pictures(2, 1, 8))
    filters = torch.tensor([-0.5, 0.5, -0.5, 0.5]).unsqueeze(1)
    found = pooled_activations(images, Dictionary(filters, torch.tensor([0.1]), torch.tensor(0.3)))
    products = torch.zeros(2, 7, 7)
    for row in range(7):
        for column in range(7):
            patch = images[:, 0, row : row + 2, column : column + 2].flatten(1)
            patch = patch - patch.mean(dim=1, keepdim=True)
            patch = patch / (patch.square().mean(dim=1, keepdim=True) + shape_features.CONTRAST_FLOOR).sqrt()
            products[:, row, column] = patch @ filters[:, 0] + 0.1
    cells = [(0, 3), (2, 5), (4, 7)]  # the cells of 7 places overlap by one
    for cell, ((top, bottom), (left, right)) in enumerate((one, two) for one in cells for two in cells):
        block = products[:, top:bottom, left:right].flatten(1)
        torch.testing.assert_close(found[:, 2 * cell], (block - 0.3).clamp(min=0).mean(dim=1).sqrt())
        torch.testing.assert_close(found[:, 2 * cell + 1], (-block - 0.3).clamp(min=0).mean(dim=1).sqrt())


def test_patches_are_sampled_from_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(3, 1)
    every = shape_features._sampled_patches(images, 4, torch.Generator().manual_seed(0))
    expected = shape_features._normalised(torch.nn.functional.unfold(images, 4).mT.flatten(0, 1))
    torch.testing.assert_close(every, expected)
    monkeypatch.setattr(shape_features, "MAX_PATCHES", 100)
    some = shape_features._sampled_patches(images, 4, torch.Generator().manual_seed(0))
    assert some.shape == (100, 16)
    assert (torch.cdist(some.double(), every.double()).min(dim=1).values < 1e-6).all()
    assert len(torch.unique(some, dim=0)) > 90


@pytest.mark.parametrize(("size", "places"), [(48, 43**2), (64, 30**2)])
def test_patches_of_large_images_lie_at_every_second_place(
    size: int, places: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    pooling = shape_features._pooling

    def watched(side: int) -> Tensor:
        seen.append(side**2)
        return pooling(side)

    monkeypatch.setattr(shape_features, "_pooling", watched)
    pooled_activations(pictures(1, 1, size), Dictionary(torch.ones(36, 1), torch.zeros(1), torch.tensor(0.0)))
    assert seen == [places]
