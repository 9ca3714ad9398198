import ctypes
import resource
import subprocess
import sys
from typing import Any

import pytest

from elfs.parallel.allocator import keep_freed_memory
from tests.chain import ROOT

FAULTS = """
import ctypes, resource, sys
from elfs.parallel.allocator import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory({})
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def once():
    blocks = [libc.malloc(16 << 20) for _ in range(4)]
    for block in blocks:
        ctypes.memset(block, 1, 16 << 20)
    for block in blocks:
        libc.free(block)
once()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    once()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

is_glibc = hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


@pytest.mark.slow
@pytest.mark.skipif(not is_glibc, reason="needs glibc")
def test_a_block_that_is_freed_is_used_again_without_a_page_fault() -> None:
    """20 times four blocks of 16 MiB; glibc gives them back as soon as the top of the heap is twice as large as one."""
    pages = (64 << 20) // resource.getpagesize()

    def faults(how: str) -> int:
        command = [sys.executable, "-c", FAULTS, how]
        return int(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)

    assert faults("kept") < pages < faults("as it is")


@pytest.mark.parametrize(
    "name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"]
)
def test_what_the_person_set_is_left(name: str) -> None:
    assert not keep_freed_memory({name: "1"})


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_other_systems_are_left_alone(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: Any) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert not keep_freed_memory({})


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory({})
