"""Unit costs of every stage, and what follows from them for many images and many devices.

    python -m benchmarks.scaling                 # the tables of docs/scaling.md, from benchmarks/scaling.json
    python -m benchmarks.scaling --write         # put them into docs/scaling.md
    python -m benchmarks.scaling --measure       # measure on this machine and write benchmarks/scaling.json; 20 minutes
    python -m benchmarks.scaling --measure decode,storage      # some of it again
    python -m benchmarks.scaling --ranks         # one process against two, and what the model says about it

Run it from a checkout. One thread; medians of CPU seconds where one process computes, since the machine may have other
work; else wall clock, the fastest of several. Stages are measured as ``elfs`` runs them, on made-up embeddings of two
sizes: the difference of their times over the difference of their sizes is the cost of a sample. Files are JPEGs of
about 400 x 300 pixels. Networks have random weights.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.scaling_costs import Setting, head_values, heads_flops
from benchmarks.scaling_tables import DOCUMENT, MEASURED, render, tables
from benchmarks.throughput import make_pictures
from elfs.config import CONFIGS, EmbedConfig, from_json
from elfs.data.crops import RandomCrop
from elfs.data.sources.folder import FolderSource
from elfs.models.encoders import NetworkEncoder, build_encoder
from elfs.models.networks import build_network
from elfs.ops.database import Database
from elfs.ops.inverted_lists import build_index, probed_neighbors
from elfs.parallel.meeting import join
from elfs.parallel.place import Place
from elfs.parallel.ranks import Ranks
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.workspace.files import sha256_file
from elfs.workspace.tensors import RowArray, load_tensors, save_tensors

ROWS = (10_240, 20_480)
MANY_ROWS = (81_920, 163_840)
HEADS = 2
CLUSTERS = 100
METHODS: dict[str, dict[str, Any]] = {
    "elfs": {},
    "elfs, `--dedup off --hard-rate 0.3`": {"dedup": "off", "hard_rate": "0.3"},
    "random": {"method": "random"},
    "ccs": {"method": "ccs"},
    "dual-beta": {"method": "dual-beta"},
    "d2": {"method": "d2"},
    "moderate": {"method": "moderate"},
    "prototypicality": {"method": "prototypicality"},
    "typiclust": {"method": "typiclust"},
    "facility-location": {"method": "facility-location"},
    "auto": {"method": "auto"},
}


def median_s(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the median CPU seconds of some calls, after one that does not count."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


def best_s(work: Callable[[], object], repeats: int = 9) -> float:
    """Return the wall-clock seconds of the fastest call, which other work on the machine has disturbed least."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure_decode(place: Path) -> dict[str, float]:
    """Return what an image costs until a network can take it, and in the built-in encoder and a transformer."""
    import timm

    count = 200
    make_pictures(place / "pictures", count)
    source = FolderSource(place / "pictures", EmbedConfig().max_pixels)
    table = source.list()
    reader = source.reader(table)
    network = timm.create_model("vit_base_patch16_224", num_classes=0).eval()
    encoder = NetworkEncoder("vit_base_patch16_224", network, timm.data.resolve_model_data_config(network))
    crop = RandomCrop(224, mirror=True)
    images = torch.stack([encoder.transform(reader.read(row)) for row in range(8)])
    patches = build_encoder("patches", weights=None, image_size=32, channels=3)
    small = torch.stack([patches.fit_transform(reader.read(row)) for row in range(count)])
    patches.fit(small.repeat(10, 1, 1, 1), torch.Generator().manual_seed(0))
    return {
        "jpeg_bytes": float(np.mean(table.num_bytes)),
        "decode_s": median_s(lambda: [encoder.transform(reader.read(row)) for row in range(count)], 3) / count,
        "augment_s": median_s(lambda: [crop(reader.read(row), row) for row in range(count)], 3) / count,
        "patches_s": median_s(lambda: patches.encode(small), 3) / count,
        "vit_s": median_s(lambda: encode(encoder, images), 3) / len(images),
    }


@torch.inference_mode()
def encode(encoder: NetworkEncoder, images: torch.Tensor) -> torch.Tensor:
    """Return embeddings."""
    return encoder.encode(images)


