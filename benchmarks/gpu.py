"""How fast the loops are on a GPU, beside what bounds them, measured in the same run.

    python -m benchmarks.gpu                            # all lines, about 5 minutes on one H200
    python -m benchmarks.gpu neighbors heads            # some
    python -m benchmarks.gpu heads --profile FOLDER     # and where the time of each goes, by torch's profiler

Wall seconds, the work before is waited for. A line is work of the size that is said, of which an equal part is timed
after a first one that does not count, and multiplied; medians and the least and largest of the turns. Embeddings,
images and labels are made up: times do not depend on what they show.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.scaling_costs import Setting, heads_flops
from elfs.config import ClusterConfig
from elfs.data.training_images import CachedImages
from elfs.models.encoders import NetworkEncoder
from elfs.models.networks import build_network
from elfs.ops.neighbors import cosine_neighbors
from elfs.parallel.runtime import Silence
from elfs.train.classifier import record_dynamics
from elfs.train.clustering import train_heads
from elfs.train.features import Features
from elfs.train.fit import Fit
from elfs.train.head_settings import settings_for
from elfs.train.recipes import RECIPES

DEVICE = torch.device("cuda")
BATCH = 256


class Line:
    """One line of the table: work, how much of it a turn does, and what bounds it."""

    def __init__(self, work: str, turn: Callable[[], object], whole: float, bound: str, bound_seconds: float) -> None:
        self.work, self.turn, self.whole, self.bound, self.bound_seconds = work, turn, whole, bound, bound_seconds


def seconds(work: Callable[[], object]) -> float:
    """Return the wall seconds of a call, until the GPU is done."""
    torch.cuda.synchronize()
    begin = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def product_rate(dtype: torch.dtype) -> float:
    """Return the operations a second of one large product."""
    size = 8192
    first, second = (torch.randn(size, size, device=DEVICE).to(dtype) for _ in range(2))
    torch.mm(first, second)
    return 2 * size**3 * 5 / seconds(lambda: [torch.mm(first, second) for _ in range(5)])


def neighbors(num_rows: int) -> Line:
    """Return the nearest neighbours of all rows of a pool in clusters."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    centres = torch.randn(1000, 768, generator=generator, device=DEVICE)
    rows = torch.empty(num_rows, 768, dtype=torch.float16)
    for start in range(0, num_rows, 65_536):
        block = rows[start : start + 65_536]
        own = torch.randint(0, 1000, (len(block),), generator=generator, device=DEVICE)
        noise = torch.randn(len(block), 768, generator=generator, device=DEVICE)
        block.copy_(centres[own] + torch.rand(len(block), 1, generator=generator, device=DEVICE) * 1.5 * noise)
    bound = num_rows**2 * 768 * 2 / product_rate(torch.bfloat16)
    array = rows.numpy()
    return Line(
        f"50 neighbours of {num_rows:,} x 768",
        lambda: cosine_neighbors(array, 50, device=DEVICE),
        1,
        "all pairs in bf16",
        bound,
    )


def heads(num_epochs: int) -> Line:
    """Return the training of 50 TEMI heads on 50,000 x 768, in batches of 1,024."""
    setting, num_rows, whole = Setting(dims=768, clusters=10), 50_000, 200
    random = np.random.default_rng(0)
    rows = random.standard_normal((num_rows, 768), dtype=np.float32)
    near = torch.from_numpy(random.integers(0, num_rows, (num_rows, 50)))
    features = Features(rows, np.arange(num_rows), DEVICE)
    config = ClusterConfig(heads=50, epochs=num_epochs, warmup_epochs=0)
    settings = settings_for(config, num_rows, setting.clusters, on_cpu=False)

    def turn() -> None:
        with tempfile.TemporaryDirectory() as folder:
            train_heads(features, near, settings, checkpoint=Path(folder) / "checkpoint", task=Silence())

    products = 8 * num_rows * whole * 50 * heads_flops(setting)
    work = f"50 heads, 50,000 x 768, {whole} epochs"
    return Line(work, turn, whole / num_epochs, "their products in bf16", products / product_rate(torch.bfloat16))


