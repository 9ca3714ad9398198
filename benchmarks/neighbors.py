"""How long the nearest neighbours take on the CPU, how much memory, and how that grows with the number of rows.

    python benchmarks/neighbors.py
    python benchmarks/neighbors.py --max-rows 200000
    python benchmarks/neighbors.py --rows 100000,200000 --ranks 2
    python benchmarks/neighbors.py --rows 1000000 --methods exact

Every line is a process of its own, or several with --ranks. The embeddings are made up: float16 rows in clusters, large
and small, tight and wide, in random order, in a file that is mapped into memory; the neighbours go into files too. Peak
memory is that of the largest process, whatever of the files is mapped included. Exact search compares all pairs: its
time grows as a power of the rows, which is fitted in the end and should be near 2.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as elfs sets it

import argparse
import itertools
import json
import math
import resource
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the parent process stays small: a child's peak memory starts from its parent's
    from elfs.ops.database import Database
    from elfs.parallel.ranks import Ranks

ROWS = (50_000, 100_000, 200_000, 400_000, 1_000_000)
METHODS = ("exact", "ivf")
NUM_CLUSTERS = 1000
CHUNK_ROWS = 50_000
RANKS_TIMEOUT_S = 600.0


def write_embeddings(path: Path, num_rows: int, num_dims: int) -> None:
    """Write clustered rows, float16."""
    import numpy as np

    random = np.random.default_rng(0)
    centres = random.standard_normal((NUM_CLUSTERS, num_dims), dtype=np.float32)
    shares = random.random(NUM_CLUSTERS) ** 2 + 0.05
    spreads = random.random(NUM_CLUSTERS, dtype=np.float32) * 1.5
    written = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(num_rows, num_dims))
    for start in range(0, num_rows, CHUNK_ROWS):
        block = written[start : start + CHUNK_ROWS]
        own = random.choice(NUM_CLUSTERS, len(block), p=shares / shares.sum())
        block[:] = centres[own] + spreads[own, None] * random.standard_normal(block.shape, dtype=np.float32) + 0.3
    written.flush()


def exact(database: "Database", ranks: "Ranks", out: tuple[Any, Any], k: int) -> dict[str, Any]:
    """Search in rounds, each rank its own run of queries."""
    import torch

    from elfs.ops.neighbors import exact_neighbors, queries_at_once

    first, last = ranks.part(len(database))
    num_rounds = -(-len(database) // (ranks.size * queries_at_once(database.num_dims, k)))
    bounds = [first + number * (last - first) // num_rounds for number in range(num_rounds + 1)]
    for start, stop in itertools.pairwise(bounds):
        out[0][start:stop], out[1][start:stop] = exact_neighbors(database, torch.arange(start, stop), k, ring=ranks)
    return {}


def ivf(database: "Database", ranks: "Ranks", out: tuple[Any, Any], k: int, folder: Path) -> dict[str, Any]:
    """Build and judge the index on the first rank, and search on all."""
    import faiss
    import torch

    from elfs.ops.inverted_lists import build_index, choose_probes, probed_neighbors

    found: dict[str, Any] = {}
    if ranks.is_first:
        begin = time.perf_counter()
        index = build_index(database, torch.Generator().manual_seed(0))
        faiss.write_index(index, str(folder / "index"))
        found["lists"], found["build"] = index.nlist, time.perf_counter() - begin
        del index
        index = faiss.read_index(str(folder / "index"), faiss.IO_FLAG_MMAP)
        found["probes"], found["recall"] = choose_probes(index, database, k, torch.Generator().manual_seed(1))
    found = ranks.broadcast(found)
    index = faiss.read_index(str(folder / "index"), faiss.IO_FLAG_MMAP)
    first, last = ranks.part(len(database))
    for start in range(first, last, CHUNK_ROWS):
        stop = min(start + CHUNK_ROWS, last)
        queries = torch.arange(start, stop)
        out[0][start:stop], out[1][start:stop] = probed_neighbors(index, database, queries, k, found["probes"])
    return found


def work(task: dict[str, Any]) -> None:
    """Write the embeddings, or run one search, as one of its ranks; the first prints what it took."""
    if task["method"] == "write":
        write_embeddings(Path(task["folder"]) / "embeddings.npy", task["rows"], task["dims"])
        print("{}")
        return
    import numpy as np
    import torch

    from elfs.ops.database import Database
    from elfs.parallel.meeting import join
    from elfs.parallel.place import Place
    from elfs.parallel.ranks import ALONE

    folder, size, rank, k = Path(task["folder"]), task["ranks"], task["rank"], task["neighbors"]
    ranks = ALONE
    if size > 1:
        place = Place(rank, size, rank, size, "127.0.0.1", task["port"])
        ranks = join(place, torch.device("cpu"), RANKS_TIMEOUT_S)
    embeddings = np.load(folder / "embeddings.npy", mmap_mode="r")
    if ranks.is_first:
        for name, dtype in (("indices", np.int32), ("similarity", np.float32)):
            np.lib.format.open_memmap(folder / name, mode="w+", dtype=dtype, shape=(len(embeddings), k))
    ranks.wait()
    out = np.load(folder / "indices", mmap_mode="r+"), np.load(folder / "similarity", mmap_mode="r+")
    begin = time.perf_counter()
    database = Database(embeddings, device="cpu", ring=ranks)
    found = exact(database, ranks, out, k) if task["method"] == "exact" else ivf(database, ranks, out, k, folder)
    ranks.wait()
    seconds = time.perf_counter() - begin
    peak = max(ranks.collect(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
    if ranks.is_first:
        print(json.dumps(found | {"seconds": seconds, "peak": peak / 1024}), flush=True)
    ranks.close()


def run(task: dict[str, Any], num_ranks: int) -> dict[str, Any]:
    """Start the processes of one task and return what the first one prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        task = task | {"ranks": num_ranks, "port": free.getsockname()[1]}
    command = [sys.executable, *(["-P"] if sys.flags.safe_path else []), __file__, "--task"]
    processes = [
        subprocess.Popen([*command, json.dumps(task | {"rank": rank})], stdout=subprocess.PIPE, text=True)
        for rank in range(num_ranks)
    ]
    printed = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"failed: {task}")
    return dict(json.loads(printed[0]))