def measure_networks(place: Path) -> dict[str, float]:
    """Return the rate of matrix products, and what an image costs in a training step of the proxies."""
    matrix = torch.randn(2048, 2048)
    found = {"matmul_flops": 2 * 2048**3 / median_s(lambda: matrix @ matrix)}
    for name, size, classes, batch in (("resnet34", 224, 1000, 8), ("resnet18", 32, 10, 64), ("resnet8", 32, 10, 64)):
        network = build_network(name, num_classes=classes, image_size=size, dim=None, seed=0)
        images = torch.randn(batch, 3, size, size)

        def step(network: torch.nn.Module = network, images: torch.Tensor = images) -> None:
            network(images).logsumexp(dim=1).mean().backward()

        found[f"{name}_s"] = median_s(step, 3) / batch
    return found


def run_stage(stage: str, workspace: Path, **options: Any) -> float:
    """Return the CPU seconds that a stage of elfs takes."""
    runtime = Runtime(devices="cpu", num_workers=0)
    start = time.process_time()
    execute(stage, workspace, from_json(CONFIGS[stage], options), runtime, force=True)
    return time.process_time() - start


def made_up(place: Path, count: int) -> str:
    """Write embeddings in clusters and return the file's name."""
    random, dims = np.random.default_rng(0), Setting().dims
    centres = random.normal(0, 1, (CLUSTERS, dims)).astype(np.float32)
    own = centres[np.arange(count) % CLUSTERS] + random.standard_normal((count, dims), dtype=np.float32)
    path = place / f"{count}.npy"
    np.save(path, own.astype(np.float16))
    return str(path)


def measure_training(place: Path) -> dict[str, float]:
    """Return what the exact search, the heads and the proxy on embeddings take."""
    setting, own, workspace = Setting(), {"source": "embeddings", "neighbor_search": "exact"}, place / "workspace"
    few, many = (run_stage("embed", workspace, **own, embeddings=made_up(place, count)) for count in ROWS)
    heads = {"clusters": setting.clusters, "heads": HEADS}
    one, three = (run_stage("cluster", workspace, **heads, epochs=epochs) for epochs in (1, 3))
    run_stage("label", workspace)
    short, long = (
        run_stage("dynamics", workspace, network="mlp", recipe="imagenet", epochs=epochs) for epochs in (2, 12)
    )
    head_s = (three - one) / (2 * ROWS[1] * HEADS)
    return {
        "search_flops": 2 * setting.dims * (ROWS[1] ** 2 - ROWS[0] ** 2) / (many - few),
        "head_s": head_s,
        "head_flops": 8 * heads_flops(setting) / head_s,
        "mlp_s": (long - short) / (10 * ROWS[1]),
    }


def measure_stages(place: Path) -> dict[str, Any]:
    """Return what a sample costs in label, score and select, where k-means sees a sample of 65,536 alone."""
    seconds: list[dict[str, float]] = []
    for count in MANY_ROWS:
        workspace = place / str(count)
        own = made_up(place, count)
        run_stage("embed", workspace, source="embeddings", embeddings=own, neighbor_search="ivf")
        run_stage("cluster", workspace, clusters=CLUSTERS, heads=1, epochs=1)
        found = {"label": statistics.median(run_stage("label", workspace) for _ in range(3))}
        run_stage("dynamics", workspace, network="mlp", recipe="imagenet", epochs=10)
        found["score"] = statistics.median(run_stage("score", workspace) for _ in range(3))
        for name, options in METHODS.items():
            found[name] = statistics.median(run_stage("select", workspace, **options) for _ in range(3))
            print(count, name, found[name], file=sys.stderr, flush=True)
        seconds.append(found)
    first, second = seconds
    each = {name: (second[name] - first[name]) / (MANY_ROWS[1] - MANY_ROWS[0]) for name in first}
    origin = f"{MANY_ROWS[1]:,} rows less {MANY_ROWS[0]:,}"
    return {"label_s": each.pop("label"), "score_s": each.pop("score"), "select_s": each, "stages_from": origin}


