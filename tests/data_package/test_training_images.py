import pickle

import pytest
import torch
from PIL import Image
from torch import Tensor

from elfs.data.batch_part import BatchPart
from elfs.data.crops import RandomCrop
from elfs.data.training_images import CachedImages, StreamedImages, Subset, TrainingImages, channel_statistics
from elfs.errors import InputDataError
from tests.data_package.pictures import CPU, ONE, ZERO, FaultyReader, noise, reader_of, seeded


def cached(images: Tensor, mirror: bool = True, padding: int = 2) -> CachedImages:
    return CachedImages(images, ZERO, ONE, mirror, padding)


def drawn(images: TrainingImages, order: Tensor, augment: bool, seed: int = 0, batch_size: int = 4) -> Tensor:
    batches = images.batches(order, batch_size=batch_size, augment=augment, generator=seeded(seed), device=CPU)
    return torch.cat([batch for _, batch in batches])


def test_cached_batches_follow_the_order_and_hold_each_position_once() -> None:
    images = noise(10, 6)
    order = torch.randperm(10, generator=seeded())
    batches = list(cached(images).batches(order, batch_size=4, augment=False, generator=seeded(), device=CPU))
    assert [len(positions) for positions, _ in batches] == [4, 3, 3]
    assert torch.equal(torch.cat([positions for positions, _ in batches]), order)
    assert torch.equal(torch.cat([batch for _, batch in batches]), images[order].float() / 255)
    assert len(cached(images)) == 10


def test_cached_images_are_normalized_per_channel() -> None:
    images = noise(5, 4)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 1.0, 2.0])
    (batch,) = (
        batch
        for _, batch in CachedImages(images, mean, std, False, 0).batches(
            torch.arange(5), batch_size=5, augment=False, generator=seeded(), device=CPU
        )
    )
    assert batch.dtype == torch.float32
    assert torch.allclose(batch, (images / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1), atol=1e-6)


def test_plain_cached_batches_draw_nothing() -> None:
    generator = seeded()
    list(cached(noise(5, 4)).batches(torch.arange(5), batch_size=2, augment=False, generator=generator, device=CPU))
    assert torch.equal(generator.get_state(), seeded().get_state())


@pytest.mark.parametrize(("size", "padding"), [(6, 2), (6, 5), (4, 0), (8, 3)])
@pytest.mark.parametrize("mirror", [False, True])
def test_augmented_images_are_crops_of_the_padded_image(size: int, padding: int, mirror: bool) -> None:
    images = noise(200, size)
    result = (drawn(cached(images, mirror, padding), torch.arange(200), augment=True, batch_size=64) * 255).round()
    padded = torch.nn.functional.pad(images.float(), (padding,) * 4, mode="reflect") if padding else images.float()
    crops = padded.unfold(2, size, 1).unfold(3, size, 1).permute(0, 2, 3, 1, 4, 5).flatten(1, 2)
    candidates = torch.cat([crops, crops.flip(-1)], 1) if mirror else crops  # [N, places, 3, S, S]
    matches = (candidates == result[:, None]).flatten(2).all(2)
    assert bool(matches.any(1).all())
    assert bool(matches.any(0).sum() > 0.8 * matches.shape[1])
    if mirror and padding < size / 2:  # else reflection can mirror an image by itself
        num_places = crops.shape[1]
        assert 70 < int(matches[:, num_places:].any(1).sum()) < 130
        assert not bool((matches[:, :num_places].any(1) & matches[:, num_places:].any(1)).any())


def test_padding_may_exceed_the_image() -> None:
    images = torch.arange(3, dtype=torch.uint8).repeat(20, 3, 3, 1)
    result = (drawn(cached(images, False, 7), torch.arange(20), augment=True) * 255).round()[:, 0, 0].int().tolist()
    assert {tuple(row) for row in result} == {(0, 1, 2), (1, 2, 1), (2, 1, 0), (1, 0, 1)}
    single = torch.full((2, 3, 1, 1), 9, dtype=torch.uint8)
    assert torch.equal(drawn(cached(single), torch.arange(2), augment=True) * 255, single.float())


