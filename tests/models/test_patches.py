import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from elfs.errors import CorruptArtifactError
from elfs.models import patches
from elfs.models.encoders import build_encoder
from elfs.models.patches import PatchEncoder, SquareTransform
from elfs.ops.kmeans import kmeans


def striped_images(count: int, size: int = 16, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Stripes of random phase; every second image has them upright, the others lying."""
    generator = torch.Generator().manual_seed(0)
    position = torch.arange(size).view(1, size) + 6 * torch.rand(count, 1, generator=generator)
    wave = 0.5 + 0.4 * torch.sin(position)
    upright = wave.view(count, 1, 1, size).expand(count, channels, size, size)
    kind = torch.arange(count) % 2
    images = torch.where(kind.view(-1, 1, 1, 1) == 0, upright, upright.mT)
    return images + 0.02 * torch.rand(images.shape, generator=generator), kind


def fitted(images: Tensor, seed: int = 0) -> PatchEncoder:
    encoder = PatchEncoder(images.shape[-1], images.shape[1])
    encoder.fit(images, torch.Generator().manual_seed(seed))
    return encoder


def test_neighbours_share_the_texture() -> None:
    images, kind = striped_images(80)
    embeddings = fitted(images).encode(images)
    similarity = torch.nn.functional.normalize(embeddings) @ torch.nn.functional.normalize(embeddings).T
    nearest = similarity.fill_diagonal_(-2).topk(5).indices
    assert (kind[nearest] == kind[:, None]).float().mean() > 0.99


@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_determinism(channels: int) -> None:
    images, _ = striped_images(30, channels=channels)
    encoder = PatchEncoder(16, channels)
    assert (encoder.name, encoder.needs_fit, encoder.dim) == ("patches", True, 0)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    encoder.fit(images, torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)
    embeddings = encoder.encode(images)
    assert (embeddings.shape, embeddings.dtype) == ((30, encoder.dim), torch.float32)
    assert 1 <= encoder.dim <= patches.MAX_DIM
    assert torch.equal(fitted(images).encode(images), embeddings)
    assert not torch.equal(fitted(images, seed=1).encode(images)[:, 0], embeddings[:, 0])


def test_what_was_learned_can_be_handed_on() -> None:
    images, _ = striped_images(30)
    first, second = fitted(images), PatchEncoder(16, images.shape[1])
    assert second.learned() == {}
    second.restore(first.learned())
    assert (second.dim, second.fingerprint) == (first.dim, first.fingerprint)
    assert torch.equal(second.encode(images), first.encode(images))
    with pytest.raises(CorruptArtifactError, match=r"^a patches encoder learns filters, .*, but there is nothing\.$"):
        second.restore({})


def test_batches_do_not_matter() -> None:
    images, _ = striped_images(30)
    encoder = fitted(images)
    torch.testing.assert_close(torch.cat([encoder.encode(image[None]) for image in images]), encoder.encode(images))


def test_brightness_does_not_matter_and_contrast_hardly() -> None:
    images, _ = striped_images(30)
    encoder = fitted(images)
    embeddings = encoder.encode(images)
    torch.testing.assert_close(encoder.encode(images + 0.1), embeddings, atol=1e-3, rtol=0)
    assert torch.cosine_similarity(encoder.encode(0.8 * images), embeddings).min() > 0.99


def test_embeddings_are_centred_and_partly_whitened() -> None:
    images, _ = striped_images(60)
    encoder = fitted(images)
    embeddings = encoder.encode(images).double()
    torch.testing.assert_close(embeddings.mean(dim=0), torch.zeros(encoder.dim, dtype=torch.double), atol=1e-4, rtol=0)
    covariance = embeddings.T @ embeddings / len(images)
    scale = covariance.diagonal().sqrt()
    correlation = covariance / torch.outer(scale, scale) - torch.eye(encoder.dim)
    assert correlation.abs().max() < 0.02
    assert (scale.diff() <= 1e-4).all()


def test_width_follows_the_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = striped_images(60)
    widths = []
    for share in (0.3, 0.9, 0.999):
        monkeypatch.setattr(patches, "EXPLAINED_VARIANCE", share)
        widths.append(fitted(images).dim)
    assert widths == sorted(set(widths))
    monkeypatch.setattr(patches, "MAX_DIM", 3)
    assert fitted(images).dim == 3


def test_dictionary_products_equal_the_written_out_steps() -> None:
    images, _ = striped_images(20)
    sample = patches._sampled_patches(images, 4, torch.Generator().manual_seed(0))
    filters, offset = patches._dictionary(sample, 8, seed=0)
    mean, covariance = sample.mean(dim=0), sample.T.cov(correction=0)
    variance, axes = torch.linalg.eigh(covariance)
    whitened = (sample - mean) @ axes @ torch.diag((variance + patches.ZCA_FLOOR).rsqrt()) @ axes.T
    atoms = kmeans(whitened, 8, seed=0, num_iterations=25).centroids
    expected = whitened @ (atoms / atoms.norm(dim=1, keepdim=True)).T
    torch.testing.assert_close(sample @ filters + offset, expected, atol=1e-2, rtol=0)


def test_patches_are_sampled_from_every_place(monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = striped_images(3)
    every = patches._sampled_patches(images, 4, torch.Generator().manual_seed(0))
    expected = patches._normalised(torch.nn.functional.unfold(images, 4).mT.flatten(0, 1))
    torch.testing.assert_close(every, expected)
    monkeypatch.setattr(patches, "MAX_PATCHES", 100)
    some = patches._sampled_patches(images, 4, torch.Generator().manual_seed(0))
    assert some.shape == (100, 16)
    assert (torch.cdist(some.double(), every.double()).min(dim=1).values < 1e-6).all()
    assert len(torch.unique(some, dim=0)) > 90


def test_more_images_than_the_fit_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = striped_images(60)
    monkeypatch.setattr(patches, "MAX_FIT_IMAGES", 10)
    assert fitted(images).dim <= 9


@pytest.mark.parametrize("count", [1, 2])
def test_hardly_any_images(count: int) -> None:
    images, _ = striped_images(count)
    embeddings = fitted(images).encode(images)
    assert embeddings.shape == (count, 1)
    assert embeddings.isfinite().all()


def test_images_without_content() -> None:
    images = torch.full((12, 1, 16, 16), 0.5)
    assert fitted(images).encode(images).isfinite().all()


@pytest.mark.parametrize(("native", "size"), [(8, 16), (16, 16), (28, 28), (500, 32)])
def test_size_of_the_images(native: int, size: int) -> None:
    encoder = build_encoder("patches", weights=None, image_size=native, channels=3)
    image = Image.new("RGB", (native + 3, native), (255, 0, 51))
    result = pickle.loads(pickle.dumps(encoder.transform))(image)
    torch.testing.assert_close(result, torch.tensor([1.0, 0.0, 0.2]).view(3, 1, 1).expand(3, size, size))


def test_transform_crops_the_centre() -> None:
    pixels = np.zeros((8, 24), np.uint8)
    pixels[:, 8:16] = np.arange(8, dtype=np.uint8)[:, None] * 30
    result = SquareTransform(8, 1)(Image.fromarray(pixels).convert("RGB"))
    torch.testing.assert_close(result[0], torch.from_numpy(pixels[:, 8:16]) / 255)


def test_needs_a_fit() -> None:
    with pytest.raises(AssertionError, match="fit comes before encode"):
        PatchEncoder(16, 1).encode(torch.zeros(1, 1, 16, 16))


def test_move_before_and_after_the_fit() -> None:
    images, _ = striped_images(10)
    encoder = PatchEncoder(16, 1).to(torch.device("cpu"))
    encoder.fit(images, torch.Generator().manual_seed(0))
    assert torch.equal(encoder.to(torch.device("cpu")).encode(images), fitted(images).encode(images))


def test_leading_axes_equal_a_full_decomposition() -> None:
    factor = torch.randn(60, 60, generator=torch.Generator().manual_seed(0)) * 0.9 ** torch.arange(60)
    covariance = factor @ factor.T
    variance, axes = patches._leading_axes(covariance, 5, torch.Generator().manual_seed(1))
    expected = torch.linalg.eigvalsh(covariance).flip(0)[:5]
    torch.testing.assert_close(variance, expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(covariance @ axes, axes * expected, atol=1e-2, rtol=0)
    torch.testing.assert_close(axes.T @ axes, torch.eye(5), atol=1e-5, rtol=0)


def test_whitening_exponent() -> None:
    covariance = torch.diag(torch.tensor([16.0, 4.0, 1.0]))
    projection = patches._projection(covariance, 100, torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        projection.abs(), torch.tensor([[16**-0.25, 0], [0, 4**-0.25], [0, 0]]), atol=1e-4, rtol=0
    )
