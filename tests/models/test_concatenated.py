import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from elfs.models.concatenated import ConcatenatedEncoder
from elfs.models.encoder import Encoder
from elfs.models.encoders import build_encoder
from elfs.models.pixels import PixelEncoder

pytestmark = pytest.mark.usefixtures("few_atoms")


def pictures(count: int, side: int) -> list[Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return [Image.fromarray(image) for image in pixels]


def stacked(encoder: Encoder, images: list[Image.Image]) -> Tensor:
    return torch.stack([encoder.transform(image) for image in images])


def test_each_part_has_length_one() -> None:
    """Pixels of grey value 3/255 in 4 x 4 and 2 x 2: all 1/4, then all 1/2, whatever the brightness."""
    parts = [PixelEncoder(4, 1), PixelEncoder(2, 1)]
    joint = ConcatenatedEncoder(parts)
    embedding = joint.encode(stacked(joint, [Image.new("RGB", (8, 8), (3, 3, 3))]))
    torch.testing.assert_close(embedding, torch.tensor([[0.25] * 16 + [0.5] * 4]))
    assert (joint.dim, joint.name, joint.needs_fit) == (20, "pixels+pixels", False)


def test_cosine_is_the_mean_of_the_parts_cosines() -> None:
    images = pictures(2, 16)
    names = ("patches", "pixels")
    joint = build_encoder("+".join(names), weights=None, image_size=16, channels=1)
    pool = torch.stack([joint.fit_transform(image) for image in pictures(40, 16)])
    joint.fit(pool, torch.Generator().manual_seed(0))
    first, second = joint.encode(stacked(joint, images))
    cosines = []
    for name in names:
        part = build_encoder(name, weights=None, image_size=16, channels=1)
        part.fit(stacked(part, pictures(40, 16)), torch.Generator().manual_seed(0))
        left, right = part.encode(stacked(part, images))
        cosines.append(torch.cosine_similarity(left, right, dim=0))
    torch.testing.assert_close(torch.cosine_similarity(first, second, dim=0), sum(cosines) / 2)
    assert len(first) == joint.dim > 16 * 16
    assert (joint.name, joint.needs_fit) == ("patches+pixels", True)


def test_only_what_learns_is_kept_in_memory_for_the_fit() -> None:
    joint = build_encoder("pixels+patches", weights=None, image_size=16, channels=1)
    image = Image.new("L", (16, 16)).convert("RGB")
    assert joint.fit_transform(image).shape == (16 * 16,)
    assert joint.transform(image).shape == (2 * 16 * 16,)
    assert joint.dim == 16 * 16  # patches know their width after the fit


def test_transforms_can_be_pickled() -> None:
    joint = build_encoder("pixels+patches", weights=None, image_size=16, channels=3)
    [image] = pictures(1, 16)
    for transform in (joint.transform, joint.fit_transform):
        assert torch.equal(pickle.loads(pickle.dumps(transform))(image), transform(image))


def test_a_part_without_contrast_stays_zero_and_finite() -> None:
    joint = build_encoder("pixels+pixels", weights=None, image_size=4, channels=1)
    assert torch.equal(joint.encode(torch.zeros(1, 32)), torch.zeros(1, 32))


def test_all_parts_move(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[tuple[object, torch.device]] = []
    monkeypatch.setattr(PixelEncoder, "to", lambda part, device: moved.append((part, device)))
    parts = [PixelEncoder(16, 1), PixelEncoder(8, 1)]
    joint = ConcatenatedEncoder(parts)
    assert joint.to(torch.device("cuda")) is joint
    assert moved == [(part, torch.device("cuda")) for part in parts]


def test_parts_hand_on_what_they_have_learned() -> None:
    first, second = (build_encoder("pixels+patches", weights=None, image_size=16, channels=3) for _ in range(2))
    images = torch.rand(40, 3 * 16 * 16, generator=torch.Generator().manual_seed(0))
    first.fit(images, torch.Generator().manual_seed(0))
    assert {name.partition(".")[0] for name in first.learned()} == {"1"}
    second.restore(first.learned())
    assert second.fingerprint == first.fingerprint
    both = torch.cat([images, images], dim=1)
    assert torch.equal(second.encode(both), first.encode(both))
