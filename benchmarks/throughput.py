"""Images a second of embed against a plain torchvision ImageFolder, DataLoader and network, on the same files.

    python benchmarks/throughput.py                                   # 2,000 JPEGs, resnet10t at 64 pixels
    python benchmarks/throughput.py --images 500 --repeats 3
    python benchmarks/throughput.py --model vit_tiny_patch16_224 --size 224 --workers 8

Makes the files itself. Both sides have the same network with the same random weights, the same preprocessing, batch
size and number of worker processes, and give the same embeddings; they take turns, after one turn each that does not
count. Medians; the ratio is the median of the ratios within a turn. Then, on a quarter of the images and at the size
that the network is made for: how long embed takes when nothing is there, after it was stopped halfway, with 1 % new
images, and with other neighbours. Prints Markdown tables.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from elfs.config import EmbedConfig
from elfs.data.sources.folder import FolderSource
from elfs.models.encoders import NetworkEncoder
from elfs.parallel.cpus import available_cpus
from elfs.parallel.runtime import Runtime, Silence
from elfs.pipeline.execution import execute
from elfs.stages.embedding import rows as embedding_rows
from elfs.stages.embedding.batches import encode_rows
from elfs.stages.embedding.passes import BatchEncoder

CLASSES = 10


def make_picture(path: Path, random: np.random.Generator) -> None:
    """Write a JPEG of about 400 x 300 pixels: a gradient, blobs and noise, so that it is as hard as a photograph."""
    width, height = int(random.integers(360, 440)), int(random.integers(270, 330))
    ramp: NDArray[np.float64] = np.add.outer(np.linspace(0, 80, height), np.linspace(0, 80, width))
    blobs = Image.fromarray(random.integers(0, 255, (height // 12, width // 12, 3), dtype=np.uint8))
    pixels = ramp[..., None] * random.random(3) + 0.6 * np.asarray(
        blobs.resize((width, height), Image.Resampling.BICUBIC)
    )
    pixels += random.normal(0, 6, (height, width, 1))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=88)


def make_pictures(root: Path, count: int, seed: int = 0) -> None:
    """Write pictures into class folders."""
    random = np.random.default_rng(seed)
    for number in range(count):
        folder = root / f"{number % CLASSES:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        make_picture(folder / f"{seed}-{number:06d}.jpg", random)


def plain(root: Path, network: torch.nn.Module, transform: object, batch_size: int, workers: int) -> np.ndarray:
    """Embed with torchvision and torch alone."""
    loader = DataLoader(ImageFolder(str(root), transform), batch_size=batch_size, num_workers=workers)
    with torch.inference_mode():
        return torch.cat([network(images).half() for images, _ in loader]).numpy()


def ours(root: Path, encoder: NetworkEncoder, batch_size: int, workers: int) -> np.ndarray:
    """Embed as the stage does, listing included."""
    source = FolderSource(root, EmbedConfig().max_pixels)
    table = source.list()
    batches = BatchEncoder(encoder, batch_size, torch.device("cpu"), print)
    rows = np.arange(len(table))
    (found,) = encode_rows(
        source.reader(table), rows, batches, ends=[len(rows)], num_workers=workers, advance=lambda _: None
    )
    return found.embeddings


def compare(root: Path, options: argparse.Namespace) -> None:
    """Let both take turns."""
    torch.manual_seed(0)
    network = timm.create_model(options.model, num_classes=0, **sized(options)).eval()
    preprocessing = timm.data.resolve_model_data_config(network) | {"input_size": (3, options.size, options.size)}
    transform = timm.data.create_transform(**preprocessing, is_training=False)
    encoder = NetworkEncoder(options.model, network, preprocessing)
    seconds: dict[str, list[float]] = {"ImageFolder and DataLoader": [], "elfs": []}
    for turn in range(options.repeats + 1):
        results = []
        for name, times in seconds.items():
            start = time.perf_counter()
            if name == "elfs":
                results.append(ours(root, encoder, options.batch_size, options.workers))
            else:
                results.append(plain(root, network, transform, options.batch_size, options.workers))
            if turn:
                times.append(time.perf_counter() - start)
        np.testing.assert_allclose(results[1], results[0], rtol=0, atol=2e-3 * np.abs(results[0]).max())
    first, second = seconds.values()
    ratios = [theirs / mine for theirs, mine in zip(first, second, strict=True)]
    print(f"\n| {options.model}, {options.size} pixels, {options.workers} workers | images/s | of the plain loop |")
    print("|---|---|---|")
    for name, times in seconds.items():
        share = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if name == "elfs" else "1"
        print(f"| {name} | {options.images / statistics.median(times):,.0f} | {share} |")


def sized(options: argparse.Namespace) -> dict[str, int]:
    """Return what a transformer needs to know of the size."""
    return {"img_size": options.size} if "vit" in options.model else {}


class Halfway(Silence):
    """Stops a run like Ctrl-C once half of the images are done."""

    def __init__(self, half: int) -> None:
        self.label, self.left = "", half

    @contextmanager
    def task(self, label: str, total: int, unit: str) -> Iterator["Halfway"]:
        """Note which work begins."""
        self.label = label
        yield self

    def advance(self, count: int = 1, note: str = "") -> None:
        """Stop at half."""
        self.left -= count if self.label == "embed" else 0
        if self.left <= 0:
            raise KeyboardInterrupt

    def resume(self, count: int, note: str = "") -> None:
        """Count what was there already."""
        self.advance(count, note)


def rerun(root: Path, place: Path, options: argparse.Namespace) -> None:
    """Time the stage itself: from nothing, resumed, with new images, with nothing to embed."""
    torch.manual_seed(0)
    save_file(timm.create_model(options.model).state_dict(), place / "weights.safetensors")
    count = options.images // 4
    make_pictures(root, count)
    embedding_rows.SHARD_ROWS = max(1, count // 10)
    lines = []

    def timed(name: str, workspace: Path, neighbors: int = 50, progress: Silence | None = None) -> None:
        config = EmbedConfig(
            source="folder", encoder=options.model, weights=str(place / "weights.safetensors"), neighbors=neighbors
        )
        runtime = Runtime(devices="cpu", num_workers=options.workers, progress=progress or Silence())
        start = time.perf_counter()
        try:
            execute("embed", workspace, config, runtime, source_root=root)
        except KeyboardInterrupt:
            return
        lines.append((name, time.perf_counter() - start))

    timed("from nothing", place / "first")
    timed("", place / "second", progress=Halfway(count // 2))
    timed("stopped halfway, run again", place / "second")
    make_pictures(root, max(1, count // 100), seed=1)
    timed("1 % new images", place / "first")
    timed("other --neighbors, no new image", place / "first", neighbors=20)
    print(f"\n| elfs embed, {options.model}, {count:,} images, 10 shards | seconds | of the first |\n|---|---|---|")
    for name, seconds in lines:
        print(f"| {name} | {seconds:.1f} | {seconds / lines[0][1]:.2f} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--model", default="resnet10t")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, default=available_cpus())
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        make_pictures(Path(name) / "pictures", options.images)
        compare(Path(name) / "pictures", options)
        rerun(Path(name) / "fewer", Path(name), options)


if __name__ == "__main__":
    main()
