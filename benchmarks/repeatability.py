"""How far training dynamics, and the selections that follow, depend on rounding, the number of processes, the seed.

    python benchmarks/repeatability.py [--pool digits] [--recipes small ensemble]

One chain on a pool with the default settings; then dynamics, score and select again from the same pseudo-labels. One
network on the images (`small`): by two processes (batch norm by the whole batch, and by each share), by one process
whose initial weights differ by a ten-millionth, and with another seed. Many on the embeddings (`ensemble`): on one
thread, with another seed, without folds. Each is compared with the first of its kind: the scores, and the 10 % that
`elfs` at a hard rate of 0.2 and `auto` select.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BUDGET = "0.1"
VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "small": {
        "one process, again": (),
        "two processes": ("--devices", "cpu:2"),
        "two processes, `--no-sync-batch-norm`": ("--devices", "cpu:2", "--no-sync-batch-norm"),
        "initial weights times 1 + 1e-7 x noise": (),
        "another seed": ("--seed", "1"),
    },
    "ensemble": {
        "again": (),
        "one thread": (),
        "two processes": ("--devices", "cpu:2"),
        "another seed": ("--seed", "1"),
        "another seed again": ("--seed", "2"),
        "another seed, no folds": ("--folds", "1", "--seed", "1"),
    },
}
NOISY = """
import torch
import elfs.train.fit as module
from elfs.cli.app import main
build = module.build_network
def noisy(*arguments, **options):
    network = build(*arguments, **options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1 + 1e-7 * torch.randn(parameter.shape, generator=generator))
    return network
module.build_network = noisy
main()
"""
ONE_THREAD = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from elfs.cli.app import main
main()
"""
PROGRAMS = {"initial weights times 1 + 1e-7 x noise": ("-c", NOISY), "one thread": ("-c", ONE_THREAD)}


def elfs(*words: str, program: tuple[str, ...] = ("-m", "elfs")) -> None:
    """Run one command on one thread a process."""
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *program, *words, "--quiet"], check=True, env=environ, stdout=subprocess.DEVNULL)


def scores_of(workspace: Path) -> "dict[str, float]":
    """Return the AUM of every image of the pool by its id."""
    from elfs.data.samples import SampleTable
    from elfs.workspace.workspace import Workspace

    opened = Workspace.open(workspace)
    table = SampleTable.from_tensors(opened.arrays("samples"))
    rows = table.eligible().nonzero()[0]
    return dict(zip(table.ids(rows), opened.arrays("scores")["aum"][rows].tolist(), strict=True))


def again(base: Path, folder: Path, recipe: str, name: str) -> "tuple[dict[str, float], list[set[str]]]":
    """Make dynamics, scores and selections anew; return the scores, and what `elfs` and `auto` pick."""
    workspace = Path(shutil.copytree(base, folder))
    options = VARIANTS[recipe][name]
    devices = () if "--devices" in options else ("--devices", "cpu")
    program = PROGRAMS.get(name, ("-m", "elfs"))
    elfs("dynamics", "-w", str(workspace), "--recipe", recipe, *devices, *options, program=program)
    elfs("score", "-w", str(workspace))
    picked = []
    for method, more in (("elfs", ("--hard-rate", "0.2")), ("auto", ())):
        elfs("select", "--budget", BUDGET, "--method", method, *more, "--name", f"by-{method}", "-w", str(workspace))
        with (workspace / "selections" / f"by-{method}" / "selection.csv").open(newline="") as file:
            picked.append({line["id"] for line in csv.DictReader(file)})
    return scores_of(workspace), picked


def main() -> None:
    """Run the chain and its variants, and print a table."""
    import numpy as np

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", default="digits")
    parser.add_argument("--recipes", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    arguments = parser.parse_args()
    print("| dynamics made by | correlation of AUM | in common, `elfs` | in common, `auto` |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder, "base")
        elfs("embed", arguments.pool, "-w", str(base), "--devices", "cpu")
        for stage in ("cluster", "label"):
            elfs(stage, "-w", str(base), "--devices", "cpu")
        for recipe in arguments.recipes:
            first: tuple[dict[str, float], list[set[str]]] | None = None
            for name in VARIANTS[recipe]:
                found = again(base, Path(folder, f"{recipe} {name}"), recipe, name)
                first = first or again(base, Path(folder, f"{recipe}, first"), recipe, next(iter(VARIANTS[recipe])))
                correlation = np.corrcoef([first[0][key] for key in first[0]], [found[0][key] for key in first[0]])[
                    0, 1
                ]
                common = [
                    f"{len(ours & theirs)} of {len(ours)}" for ours, theirs in zip(first[1], found[1], strict=True)
                ]
                print(f"| `{recipe}`: {name} | {correlation:.3f} | {' | '.join(common)} |", flush=True)


if __name__ == "__main__":
    main()
