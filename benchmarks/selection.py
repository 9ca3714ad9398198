"""How long every selector takes, and how much memory; and how near facility location comes on large pools.

    python benchmarks/selection.py
    python benchmarks/selection.py --rows 10000,100000 --methods k-center,herding --dims 384
    python benchmarks/selection.py --coverage

Every line is a process of its own. The pool is made up: embeddings in clusters; neighbours near in row order, hence of
the same cluster mostly, with falling cosines; scores, features and errors at random. It holds what the catalog says
that the method reads, and the rows come in random order, so that the time to sort them is included. Peak memory is that
of the process beyond what it held with the pool made: memory of the pool itself stands in a column of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from elfs.catalog import SELECTORS

if TYPE_CHECKING:  # the parent process stays small: a child's peak memory starts from its parent's
    from torch import Generator, Tensor

    from elfs.ops.selection import Pool

BUDGET_SHARE = 0.1
NUM_CLUSTERS = 1000
NUM_NEIGHBORS = 50
NUM_FEATURES = 64
NUM_CLASSES = 10
PAIRWISE_ROWS = 20_000
BLOCK_ROWS = 16_384
CHUNK_ROWS = 50_000


def num_blocks(method: str, num_rows: int) -> int:
    """Return the --blocks that a person would choose: one for each 16,384 rows where the method compares pairs."""
    return -(-num_rows // BLOCK_ROWS) if SELECTORS[method].pairwise and num_rows > PAIRWISE_ROWS else 1


def make_embeddings(num_rows: int, num_dims: int, num_clusters: int, generator: "Generator") -> "Tensor":
    """Return clustered rows, float16; each cluster is one run of rows, large and small ones, tight and wide ones."""
    import torch

    centres = torch.randn(num_clusters, num_dims, generator=generator)
    sizes = torch.rand(num_clusters, generator=generator).square() + 0.05
    ends = sizes.cumsum(dim=0) / sizes.sum() * num_rows
    embeddings = torch.empty(num_rows, num_dims, dtype=torch.float16)
    for start in range(0, num_rows, CHUNK_ROWS):
        rows = torch.arange(start, min(start + CHUNK_ROWS, num_rows))
        spread = 1.5 * torch.rand(len(rows), 1, generator=generator)
        own = centres[torch.searchsorted(ends, rows.float(), right=True).clamp_max(num_clusters - 1)]
        embeddings[rows] = (own + spread * torch.randn(own.shape, generator=generator) + 0.3).half()
    return embeddings


def make_pool(method: str, num_rows: int, num_dims: int) -> "Pool":
    """Return a pool with what the method reads."""
    import torch

    from elfs.ops.selection import Pool

    generator = torch.Generator().manual_seed(0)
    entry, fields = SELECTORS[method], {}
    if "embeddings" in entry.reads:
        fields["embeddings"] = make_embeddings(num_rows, num_dims, NUM_CLUSTERS, generator)
    if "pseudo_labels" in entry.reads:
        fields["pseudo_labels"] = torch.arange(num_rows) * NUM_CLASSES // num_rows
    if "neighbors" in entry.reads:
        near = torch.arange(num_rows, dtype=torch.int32).unsqueeze(1)
        steps = torch.randperm(201, generator=generator)[:NUM_NEIGHBORS].int() - 100
        fields["neighbors"] = (near + torch.where(steps == 0, 101, steps)) % num_rows
        fields["similarity"] = torch.linspace(0.95, 0.5, NUM_NEIGHBORS).half().repeat(num_rows, 1)
    if "proxy" in entry.reads:
        fields["features"] = torch.randn(num_rows, NUM_FEATURES, generator=generator).relu().half()
        errors = torch.randn(num_rows, NUM_CLASSES, generator=generator).softmax(dim=1)
        errors[torch.arange(num_rows), errors.argmax(dim=1)] -= 1
        fields["errors"] = errors.half()
    if entry.keyed:
        fields["hardness"] = torch.randn(num_rows, generator=generator)
    scores = {key: torch.rand(num_rows, generator=generator) for key in entry.scores}
    return Pool(tie_breaker=torch.randperm(num_rows, generator=generator), scores=scores, **fields)


def peak_mib() -> float:
    """Return the peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(method: str, num_rows: int, num_dims: int) -> None:
    """Select once in this process and print what it took, as JSON."""
    import torch

    from elfs.ops.selection import SelectorOptions, select

    pool = make_pool(method, num_rows, num_dims)
    budget = round(BUDGET_SHARE * num_rows)
    before_mib, started, cpu_started = peak_mib(), time.perf_counter(), time.process_time()
    generator = torch.Generator().manual_seed(0)
    found = select(method, pool, budget, SelectorOptions(), generator, num_blocks=num_blocks(method, num_rows))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    if len(found.unique()) != budget:
        raise SystemExit(f"{method} selected {len(found.unique())} rows, expected {budget}")
    print(json.dumps([seconds, cpu_seconds, before_mib, peak_mib() - before_mib]))