def test_augmentation_is_a_function_of_the_generator() -> None:
    images, order = noise(12, 6), torch.arange(12)
    for source in (cached(images), streamed(images)):
        first = drawn(source, order, augment=True, seed=1)
        assert torch.equal(first, drawn(source, order, augment=True, seed=1))
        assert not torch.equal(first, drawn(source, order, augment=True, seed=2))


def test_augmentation_does_not_touch_the_cache() -> None:
    images = noise(6, 5)
    before = images.clone()
    drawn(cached(images), torch.arange(6), augment=True)
    assert torch.equal(images, before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_augmentation_is_the_same_on_every_device(where: str) -> None:
    images, order = noise(300, 32), torch.randperm(300, generator=seeded())
    mean, std = channel_statistics(images)
    expected = CachedImages(images, mean, std, True, 4)
    other = CachedImages(images.to(where), mean, std, True, 4)
    device = torch.device("cuda")
    pairs = zip(
        expected.batches(order, batch_size=64, augment=True, generator=seeded(), device=CPU),
        other.batches(order, batch_size=64, augment=True, generator=seeded(), device=device),
        strict=True,
    )
    for (positions, on_cpu), (same_positions, on_gpu) in pairs:
        assert torch.equal(positions, same_positions)
        assert on_gpu.device.type == "cuda"
        assert torch.equal(on_cpu, on_gpu.cpu())


def streamed(images: Tensor, num_workers: int = 0, size: int = 6) -> StreamedImages:
    return StreamedImages(reader_of(images), torch.arange(len(images)), size, ZERO, ONE, True, num_workers)


def test_streamed_positions_are_looked_up_in_rows() -> None:
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 3, 8, 8).contiguous()
    rows = torch.tensor([9, 2, 4])
    source = StreamedImages(reader_of(images), rows, 6, ZERO, ONE, False, 0)
    order = torch.tensor([2, 0, 1])
    batches = list(source.batches(order, batch_size=2, augment=False, generator=seeded(), device=CPU))
    assert [positions.tolist() for positions, _ in batches] == [[2, 0], [1]]
    assert [(batch[:, 0, 0, 0] * 255).round().tolist() for _, batch in batches] == [[4.0, 9.0], [2.0]]
    assert len(source) == 3


@pytest.mark.slow
def test_streamed_images_do_not_depend_on_the_workers() -> None:
    images, order = noise(9, 12), torch.randperm(9, generator=seeded())
    assert torch.equal(drawn(streamed(images), order, True), drawn(streamed(images, num_workers=2), order, True))


def test_streamed_augmentation_gives_every_image_its_own_crop() -> None:
    image = noise(1, 16).expand(8, 3, 16, 16).contiguous()
    result = drawn(streamed(image), torch.arange(8), augment=True)
    assert len({item.numpy().tobytes() for item in result}) == 8


def test_plain_streamed_images_are_the_centre_at_seven_eighths() -> None:
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    images[:, :, 4:60, 4:60] = 255
    assert drawn(streamed(images, size=56), torch.tensor([0]), augment=False).min() == 1.0
    images[:, :, 4, :] = 0
    assert drawn(streamed(images, size=56), torch.tensor([0]), augment=False)[0, :, 0].max() == 0.0


def test_streamed_images_that_can_no_longer_be_read_stop_the_pass() -> None:
    source = StreamedImages(FaultyReader(frozenset((2,))), torch.arange(4), 4, ZERO, ONE, True, 0)
    with pytest.raises(InputDataError, match="the image of row 2 could be read before and is now broken"):
        drawn(source, torch.arange(4), augment=True)


