"""One flipped bit in any value of a finished workspace, times every command: refused, or it made no difference.

``FAULT_STRIDE=1 python -m pytest -n 0 -s --timeout 3600 tests/cli/test_flipped_values.py`` takes every pair, and says
how many there were.
"""

import shutil
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from elfs.workspace.workspace import Workspace
from tests.chain import STRIDE, Finished
from tests.damage import flip, tensor_places
from tests.everything import COMMANDS, Held, hold

MOST_TENSORS = 20
"""Of a network, which has more tensors than this, some are taken."""


def places(workspace: Path) -> Iterator[tuple[str, str, str | None]]:
    """Yield each artifact with each of its files, and each tensor of it, or None where it is text."""
    for artifact, entry in sorted(Workspace.open(workspace).manifest.artifacts.items()):
        for file in entry.files:
            if file.name.endswith(".safetensors"):
                names = sorted(tensor_places(workspace / file.name))
                for tensor in names if len(names) <= MOST_TENSORS else names[::12]:
                    yield artifact, file.name, tensor
            else:
                yield artifact, file.name, None


def flip_somewhere(path: Path, tensor: str | None, seed: int) -> bool:
    """Flip one bit of one value of a tensor, or of a text; False where there is no value."""
    start, stop = (0, path.stat().st_size) if tensor is None else tensor_places(path)[tensor][:2]
    if start == stop:
        return False
    random = np.random.default_rng(seed)
    flip(path, int(random.integers(start, stop)), int(random.integers(8)))
    return True


def difference(whole: Held, found: Held, damaged: tuple[str, bytes]) -> str:
    """Return what a command that went through did differently, but for the damaged file, which it may have left."""
    name, data = damaged
    if whole.code != found.code or whole.out != found.out:
        return f"says {found.out}\ninstead of {whole.out}"
    differ = [file for file in whole.files | found.files if whole.files.get(file) != found.files.get(file)]
    return ", ".join(file for file in differ if file != name or found.files.get(file) != data)


@pytest.mark.slow
def test_row_14_one_flipped_bit_times_every_command_is_refused_or_makes_no_difference(
    everything: Finished, tmp_path: Path
) -> None:
    base, place = everything.path, tmp_path / "place"

    @cache
    def whole(name: str) -> Held:
        held = hold(Path(shutil.copytree(base, place)), name)
        shutil.rmtree(place)
        return held

    pairs = [(place, name) for place in places(base / "w") for name in COMMANDS]
    counts: Counter[str] = Counter()
    wrong = []
    for (artifact, file, tensor), name in pairs[::STRIDE]:
        shutil.copytree(base, place)
        if not flip_somewhere(place / "w" / file, tensor, zlib.crc32(f"{file} {tensor} {name}".encode())):
            shutil.rmtree(place)
            continue
        data = (place / "w" / file).read_bytes()
        found = hold(place, name)
        where = f"{name}, {file} {tensor or ''}"
        shutil.rmtree(place)
        if found.code == 0:
            told = difference(whole(name), found, (f"w/{file}", data))
            if told and name == "status" and file in found.err:  # it shows the rest, and warns
                counts["told by a warning"] += 1
            elif told:
                wrong.append(f"{where}: {told}")
            else:
                counts["no difference"] += 1
            continue
        counts[f"refused with exit {found.code}"] += 1
        said = found.err + found.out
        names = file in said or f"'{artifact}'" in said
        is_fact = artifact == "annotations" or artifact.startswith("selections/")  # which no command makes again
        mends = "elfs " in said or (is_fact and (name == "verify" or "restore it from a copy" in said))
        if found.code != 5 or not names or not mends:
            wrong.append(f"{where}: exit {found.code}, {said}")
    print(f"{counts.total()} flips: {dict(counts)}, {len(wrong)} wrong")  # noqa: T201  # for -s
    assert not wrong, "\n".join(wrong)
    assert counts["refused with exit 5"]
    assert counts["no difference"]