def print_coverage() -> None:
    """Print how near facility location comes to the exact greedy selection where its bounds are small."""
    import torch

    from elfs.ops.distances import unit_rows
    from elfs.ops.selection import covering

    print("| clusters | picks | exact | 2,048 / 256 rows | 1,024 / 128 rows | random |\n|---|---|---|---|---|---|")
    for num_clusters in (20, 200, 1000):
        generator = torch.Generator().manual_seed(0)
        embeddings = make_embeddings(8000, 128, num_clusters, generator)[torch.randperm(8000, generator=generator)]
        unit = unit_rows(embeddings)
        for budget in (10, 50, 200, 800, 2000):
            reached = []
            for covering._MOST_ROWS, covering._BLOCK_ROWS in ((16_384, 2048), (2048, 256), (1024, 128)):
                generator = torch.Generator().manual_seed(0)
                everything = torch.ones(8000, dtype=torch.bool)
                rows = covering.greedy_coverage(embeddings, everything, None, budget, generator=generator)
                reached.append(float((unit @ unit[rows].T).amax(dim=1).clamp_min(0).mean()))
            rows = torch.randperm(8000, generator=generator)[:budget]
            reached.append(float((unit @ unit[rows].T).amax(dim=1).clamp_min(0).mean()))
            shares = " | ".join(f"{100 * value / reached[0]:.1f} %" for value in reached[1:])
            print(f"| {num_clusters:,} | {budget:,} | {reached[0]:.4f} | {shares} |", flush=True)


def main() -> None:
    """Measure, each in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="10000,100000,1000000", help="numbers of rows, separated by commas")
    parser.add_argument("--methods", default=",".join(SELECTORS), help="names, separated by commas")
    parser.add_argument("--dims", type=int, default=128, help="dimensions of the embeddings")
    parser.add_argument("--coverage", action="store_true", help="facility location: blocks against the exact selection")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.coverage:
        return print_coverage()
    if options.one:
        return measure(options.methods, int(options.rows), options.dims)
    print(f"Budget {BUDGET_SHARE:.0%}, {options.dims} dimensions (float16), {NUM_NEIGHBORS} neighbours.\n")
    print("| method | rows | blocks | seconds | CPU seconds | memory before, MiB | more at the peak, MiB |")
    print("|---|---|---|---|---|---|---|")
    for method in options.methods.split(","):
        for num_rows in map(int, options.rows.split(",")):
            arguments = [sys.executable, __file__, "--one", "--methods", method, "--rows", str(num_rows)]
            child = subprocess.run(
                [*arguments, "--dims", str(options.dims)], capture_output=True, text=True, check=False
            )
            if child.returncode:
                raise SystemExit(child.stderr)
            seconds, cpu_seconds, before_mib, more_mib = json.loads(child.stdout)
            blocks = num_blocks(method, num_rows)
            figures = f"{seconds:.1f} | {cpu_seconds:.1f} | {before_mib:,.0f} | {more_mib:,.0f}"
            print(f"| {method} | {num_rows:,} | {blocks} | {figures} |", flush=True)
    return None


if __name__ == "__main__":
    main()
