"""What `python -m benchmarks` measures: each piece of work of a stage, and beside it a peer or what bounds it.

A case makes its data and returns what is timed; both run in the same process, on one thread, and take turns.
"""

# A case imports what it uses itself, so that the peak memory of a line is its own.

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

__all__ = ["CASES", "Case", "Pair"]

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Pair:
    """Work of elfs, and what it is measured against.

    Attributes
    ----------
    ours : Callable
        Does the work once.
    peer : Callable or None
        Does the same otherwise, or what bounds it.
    """

    ours: Work
    peer: Work | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table.

    Attributes
    ----------
    stage, what : str
        For people.
    peer : str
        What the peer is; empty where there is none.
    make : Callable
        From a size and an empty folder to what is timed.
    quick : int
        The size of ``--quick``.
    sizes : tuple of int
        All others.
    """

    stage: str
    what: str
    peer: str
    make: Callable[[int, Path], Pair]
    quick: int
    sizes: tuple[int, ...]


def _neighbors(num_rows: int, folder: Path) -> Pair:
    import faiss
    import numpy as np

    from benchmarks.neighbors import write_embeddings
    from elfs.ops.neighbors import cosine_neighbors

    write_embeddings(folder / "rows.npy", num_rows, 768)
    rows = np.load(folder / "rows.npy", mmap_mode="r")
    unit = np.asarray(rows, dtype=np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    faiss.omp_set_num_threads(1)
    return Pair(
        lambda: cosine_neighbors(rows, 50, device="cpu"),
        lambda: faiss.knn(unit, unit, 51, metric=faiss.METRIC_INNER_PRODUCT),
    )


def _pictures(num_images: int, folder: Path) -> Pair:
    import timm
    from PIL import Image

    from benchmarks.throughput import make_pictures
    from elfs.config import EmbedConfig
    from elfs.data.sources.folder import FolderSource
    from elfs.models.encoders import NetworkEncoder

    make_pictures(folder / "pictures", num_images)
    source = FolderSource(folder / "pictures", EmbedConfig().max_pixels)
    table = source.list()
    reader = source.reader(table)
    network = timm.create_model("resnet10t", num_classes=0).eval()
    preprocessing = timm.data.resolve_model_data_config(network) | {"input_size": (3, 64, 64)}
    encoder = NetworkEncoder("resnet10t", network, preprocessing)
    transform = timm.data.create_transform(**preprocessing, is_training=False)
    rows = range(num_images)

    def plain() -> None:
        for path in sorted((folder / "pictures").rglob("*.jpg")):
            with Image.open(path) as image:
                transform(image.convert("RGB"))

    return Pair(lambda: [encoder.transform(reader.read(row)) for row in rows], plain)


def _heads(num_rows: int, folder: Path) -> Pair:
    import numpy as np
    import torch

    from benchmarks.scaling_costs import Setting, heads_flops
    from elfs.config import ClusterConfig
    from elfs.parallel.runtime import Silence
    from elfs.train.clustering import train_heads
    from elfs.train.features import Features
    from elfs.train.head_settings import settings_for

    setting, num_heads, batch_size = Setting(dims=384, clusters=100), 5, 512
    random = np.random.default_rng(0)
    features = Features(
        random.standard_normal((num_rows, 384), dtype=np.float32), np.arange(num_rows), torch.device("cpu")
    )
    neighbors = torch.from_numpy(random.integers(0, num_rows, (num_rows, 50)))
    config = ClusterConfig(
        heads=num_heads,
        hidden=setting.hidden,
        bottleneck=setting.bottleneck,
        epochs=1,
        warmup_epochs=0,
        batch_size=batch_size,
        learning_rate=1e-4,
    )
    settings = settings_for(config, num_rows, setting.clusters, on_cpu=True)
    first, second = torch.randn(2048, 2048), torch.randn(2048, 2048)
    # Two views of every image: once through the teacher, three times as much through the student and back.
    num_products = round(8 * num_rows * num_heads * heads_flops(setting) / (2 * 2048**3))

    def ours() -> None:
        (folder / "checkpoint").unlink(missing_ok=True)
        train_heads(features, neighbors, settings, checkpoint=folder / "checkpoint", task=Silence())

    return Pair(ours, lambda: [first @ second for _ in range(num_products)])


def _network(name: str, num_images: int, folder: Path) -> Pair:
    import torch
    from torch.nn.functional import cross_entropy

    from elfs.data.training_images import CachedImages
    from elfs.models.networks import build_network
    from elfs.parallel.runtime import Silence
    from elfs.train.classifier import record_dynamics
    from elfs.train.fit import Fit
    from elfs.train.recipes import RECIPES

    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (num_images, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (num_images,), generator=generator)
    images = CachedImages(pixels, torch.full((3,), 0.5), torch.full((3,), 0.25), mirror=True, padding=4)
    recipe = replace(RECIPES["small"], network=name, batch_size=64)
    shape: dict[str, Any] = {"num_classes": 10, "image_size": 32, "dim": None, "seed": 0}
    plain = build_network(name, **shape).to(memory_format=torch.contiguous_format)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    inputs = (pixels.float() / 255 - 0.5) / 0.25

    def ours() -> None:
        (folder / "checkpoint").unlink(missing_ok=True)
        fit = Fit(build_network(name, **shape), images, labels, recipe, 0, torch.device("cpu"))
        record_dynamics(fit, 1, folder / "checkpoint", lambda *_: None, Silence())

    def theirs() -> None:
        plain.train()
        for batch, classes in zip(inputs.split(64), labels.split(64), strict=True):
            loss = cross_entropy(plain(batch), classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return Pair(ours, theirs)


def _kmeans(num_rows: int, folder: Path) -> Pair:
    import numpy as np
    import torch
    from sklearn.cluster import KMeans

    from benchmarks.neighbors import write_embeddings
    from elfs.ops.kmeans import kmeans

    write_embeddings(folder / "rows.npy", num_rows, 64)
    rows = np.load(folder / "rows.npy").astype(np.float32)
    tensor = torch.from_numpy(rows)
    return Pair(
        lambda: kmeans(tensor, 20, seed=0, restarts=5),
        lambda: KMeans(20, init="random", n_init=5, max_iter=100, random_state=0).fit(rows),
    )


def _consensus(num_rows: int, folder: Path) -> Pair:
    import torch

    from elfs.train.head_consensus import HeadConsensus

    del folder
    generator = torch.Generator().manual_seed(0)
    said = [torch.randn(num_rows, 100, generator=generator).log_softmax(dim=1) for _ in range(8)]
    names = torch.stack([torch.randperm(100, generator=generator) for _ in said])
    consensus = HeadConsensus(names, torch.full((8,), 1 / 8))
    return Pair(lambda: consensus(said), lambda: [own.exp() for own in said])


def _scores(num_samples: int, folder: Path) -> Pair:
    import torch

    from elfs.ops.scores import compute_scores
    from elfs.ops.traces import TRACES

    del folder
    generator = torch.Generator().manual_seed(0)
    traces = {name: torch.rand(30, num_samples, generator=generator).half() for name in TRACES}
    traces["correct"] = (traces["margin"] > 0.2).to(torch.uint8)
    return Pair(
        lambda: compute_scores(traces, 10),
        lambda: [trace.sum(dim=0, dtype=torch.float32) for trace in traces.values()],
    )


def _selection(method: str, num_rows: int, folder: Path) -> Pair:
    import numpy as np

    import elfs
    from benchmarks.neighbors import write_embeddings

    write_embeddings(folder / "rows.npy", num_rows, 128)
    rows = np.load(folder / "rows.npy", mmap_mode="r")
    hardness = np.random.default_rng(0).random(num_rows)
    return Pair(lambda: elfs.select(rows, 0.1, method=method, hardness=hardness))


def _command(arguments: list[str], folder: Path) -> Pair:
    def run(*command: str) -> None:
        subprocess.run([sys.executable, *command], cwd=folder, check=True, capture_output=True)

    return Pair(lambda: run("-m", "elfs", *arguments), lambda: run("-c", "import typer"))


CASES: dict[str, Case] = {
    "pictures": Case(
        "embed", "JPEGs of 400x300 prepared at 64 pixels", "torchvision's transforms", _pictures, 100, (1000,)
    ),
    "neighbors": Case("embed", "50 neighbours, 768 dims", "FAISS flat", _neighbors, 5000, (10_000, 20_000, 50_000)),
    "heads": Case("cluster", "5 TEMI heads, an epoch, 384 dims", "products of 2048 alone", _heads, 1024, (8192,)),
    "kmeans": Case("cluster", "k-means, 20 of 64 dims, 5 starts", "scikit-learn", _kmeans, 5000, (50_000,)),
    "resnet8": Case("dynamics", "resnet8, an epoch, 32x32", "plain loop", partial(_network, "resnet8"), 512, (4096,)),
    "resnet18": Case(
        "dynamics", "resnet18, an epoch, 32x32", "plain loop", partial(_network, "resnet18"), 128, (1024,)
    ),
    "consensus": Case(
        "label", "8 heads put together, 100 clusters", "exponentials alone", _consensus, 20_000, (100_000,)
    ),
    "scores": Case("score", "all of 30 epochs", "a sum of each trace", _scores, 100_000, (1_000_000,)),
    "auto": Case("select", "auto, 10 %, 128 dims", "", partial(_selection, "auto"), 10_000, (100_000,)),
    "facility-location": Case(
        "select", "facility-location, 10 %, 128 dims", "", partial(_selection, "facility-location"), 10_000, (100_000,)
    ),
    "help": Case("start", "elfs --help", "import typer", lambda _, folder: _command(["--help"], folder), 1, ()),
    "status": Case("start", "elfs status", "import typer", lambda _, folder: _command(["status"], folder), 1, ()),
}
"""Every line, by its name."""
