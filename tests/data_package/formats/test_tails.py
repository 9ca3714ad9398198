import contextlib
from typing import Any

import numpy as np
import pytest

from elfs.data import decoding
from elfs.data.formats.tails import require_tail
from elfs.data.samples import Outcome
from tests.data_package.formats.files import encode, noise, pixels, refused

KINDS: list[tuple[str, dict[str, Any]]] = [
    ("WEBP", {"quality": 80}),
    ("WEBP", {"lossless": True}),
    ("AVIF", {"speed": 10}),
    ("JPEG2000", {}),
]


@pytest.mark.parametrize(("pillow_format", "options"), KINDS, ids=str)
@pytest.mark.parametrize("alpha", [False, True])
def test_a_tail_of_nuls_is_damage_and_padding_is_not(pillow_format: str, options: dict[str, Any], alpha: bool) -> None:
    if pillow_format == "AVIF" and not decoding._has_decoder("avif"):
        pytest.skip("this Pillow has no AVIF")
    image = noise()
    if alpha:
        image.putalpha(noise().getchannel(0))
    data = encode(image, pillow_format, **options)
    assert pixels(data).shape == (96, 128, 3)
    assert np.array_equal(pixels(data + bytes(4096)), pixels(data))
    for share in (0.5, 0.9):
        length = int(len(data) * share)
        refused(data[:length] + bytes(len(data) - length), Outcome.BROKEN, "damaged")
        refused(data[:length], Outcome.BROKEN, "damaged")
        refused(data[:length] + b"\xff" * (len(data) - length), Outcome.BROKEN, "damaged")


@pytest.mark.parametrize("kind", ["webp", "avif", "heic"])
def test_containers_of_any_bytes_raise_nothing_else(kind: str) -> None:
    random = np.random.default_rng(0)
    data = encode(noise(16, 16), "WEBP" if kind == "webp" else "AVIF")
    for _ in range(200):
        damaged = bytearray(data + bytes(100))
        for place in random.integers(0, min(len(data), 400), 6):
            damaged[place] = int(random.integers(0, 256))
        with contextlib.suppress(decoding.BadImageError):
            require_tail(bytes(damaged), kind, 256)