def measure_storage(place: Path) -> dict[str, float]:
    """Return how fast files are written with fsync, read again (from the page cache, mostly), and hashed."""
    values = np.random.default_rng(0).integers(0, 255, 1 << 28, dtype=np.uint8)
    path = place / "values.safetensors"
    return {
        "write_rate": len(values) / best_s(lambda: save_tensors(path, {"values": values})),
        "read_rate": len(values) / median_s(lambda: np.array(load_tensors(path)["values"])),
        "hash_rate": len(values) / median_s(lambda: sha256_file(path)),
    }


def measure_rows(place: Path) -> dict[str, float]:
    """Return how fast single rows are picked out of many files, and how fast inverted lists are looked through."""
    dims, per_file = Setting().dims, 256
    rows = RowArray([np.zeros((per_file, dims), np.float16) for _ in range(2000)])
    wanted = np.random.default_rng(0).integers(0, len(rows), 2048)
    count, lists, probes = 40_960, 640, 32
    generator = torch.Generator().manual_seed(0)
    database = Database(torch.randn(count, dims, generator=generator), device="cpu")
    index = build_index(database, generator, num_lists=lists)
    queries = torch.arange(1024)
    scan_s = median_s(lambda: probed_neighbors(index, database, queries, 50, probes), 3)
    return {
        "take_rate": len(wanted) / median_s(lambda: rows.take(wanted)),
        "scan_flops": len(queries) * 2 * dims * (lists + probes * count / lists) / scan_s,
    }


def talk(ranks: Ranks) -> dict[str, float]:
    """Return how fast two ranks on this host talk, over gloo."""
    large, small = torch.ones(1 << 24), torch.ones(1)
    return {
        "all_reduce_rate": large.nbytes / best_s(lambda: ranks.sum_(large)),
        "message_s": best_s(lambda: ranks.sum_(small), 51),
        "rotate_rate": large.nbytes / best_s(lambda: ranks.rotate(large)),
    }


def talking_rank(rank: int, port: int, target: str) -> None:
    """Be one of two ranks; the first writes what it has measured."""
    ranks = join(Place(rank, 2, rank, 2, "127.0.0.1", port), torch.device("cpu"), 60)
    found = talk(ranks)
    ranks.close()
    if rank == 0:
        Path(target).write_text(json.dumps(found), encoding="utf-8")


def children_s(work: Callable[[], object], repeats: int = 3) -> float:
    """Return the median CPU seconds of the processes that a call starts and waits for."""
    seconds = []
    for _ in range(repeats):
        before = os.times()
        work()
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    return statistics.median(seconds)


def measure_ranks(place: Path) -> dict[str, float]:
    """Return how two ranks talk, and how long they take to start and meet."""
    target = place / "talk.json"
    code = "import sys; from benchmarks.scaling import talking_rank; talking_rank(int(sys.argv[1]), 29417, sys.argv[2])"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(rank), str(target)]) for rank in range(2)]
    if any(process.wait() for process in processes):
        raise SystemExit("the ranks did not meet")
    alone = "import torch, elfs.stages.cluster, elfs.stages.embed, elfs.stages.dynamics, timm"
    start_s = children_s(lambda: subprocess.run([sys.executable, "-c", alone], check=True))
    found: dict[str, float] = json.loads(target.read_text(encoding="utf-8"))
    return found | {"start_s": start_s}


MEASURES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "decode": measure_decode,
    "networks": measure_networks,
    "training": measure_training,
    "stages": measure_stages,
    "storage": measure_storage,
    "rows": measure_rows,
    "ranks": measure_ranks,
}