def proxy(name: str, num_epochs: int) -> Line:
    """Return the recorded training of a network on 50,000 images of 32x32."""
    num_images, whole = 50_000, 200
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (num_images, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (num_images,), generator=generator)
    images = CachedImages(pixels.to(DEVICE), torch.full((3,), 0.5), torch.full((3,), 0.25), mirror=True, padding=4)
    recipe = replace(RECIPES["cifar"], network=name)
    shape: dict[str, Any] = {"num_classes": 10, "image_size": 32, "dim": None, "seed": 0}

    def turn() -> None:
        with tempfile.TemporaryDirectory() as folder:
            fit = Fit(build_network(name, **shape).to(DEVICE), images, labels, recipe, 0, DEVICE)
            record_dynamics(fit, num_epochs, Path(folder) / "checkpoint", lambda *_: None, Silence())

    plain = build_network(name, **shape).to(memory_format=torch.channels_last).to(DEVICE)
    batch = torch.randn(BATCH, 3, 32, 32, device=DEVICE).to(memory_format=torch.channels_last)

    def passes() -> None:
        for _ in range(20):
            with torch.autocast("cuda", dtype=torch.bfloat16):
                plain(batch).sum().backward()

    passes()
    bound = seconds(passes) / 20 * (num_images / BATCH) * whole
    return Line(f"{name}, 50,000 x 32x32, {whole} epochs", turn, whole / num_epochs, "its passes alone", bound)


def encoder(num_images: int) -> Line:
    """Return a ViT-B/16 on images that are decoded already, in batches of 256."""
    import timm

    network = timm.create_model("vit_base_patch16_224", num_classes=0)
    made = NetworkEncoder("vit", network, timm.data.resolve_model_data_config(network)).to(DEVICE)
    images = torch.randint(0, 256, (BATCH, 3, 224, 224), dtype=torch.uint8).pin_memory()
    whole = 50_000 / num_images
    num_batches = num_images // BATCH
    bound = 35.1e9 * 50_000 / product_rate(torch.bfloat16)

    def turn() -> None:
        with torch.inference_mode():
            for _ in range(num_batches):
                made.encode(images)

    return Line("ViT-B/16, 50,000 decoded images", turn, whole, "its products in bf16", bound)


LINES: dict[str, Callable[[], list[Line]]] = {
    "neighbors": lambda: [neighbors(num_rows) for num_rows in (20_000, 50_000, 200_000)],
    "many-neighbors": lambda: [neighbors(1_281_167)],
    "heads": lambda: [heads(20)],
    "resnet18": lambda: [proxy("resnet18", 8)],
    "resnet8": lambda: [proxy("resnet8", 8)],
    "encoder": lambda: [encoder(5_120)],
}


def measured(line: Line, turns: int) -> str:
    """Return a row of the table."""
    torch.cuda.reset_peak_memory_stats()
    line.turn()
    took = [line.whole * seconds(line.turn) for _ in range(turns)]
    median, peak = statistics.median(took), torch.cuda.max_memory_allocated() / 2**30
    spread = f"{median:.3g} ({min(took):.3g} to {max(took):.3g})"
    bound = f"{line.bound} {line.bound_seconds:.2g}"
    return f"| {line.work} | {spread} | {bound} | {line.bound_seconds / median:.2f} | {peak:.1f} |"


def write_profile(line: Line, path: Path) -> None:
    """Write where the time of a turn goes."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        line.turn()
        torch.cuda.synchronize()
    averages: Any = found.key_averages()
    tables = [averages.table(sort_by=f"self_{kind}_time_total", row_limit=25) for kind in ("cuda", "cpu")]
    path.write_text("\n".join(tables), encoding="utf-8")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"lines to measure, of {', '.join(LINES)}; none: all")
    parser.add_argument("--turns", type=int, default=3, help="how often each is measured")
    parser.add_argument("--profile", type=Path, metavar="FOLDER", help="write where the time goes")
    options = parser.parse_args()
    name = torch.cuda.get_device_name()
    print(
        f"{name}, torch {torch.__version__}; bf16 product {product_rate(torch.bfloat16) / 1e12:.0f} TFLOP/s, ", end=""
    )
    print(f"float32 {product_rate(torch.float32) / 1e12:.0f}\n")
    print("| work | seconds | bound by, s | of the bound | GPU memory, GiB |\n|---|---|---|---|---|")
    for key in options.names or LINES:
        for number, line in enumerate(LINES[key]()):
            print(measured(line, options.turns), flush=True)
            if options.profile:
                write_profile(line, options.profile / f"{key}-{number}.txt")


if __name__ == "__main__":
    main()