def test_everything_that_goes_to_a_worker_can_be_pickled() -> None:
    image = Image.new("RGB", (9, 7), "red")
    crop = pickle.loads(pickle.dumps(RandomCrop(4, mirror=True)))
    assert torch.equal(crop(image, 1), RandomCrop(4, mirror=True)(image, 1))
    source = pickle.loads(pickle.dumps(streamed(noise(3, 8))))
    assert torch.equal(drawn(source, torch.arange(3), True), drawn(streamed(noise(3, 8)), torch.arange(3), True))


def test_channel_statistics_are_those_of_all_pixels() -> None:
    images = noise(130, 5)
    mean, std = channel_statistics(images)
    pixels = images.double().transpose(0, 1).flatten(1) / 255
    assert torch.allclose(mean.double(), pixels.mean(1), atol=1e-7)
    assert torch.allclose(std.double(), pixels.std(1, correction=0), atol=1e-7)
    assert mean.dtype == std.dtype == torch.float32


def test_channel_statistics_of_a_constant_can_be_divided_by() -> None:
    mean, std = channel_statistics(torch.full((3, 3, 2, 2), 51, dtype=torch.uint8))
    assert torch.allclose(mean, torch.full((3,), 0.2))
    assert torch.allclose(std, torch.full((3,), 1 / 255))


@pytest.mark.parametrize("augment", [False, True])
def test_subset_gives_what_its_positions_alone_would(augment: bool) -> None:
    images, positions = noise(12, 6), torch.tensor([7, 0, 11, 4, 5, 2, 9])
    order = torch.randperm(7, generator=seeded(3))
    for whole, alone in (
        (cached(images), cached(images[positions])),
        (streamed(images), streamed(images[positions])),
    ):
        subset = Subset(whole, positions)
        assert len(subset) == 7
        assert torch.equal(drawn(subset, order, augment), drawn(alone, order, augment))
        batches = subset.batches(order, batch_size=4, augment=augment, generator=seeded(), device=CPU)
        found = [batch for batch, _ in batches]
        assert [len(batch) for batch in found] == [4, 3]
        assert torch.equal(torch.cat(found), order)


@pytest.mark.slow
@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("kind", ["cached", "streamed", "workers", "subset of cached", "subset of streamed"])
@pytest.mark.parametrize("size", [2, 3, 6])
def test_shares_make_up_the_batches_of_one_process(kind: str, size: int, augment: bool) -> None:
    """11 images in batches of 4, 4 and 3: parts of unequal length, and for 6 processes empty ones."""
    images, order = noise(13, 6), torch.randperm(13, generator=seeded(3))[:11]
    made: TrainingImages = (
        cached(images) if kind.endswith("cached") else streamed(images, num_workers=2 if kind == "workers" else 0)
    )
    if kind.startswith("subset"):
        made = Subset(made, torch.randperm(13, generator=seeded(4)))

    def batches(part: BatchPart) -> list[tuple[Tensor, Tensor]]:
        found = made.batches(order, batch_size=4, augment=augment, generator=seeded(5), device=CPU, part=part)
        return list(found)

    whole = batches(BatchPart())
    parts = [batches(BatchPart(rank, size)) for rank in range(size)]
    assert {len(part) for part in parts} == {len(whole)}
    for number, (positions, pixels) in enumerate(whole):
        here = [part[number] for part in parts]
        assert torch.equal(torch.cat([own for own, _ in here]), positions)
        assert torch.equal(torch.cat([found[: len(own)] for own, found in here]), pixels)
        assert [len(found) for _, found in here] == [max(1, len(own)) for own, _ in here]


def test_share_decodes_its_own_images_alone() -> None:
    read: list[int] = []

    class Watched(FaultyReader):
        def read(self, row: int) -> Image.Image:
            read.append(row)
            return super().read(row)

    source = StreamedImages(Watched(frozenset()), torch.arange(10), 4, ZERO, ONE, True, 0)
    options = {"batch_size": 5, "augment": True, "generator": seeded(), "device": CPU}
    list(source.batches(torch.arange(10), **options, part=BatchPart(1, 2)))  # type: ignore[arg-type]
    assert read == [3, 4, 8, 9]
