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

pytestmark = pytest.mark.usefixtures("few_atoms")


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
    assert 1 <= encoder.dim <= 2 * patches.MAX_DIM
    assert torch.equal(fitted(images).encode(images), embeddings)
    assert not torch.equal(fitted(images, seed=1).encode(images)[:, 0], embeddings[:, 0])


def test_what_was_learned_can_be_handed_on() -> None:
    images, _ = striped_images(30)
    first, second = fitted(images), PatchEncoder(16, images.shape[1])
    assert second.learned() == {}
    second.restore(first.learned())
    assert (second.dim, second.fingerprint) == (first.dim, first.fingerprint)
    assert torch.equal(second.encode(images), first.encode(images))
    with pytest.raises(
        CorruptArtifactError, match=r"^a patches encoder learns shape16\.filters, .*, but there is nothing\.$"
    ):
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


@pytest.mark.parametrize("count", [1, 2])
def test_hardly_any_images(count: int) -> None:
    images, _ = striped_images(count)
    embeddings = fitted(images).encode(images)
    assert embeddings.shape == (count, 1)
    assert embeddings.isfinite().all()


def test_images_without_content() -> None:
    images = torch.full((12, 1, 16, 16), 0.5)
    assert fitted(images).encode(images).isfinite().all()


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


@pytest.mark.parametrize(("native", "size"), [(8, 16), (16, 16), (28, 28), (48, 32), (49, 64), (500, 64)])
def test_size_of_the_images(native: int, size: int) -> None:
    encoder = build_encoder("patches", weights=None, image_size=native, channels=3)
    image = Image.new("RGB", (native + 3, native), (255, 0, 51))
    result = pickle.loads(pickle.dumps(encoder.transform))(image)
    torch.testing.assert_close(result, torch.tensor([1.0, 0.0, 0.2]).view(3, 1, 1).expand(3, size, size))


def coloured(images: Tensor, generator: torch.Generator) -> Tensor:
    """Paint grey images in two random colours each."""
    ink, ground = torch.rand(2, len(images), 3, 1, 1, generator=generator)
    painted: Tensor = ground + images * (ink - ground)
    return painted


def share_of_equal_neighbors(embeddings: Tensor, kind: Tensor) -> float:
    unit = torch.nn.functional.normalize(embeddings)
    nearest = (unit @ unit.T).fill_diagonal_(-2).topk(5).indices
    return float((kind[nearest] == kind[:, None]).float().mean())


def test_colours_that_say_nothing_do_not_hide_the_shape() -> None:
    images, kind = striped_images(200)
    painted = coloured(images, torch.Generator().manual_seed(1))
    assert share_of_equal_neighbors(fitted(painted).encode(painted), kind) > 0.98
    assert share_of_equal_neighbors(painted.flatten(1), kind) < 0.8


def test_colours_are_seen_where_they_alone_tell() -> None:
    generator = torch.Generator().manual_seed(0)
    kind = torch.arange(200) % 4
    colours = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.9, 0.1], [0.1, 0.1, 0.9], [0.8, 0.8, 0.1]])[kind]
    noise = 0.2 * torch.rand(200, 3, 16, 16, generator=generator)
    images = (colours[:, :, None, None] + noise).clamp(0, 1)
    encoder = fitted(images)
    assert share_of_equal_neighbors(encoder.encode(images), kind) > 0.9


def test_grey_images_in_three_channels_are_grey() -> None:
    images, _ = striped_images(40)
    encoder = fitted(images.expand(-1, 3, -1, -1))
    assert encoder.learned()["colour.projection"].shape[1] == 0
    inverted = 1 - images
    similarity = torch.cosine_similarity(fitted(images).encode(images), fitted(images).encode(inverted))
    assert similarity.median() > 0.9  # dark on bright is bright on dark


def test_large_images_are_looked_at_in_two_sizes() -> None:
    images, kind = striped_images(60, size=64)
    encoder = fitted(images)
    assert {name.partition(".")[0] for name in encoder.learned()} == {"shape32", "shape64"}
    assert share_of_equal_neighbors(encoder.encode(images), kind) > 0.98
