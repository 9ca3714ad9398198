"""Draw a pool of letters: A to J out of many fonts, 32x32, in random colours of letter and ground that say nothing.

    python benchmarks/letters.py /usr/share/fonts letters
    elfs run letters && elfs evaluate --labels folders

Fonts are looked for at any depth; of each that has these letters six are drawn. Debian's packages `fonts-*` below
1.5 MB hold more than a thousand. Writes `train/LETTER/` and `test/LETTER/`, a quarter of them for testing.
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

LETTERS = "ABCDEFGHIJ"
SIDE = 32
LETTERS_PER_FONT = 6
TEST_SHARE = 0.25
LEAST_CONTRAST = 50.0
LUMA = (0.299, 0.587, 0.114)


def usable_fonts(folder: Path, rng: random.Random) -> Iterator[Path]:
    """Yield fonts, in random order, in which all letters can be seen and differ."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".ttf", ".otf"))
    rng.shuffle(paths)
    for path in paths:
        try:
            font = ImageFont.truetype(str(path), 24)
            masks = [font.getmask(letter) for letter in LETTERS]
        except (OSError, ValueError):
            continue
        drawn = {(mask.size, bytes(mask)) for mask in masks if min(mask.size) >= 3 and max(bytes(mask)) >= 128}
        if len(drawn) == len(LETTERS):
            yield path


def colours(rng: random.Random) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return two random colours that differ in brightness."""
    while True:
        first, second = (tuple(rng.randrange(256) for _ in range(3)) for _ in range(2))
        contrast = sum(weight * (a - b) for weight, a, b in zip(LUMA, first, second, strict=True))
        if abs(contrast) > LEAST_CONTRAST:
            return first, second


def drawing(path: Path, letter: str, rng: random.Random) -> Image.Image:
    """Return one letter, a little off the centre."""
    letter_colour, ground = colours(rng)
    font = ImageFont.truetype(str(path), rng.randrange(20, 27))
    image = Image.new("RGB", (SIDE, SIDE), ground)
    draw = ImageDraw.Draw(image)
    left, top, right, bottom = draw.textbbox((0, 0), letter, font=font)
    x, y = (SIDE - (right - left)) / 2 - left, (SIDE - (bottom - top)) / 2 - top
    draw.text((x + rng.uniform(-2, 2), y + rng.uniform(-2, 2)), letter, font=font, fill=letter_colour)
    return image


def main() -> None:
    """Write the pool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fonts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--max-fonts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=5)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    number = 0
    for count, path in enumerate(usable_fonts(arguments.fonts, rng)):
        if count == arguments.max_fonts:
            break
        for letter in rng.sample(LETTERS, LETTERS_PER_FONT):
            folder = arguments.out / ("test" if rng.random() < TEST_SHARE else "train") / letter
            folder.mkdir(parents=True, exist_ok=True)
            drawing(path, letter, rng).save(folder / f"{number:05d}.png")
            number += 1
    print(f"{number:,} images")


if __name__ == "__main__":
    main()
