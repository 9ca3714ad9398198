import numpy as np
import pytest
import torch
from PIL import Image

from elfs.data.crops import CenterCrop, RandomCrop, _crop_box

BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR


def gradient(height: int, width: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([y * 255 // height, x * 255 // width, 0 * x], -1).astype(np.uint8))


def test_center_crop_leaves_an_image_of_that_size_alone() -> None:
    image = gradient(16, 16)
    assert torch.equal(CenterCrop(16, 1.0, BICUBIC)(image), torch.from_numpy(np.array(image)).permute(2, 0, 1))


@pytest.mark.parametrize(("height", "width"), [(64, 96), (96, 64), (48, 48), (20, 40)])
@pytest.mark.parametrize("zoom", [1.0, 256 / 224])
def test_center_crop_is_resize_then_crop(height: int, width: int, zoom: float) -> None:
    size = 28
    short = round(size * zoom)
    scale = short / min(height, width)
    resized = gradient(height, width).resize((round(width * scale), round(height * scale)), BICUBIC)
    left, upper = (resized.width - size) // 2, (resized.height - size) // 2
    expected = np.asarray(resized.crop((left, upper, left + size, upper + size)), int).transpose(2, 0, 1)
    result = CenterCrop(size, zoom, BICUBIC)(gradient(height, width)).numpy().astype(int)
    assert np.abs(result - expected).max() <= 5  # a gradient of 255 over 28 pixels: half a pixel's shift


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 30_000), (30_000, 1), (2, 3)])
def test_row_30_extreme_shapes_are_cropped(height: int, width: int) -> None:
    image = Image.new("RGB", (width, height), (10, 20, 30))
    for crop in (CenterCrop(8, 1.0, BICUBIC)(image), RandomCrop(8, mirror=True)(image, 3)):
        assert crop.shape == (3, 8, 8)
        assert crop.dtype == torch.uint8
        assert torch.equal(crop, torch.tensor([10, 20, 30], dtype=torch.uint8).view(3, 1, 1).expand(3, 8, 8))


def test_random_crop_is_a_function_of_the_seed() -> None:
    image, crop = gradient(40, 60), RandomCrop(16, mirror=True)
    assert torch.equal(crop(image, 5), crop(image, 5))
    assert len({crop(image, seed).numpy().tobytes() for seed in range(20)}) == 20


def test_random_crop_mirrors_half_of_the_time_if_it_may() -> None:
    image = gradient(40, 40)

    def num_mirrored(mirror: bool) -> int:
        crops = [RandomCrop(8, mirror)(image, seed) for seed in range(200)]
        return sum(int(crop[1, 0, 0]) > int(crop[1, 0, -1]) for crop in crops)

    assert num_mirrored(False) == 0
    assert 75 <= num_mirrored(True) <= 125


@pytest.mark.parametrize(("width", "height"), [(100, 100), (300, 200), (1000, 10)])
def test_crop_boxes_have_the_area_and_ratio_asked_for(width: int, height: int) -> None:
    random = np.random.default_rng(0)
    areas = []
    for _ in range(500):
        left, upper, right, lower = _crop_box(width, height, random)
        assert left >= 0
        assert upper >= 0
        assert right <= width + 1e-9
        assert lower <= height + 1e-9
        assert 3 / 4 - 1e-9 <= (right - left) / (lower - upper) <= 4 / 3 + 1e-9
        areas.append((right - left) * (lower - upper) / (width * height))
    if width < 1000:
        assert 0.08 <= min(areas) < 0.12
        assert max(areas) > 0.8
    else:  # nothing of 8 % fits: always the largest box of ratio 4:3
        assert np.ptp(areas) < 1e-12
        assert areas[0] == pytest.approx(10 * 10 * 4 / 3 / 10_000)