def exponent(rows: list[int], seconds: list[float]) -> float:
    """Return the power of the rows with which the time grows: the slope of the line through the logarithms."""
    x, y = [math.log(number) for number in rows], [math.log(value) for value in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return covariance / sum((a - mean_x) ** 2 for a in x)


def main() -> None:
    """Print a line for each method and number of rows, and the exponent of exact search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: [int(part) for part in text.split(",")], default=list(ROWS))
    parser.add_argument("--max-rows", type=int, default=max(ROWS))
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS))
    parser.add_argument("--dims", type=int, default=128)
    parser.add_argument("--neighbors", type=int, default=50)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="Where the files go; else a temporary folder.")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task is not None:
        work(json.loads(options.task))
        return
    print(f"{options.dims} dimensions (float16), {options.neighbors} neighbours, {options.ranks} processes.\n")
    print(
        "| method | rows | seconds | rows a second | peak memory, MiB | recall | lists | probes | of them to build, s |"
    )
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    exact_rows, exact_seconds = [], []
    for num_rows in sorted(number for number in options.rows if number <= options.max_rows):
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            run({"method": "write", "folder": name, "rows": num_rows, "dims": options.dims}, 1)
            for method in options.methods:
                found = run({"method": method, "folder": name, "neighbors": options.neighbors}, options.ranks)
                seconds = found["seconds"]
                line = f"| {method} | {num_rows:,} | {seconds:.1f} | {num_rows / seconds:,.0f} | {found['peak']:,.0f} |"
                if method == "ivf":
                    line += (
                        f" {found['recall']:.3f} | {found['lists']:,} | {found['probes']:,} | {found['build']:.1f} |"
                    )
                else:
                    line += " 1 | - | - | - |"
                    exact_rows.append(num_rows)
                    exact_seconds.append(seconds)
                print(line, flush=True)
    if len(exact_rows) > 1:
        print(f"\nexact: seconds grow as rows ** {exponent(exact_rows, exact_seconds):.2f}")


if __name__ == "__main__":
    main()
