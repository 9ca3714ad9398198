"""Time and memory of listing many images: a folder, a list of files, tar shards, and the ids of own embeddings.

    python benchmarks/listing.py              # 2,000,000 images
    python benchmarks/listing.py 100000

The folder and the files of the list are made up: this script answers ``scandir`` and ``stat`` in place of the operating
system, so that no disk is measured. Every case runs in a process of its own; memory is the peak of the process less
what it had before the listing. Linux only.
"""

import multiprocessing
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from elfs.data.hashing import listing_digest
from elfs.data.samples import SampleTable
from elfs.data.sources import file_list, folder, open_source
from elfs.data.text_column import TextColumn

PER_FOLDER = 10_000
STATUS = os.stat_result((0o100644, 1, 1, 1, 0, 0, 50_000, 0, 0, 0))


def name_of(number: int) -> str:
    """Return a path of a usual length, 46 bytes."""
    return f"class_{number // PER_FOLDER:05d}/photographs_{number:012d}_large.jpg"


class Entry:
    """What ``scandir`` says of one name."""

    def __init__(self, name: bytes, is_folder: bool) -> None:
        self.name = name
        self._is_folder = is_folder

    def is_dir(self) -> bool:
        """Return whether it is a folder."""
        return self._is_folder


class Directory:
    """A made-up folder: class folders at the top, images below."""

    def __init__(self, path: bytes, root: bytes, count: int) -> None:
        below = path[len(root) :].strip(b"/")
        first = int(below.rpartition(b"_")[2]) * PER_FOLDER if below else 0
        numbers = range(0, count, PER_FOLDER) if not below else range(first, min(first + PER_FOLDER, count))
        self.entries = (Entry(name_of(number).split("/")[bool(below)].encode(), not below) for number in numbers)

    def __enter__(self) -> Iterator[Entry]:
        return self.entries

    def __exit__(self, *_: object) -> None:
        pass


def fake_system(module: object, root: bytes, count: int) -> None:
    """Replace what a module asks the operating system."""

    class System:
        scandir = staticmethod(lambda path: Directory(path, root, count))

        def stat(self, path: bytes) -> os.stat_result:
            number = hash(path) & 2**60 - 1
            return STATUS if path.endswith(b".jpg") else os.stat_result((0o40755, number, 1, 1, 0, 0, 0, 0, 0, 0))

        def __getattr__(self, name: str) -> object:
            return getattr(os, name)

    module.os = System()  # type: ignore[attr-defined]


def list_folder(place: Path, count: int) -> SampleTable:
    """List a folder with `count` images."""
    fake_system(folder, os.fsencode(place), count)
    folder._ancestors = lambda root: iter(())
    return open_source("folder", place).list()


def list_files(place: Path, count: int) -> SampleTable:
    """List the images that a file names, in an order of their own."""
    fake_system(file_list, os.fsencode(place), count)
    return open_source("files", place, files=str(place / "list.txt")).list()


def list_tar(place: Path, count: int) -> SampleTable:
    """List tar shards."""
    return open_source("tar", place / "shards").list()


def find_ids(place: Path, count: int) -> SampleTable:
    """Find the ids of embeddings of one's own among those of a folder."""
    table = SampleTable.from_ids((name_of(number) for number in range(count)), 0, 0)
    wanted = TextColumn.from_strings(name_of(number) for number in reversed(range(count)))
    assert table.rows_of(wanted)[0] == count - 1
    return table


CASES: dict[str, Callable[[Path, int], SampleTable]] = {
    "folder": list_folder,
    "files": list_files,
    "tar": list_tar,
    "own ids": find_ids,
}


def memory_of_process(field: str) -> float:
    """Return a field of Linux's account of this process, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def measure(case: str, place: Path, count: int) -> None:
    """Run one case and print what it took."""
    before, start = memory_of_process("VmRSS"), time.perf_counter()
    table = CASES[case](place, count)
    digest = listing_digest(table)
    seconds = time.perf_counter() - start
    megabytes = memory_of_process("VmHWM") - before
    held = sum(array.nbytes for array in table.tensors().values()) / 2**20
    assert len(table) == count, digest
    print(f"{case:8}  {len(table):10,} images  {seconds:6.1f} s  peak {megabytes:6.0f} MB  table {held:5.0f} MB")


def make(place: Path, count: int) -> None:
    """Write the list, shuffled, and shards of empty images."""
    order = np.random.default_rng(0).permutation(count)
    with (place / "list.txt").open("w") as file:
        file.writelines(f"{name_of(number)}\n" for number in order.tolist())
    (place / "shards").mkdir()
    for start in range(0, count, PER_FOLDER):
        with (place / "shards" / f"{start:08d}.tar").open("wb") as shard:
            for number in range(start, min(start + PER_FOLDER, count)):
                shard.write(tarfile.TarInfo(name_of(number)).tobuf(tarfile.USTAR_FORMAT))
            shard.write(bytes(1024))


def main() -> None:
    """Measure all cases."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    with tempfile.TemporaryDirectory() as name:
        make(Path(name), count)
        for case in CASES:
            process = multiprocessing.get_context("spawn").Process(target=measure, args=(case, Path(name), count))
            process.start()
            process.join()


if __name__ == "__main__":
    main()
