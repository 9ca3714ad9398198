"""What limits by group cost: CPU seconds on a pool of films, with and without.

    python benchmarks/groups.py

Twice: difficulty at random, and films that are hard or easy in all of their frames, which is the worst case for a
method that goes down a ranking.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from elfs.annotations.groups import read_groups
from elfs.data.samples import SampleTable
from elfs.ops.selection import Pool, SelectorOptions, select

NUM_FILMS, NUM_FRAMES = 1000, 1000
LIMITS: dict[str, tuple[int, dict[str, Any]]] = {
    "no limit": (2500, {}),
    "at most 3 of each": (2500, {"per_group": 3}),
    "whole groups": (100_000, {"whole_groups": True}),
}


def timed(call: Callable[[], object]) -> float:
    """Return the CPU seconds of a call."""
    started = time.process_time()
    call()
    return time.process_time() - started


def main() -> None:
    """Print a line for each way to select, and for each way to say groups."""
    num_rows = NUM_FILMS * NUM_FRAMES
    groups, draws = torch.arange(num_rows) // NUM_FRAMES, torch.Generator().manual_seed(0)
    plain = torch.rand(num_rows, generator=draws)
    by_film = plain + 10 * torch.rand(NUM_FILMS, generator=draws)[groups]
    for kind, hardness in (("difficulty at random", plain), ("difficulty by film", by_film)):
        pool = Pool(tie_breaker=torch.arange(num_rows), hardness=hardness, groups=groups)
        for method in ("random", "hardest"):
            for name, (budget, limits) in LIMITS.items():
                options = SelectorOptions(**limits)
                seconds = timed(lambda: select(method, pool, budget, options, torch.Generator().manual_seed(0)))  # noqa: B023
                print(f"{kind:<22}{method:<10}{name:<20}{budget:>8,} of {num_rows:,}  {seconds:.2f} s")
    ids = [f"film{row // NUM_FRAMES:04d}/frame{row % NUM_FRAMES:04d}.jpg" for row in range(num_rows)]
    table = SampleTable.from_ids(ids, 0, 1)
    print(f"groups by an expression  {timed(lambda: read_groups('^[^/]+', table, None)):.2f} s")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "films.csv"
        file.write_text("id,film,weather\n" + "".join(f"{name},{name[:8]},sun\n" for name in ids))
        print(f"groups by a table        {timed(lambda: read_groups(f'{file}:film', table, None)):.2f} s")


if __name__ == "__main__":
    main()
