"""How far training dynamics, and the selection that follows, depend on rounding, the number of processes, the seed.

    python benchmarks/repeatability.py

One chain on the bundled digits with the default settings; then dynamics, score and select again from the same
pseudo-labels: by two processes (batch norm by the whole batch, and by each share), by one process whose initial weights
differ by a ten-millionth, and with another seed. Each is compared with the first.
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
VARIANTS: dict[str, tuple[str, ...]] = {
    "one process, again": ("--devices", "cpu"),
    "two processes": ("--devices", "cpu:2"),
    "two processes, `--no-sync-batch-norm`": ("--devices", "cpu:2", "--no-sync-batch-norm"),
    "one process, initial weights times 1 + 1e-7 x noise": ("--devices", "cpu"),
    "one process, another seed of dynamics": ("--devices", "cpu", "--seed", "1"),
}
NOISY = """
import sys, torch
import elfs.stages.dynamics as stage
from elfs.cli.app import main
build = stage.build_network
def noisy(*arguments, **options):
    network = build(*arguments, **options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1 + 1e-7 * torch.randn(parameter.shape, generator=generator))
    return network
stage.build_network = noisy
main()
"""


def elfs(*words: str, program: tuple[str, ...] = ("-m", "elfs")) -> None:
    """Run one command on one thread a process."""
    environ = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *program, *words, "--quiet"], check=True, env=environ, stdout=subprocess.DEVNULL)


def result(workspace: Path, name: str) -> tuple[list[str], "dict[str, float]"]:
    """Return the selected ids, and the AUM of every image of the pool by its id."""
    from elfs.data.samples import SampleTable
    from elfs.workspace.workspace import Workspace

    opened = Workspace.open(workspace)
    with (workspace / "selections" / name / "selection.csv").open(newline="") as file:
        chosen = [line["id"] for line in csv.DictReader(file)]
    table = SampleTable.from_tensors(opened.arrays("samples"))
    rows = table.eligible().nonzero()[0]
    aum = opened.arrays("scores")["aum"]
    return chosen, dict(zip(table.ids(rows), aum[rows].tolist(), strict=True))


def main() -> None:
    """Run the chain and its variants, and print a table."""
    import numpy as np

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    print("| dynamics made by | correlation of AUM | images in common |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder, "first")
        select = ("--budget", BUDGET, "--hard-rate", "0.2", "--name")
        elfs("run", "digits", *select, "first", "-w", str(first), "--devices", "cpu")
        expected, aum = result(first, "first")
        for number, (name, options) in enumerate(VARIANTS.items()):
            other = Path(shutil.copytree(first, Path(folder, str(number))))
            program = ("-c", NOISY) if "noise" in name else ("-m", "elfs")
            elfs("dynamics", "-w", str(other), "--force", *options, program=program)
            elfs("score", "-w", str(other))
            elfs("select", *select, "again", "-w", str(other))
            chosen, found = result(other, "again")
            correlation = np.corrcoef([aum[name] for name in aum], [found[name] for name in aum])[0, 1]
            common = len(set(expected) & set(chosen))
            print(f"| {name} | {correlation:.3f} | {common} of {len(expected)} |", flush=True)


if __name__ == "__main__":
    main()