def measure(names: list[str]) -> None:
    """Measure and keep the results; what is not measured again stays."""
    torch.set_num_threads(1)
    found: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8")) if MEASURED.exists() else {}
    # embedding lists 2,000,000 files in 8 s: benchmarks/listing.py
    found |= {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "torch": torch.__version__, "list_s": 4e-6}
    for name in names:
        with tempfile.TemporaryDirectory() as place:
            found |= MEASURES[name](Path(place))
        print(f"{name} done", file=sys.stderr, flush=True)
    MEASURED.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def timed_command(arguments: list[str]) -> float:
    """Return how long a command of elfs takes, in seconds."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "elfs", *arguments, "--quiet"], check=True, env=environment)
    return time.perf_counter() - start


@dataclass(frozen=True, slots=True)
class Trial:
    """A command that is run by one process and by two.

    Attributes
    ----------
    label : str
        For people.
    arguments : list of str
        Of elfs.
    moved : float
        Bytes that a rank of two sends.
    is_forced : bool
        Whether it runs although everything is there.
    """

    label: str
    arguments: list[str]
    moved: float = 0.0
    is_forced: bool = True


def trials(place: Path, num_images: int, num_rows: int) -> list[Trial]:
    """Return the commands, in an order in which they can run; the first does nothing but start and meet."""
    setting = Setting(dims=256, clusters=100, heads=4, cluster_batch=1024, cluster_epochs=4, epochs=10, batch=4096)
    make_pictures(place / "pictures", num_images)
    own = np.random.default_rng(0).normal(0, 1, (num_rows, setting.dims)).astype(np.float16)
    np.save(place / "own.npy", own)
    save_random_weights("resnet26t", place / "weights.safetensors")
    heads_moved = setting.cluster_epochs * num_rows / 1024 * 4 * setting.heads * head_values(setting)
    embedding = ["embed", "--embeddings", str(place / "own.npy")]
    network = ["--encoder", "resnet26t", "--weights", str(place / "weights.safetensors")]
    training = ["--recipe", "imagenet", "--epochs", "10", "--batch-size", "4096", "--learning-rate", "0.1"]
    return [
        Trial("start, and find nothing to do", embedding, is_forced=False),
        Trial("embed, images, resnet26t", ["embed", str(place / "pictures"), *network]),
        Trial("embed, own embeddings: exact neighbours", embedding, 2 * num_rows * setting.dims),
        Trial(
            "cluster, 4 heads, 4 epochs", ["cluster", "--clusters", "100", "--heads", "4", "--epochs", "4"], heads_moved
        ),
        Trial("label", ["label"]),
        Trial(
            "dynamics, `mlp`, 10 epochs, batch 4,096",
            ["dynamics", *training],
            10 * num_rows / 4096 * 4 * setting.mlp_values,
        ),
    ]


def compare_ranks(num_images: int, num_rows: int, repeats: int) -> None:
    """Run stages with one process and with two, in turns, and keep both times."""
    found: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8"))
    found["ranks"] = []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        shared = ["--workers", "0", "--workspace", str(place / "workspace")]
        plan = trials(place, num_images, num_rows)
        timed_command([*plan[0].arguments, *shared, "--devices", "cpu:1"])
        for trial in plan:
            arguments = [*trial.arguments, *shared, *(["--force"] if trial.is_forced else [])]
            times: dict[str, list[float]] = {"cpu:1": [], "cpu:2": []}
            for _ in range(repeats):
                for devices, seconds in times.items():
                    seconds.append(timed_command([*arguments, "--devices", devices]))
            one, two = (statistics.median(seconds) for seconds in times.values())
            speedup = statistics.median(first / second for first, second in zip(*times.values(), strict=True))
            facts = {"label": trial.label, "one_s": one, "two_s": two, "speedup": speedup, "moved": trial.moved}
            found["ranks"].append(facts)
            print(facts, file=sys.stderr, flush=True)
    MEASURED.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def save_random_weights(name: str, path: Path) -> None:
    """Write the state of a timm model with random weights."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model(name).state_dict(), path)


def main() -> None:
    """Measure, simulate, print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="?", const=",".join(MEASURES), help=f"some of {','.join(MEASURES)}")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/scaling.md")
    parser.add_argument("--ranks", action="store_true", help="one process against two")
    parser.add_argument("--images", type=int, default=120, help="images of --ranks")
    parser.add_argument("--rows", type=int, default=16_384, help="own embeddings of --ranks")
    parser.add_argument("--repeats", type=int, default=3, help="turns of --ranks")
    options = parser.parse_args()
    if options.measure:
        measure(options.measure.split(","))
    elif options.ranks:
        compare_ranks(options.images, options.rows, options.repeats)
    elif options.write:
        DOCUMENT.write_text(render(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print("\n\n".join(f"{name}\n\n{table}" for name, table in tables().items()))


if __name__ == "__main__":
    main()
