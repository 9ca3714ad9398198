"""How memory grows with the pool: no more than docs/scaling.md says."""

import ctypes
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import growth
from elfs.config import CONFIGS, from_json
from elfs.ops.selection import chance
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.stages.selection import candidates, trust
from elfs.workspace import journal, manifest
from elfs.workspace.workspace import Workspace


class Allocated(ctypes.Structure):
    """What malloc.h calls struct mallinfo2."""

    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks")]
    _fields_ += [(name, ctypes.c_size_t) for name in ("fsmblks", "uordblks", "fordblks", "keepcost")]


GLIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def allocated_bytes() -> int:
    """Return what the process holds that malloc gave."""
    assert GLIBC is not None
    GLIBC.mallinfo2.restype = Allocated
    found = GLIBC.mallinfo2()
    return int(found.hblkhd + found.uordblks)


def most_allocated(work: Callable[[], object]) -> int:
    """Return how many bytes more were held while something ran than before, as far as looking now and then tells."""
    before, most, is_done = allocated_bytes(), 0, threading.Event()

    def look() -> None:
        nonlocal most
        while not is_done.wait(0.0003):
            most = max(most, allocated_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        work()
    finally:
        is_done.set()
        thread.join()
    return most - before


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(GLIBC, "mallinfo2"), reason="only glibc says what it holds")
def test_select_holds_no_more_than_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are made small, so that what grows from 40,000 to 80,000 images is what grows with any pool."""
    monkeypatch.setattr(candidates, "_READ_ROWS", 2048)
    for module in (trust, chance):
        monkeypatch.setattr(module, "_BLOCK_ROWS", 2048)
    for module in (manifest, journal):
        monkeypatch.setattr(module, "MAX_JSON_BYTES", 1 << 20)  # a buffer of as many, of which a page is touched
    runtime, sizes = Runtime(devices="cpu", num_workers=0), (40_000, 80_000)
    growth.make_small(tmp_path, tmp_path / "small")
    for num_rows in sizes:
        growth.grow(Workspace.open(tmp_path / "small"), tmp_path / str(num_rows), num_rows)
        execute("score", tmp_path / str(num_rows), from_json(CONFIGS["score"], {}), runtime)

    def held(num_rows: int, **options: Any) -> int:
        config = from_json(CONFIGS["select"], options | {"budget": "0.1"})
        path = tmp_path / str(num_rows)
        return most_allocated(lambda: execute("select", path, config, runtime, force=True))

    for method in ("random", "elfs", "facility-location", "auto"):
        held(sizes[0], method=method)  # what it imports
        few, many = (held(num_rows, method=method) for num_rows in sizes)
        grown = (many - few) / (sizes[1] - sizes[0])
        row = growth.row_of(["select", "--method", method], sizes[1])
        assert row is not None
        assert 2 * growth.DIMS < grown <= row, method


def test_growth_knows_the_row_of_a_command() -> None:
    assert growth.row_of(["score"], 1) == 4 * 14 + 40
    work = ["select", "--method", "random"]
    assert growth.row_of(work, 2_000_000) == pytest.approx(28 + 0.1 * (230 + 2 * 9) + 2 * growth.DIMS)
    assert growth.row_of(work, 2_000_001) == pytest.approx(28 + 0.1 * (230 + 2 * 9))
    assert growth.row_of(["select", "--method", "ccs"], 1) is None
