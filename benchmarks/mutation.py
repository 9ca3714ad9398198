"""How many faults the tests notice: a fixed sample of a room's mutants, each against the tests of its module.

    pip install mutmut
    python -m benchmarks.mutation elfs/ops --sample 250 --also tests/ops/test_laws.py tests/ops/test_devices.py
    python -m benchmarks.mutation elfs/pipeline --sample 120

mutmut makes the mutants, but for the words of errors; each module gives as many to the sample as it has lines. pytest
collects the room's tests once. For each mutant a forked process gives the functions that are there the mutant's code,
so that whoever imported them has it, and runs the file that mirrors the module (all files of its folder, where there is
none), then those of `--also`, up to the first failure. What runs in other processes, or at import, is not reached.
"""

import argparse
import os
import random
import signal
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path

import libcst
import pytest
from _pytest.runner import runtestprotocol
from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider
from mutmut.mutation.file_mutation import MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

LIMIT_S = 120
_OF_A_MODULE = ("__file__", "__package__", "__path__")


def sampled(room: Path, size: int, seed: int) -> Iterator[tuple[Path, str, str]]:
    """Yield the path, what was changed, and the mutant's whole code."""
    paths = sorted(path for path in room.rglob("*.py") if path.stat().st_size > 300)
    lines = {path: len(path.read_text().splitlines()) for path in paths}
    total, draws = sum(lines.values()), random.Random(seed)
    for path in paths:
        wrapper = MetadataWrapper(libcst.parse_module(path.read_text()))
        positions, parents = wrapper.resolve(PositionProvider), wrapper.resolve(ParentNodeProvider)
        visitor = MutationVisitor(mutation_operators, IgnoredCode(set(), set(), set()))
        wrapper.visit(visitor)
        inside = [one for one in visitor.mutations if one.contained_by_top_level_function is not None]
        every = [one for one in inside if not is_wording(one.original_node, parents)]
        for mutation in draws.sample(every, min(len(every), max(1, round(size * lines[path] / total)))):
            old, new = mutation.original_node, mutation.mutated_node
            words = " => ".join(wrapper.module.code_for_node(node).strip() for node in (old, new))
            yield path, f"{path}:{positions[old].start.line} {words}", wrapper.module.deep_replace(old, new).code


def is_wording(node: libcst.CSTNode, parents: dict[libcst.CSTNode, libcst.CSTNode]) -> bool:
    """Return whether a node is a string inside a `raise`."""
    if not isinstance(node, libcst.BaseString):
        return False
    while node in parents and not isinstance(node, libcst.Raise):
        node = parents[node]
    return isinstance(node, libcst.Raise)


def functions(module: types.ModuleType) -> Iterator[tuple[str, types.FunctionType]]:
    """Yield what a module defines, methods included, by name."""
    for name, value in vars(module).items():
        if getattr(value, "__module__", None) != module.__name__:
            continue
        for key, member in vars(value).items() if isinstance(value, type) else [("", value)]:
            if isinstance(function := getattr(member, "__func__", member), types.FunctionType):
                yield f"{name}.{key}", function


def put(path: Path, code: str) -> None:
    """Give the functions that are there the mutant's code."""
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    module = sys.modules[name]
    fresh = types.ModuleType(name)
    vars(fresh).update({key: value for key, value in vars(module).items() if key in _OF_A_MODULE})
    sys.modules[name] = fresh  # dataclasses look their module up
    exec(compile(code, str(path), "exec"), vars(fresh))
    sys.modules[name] = module
    new = dict(functions(fresh))
    for key, function in functions(module):
        if key in new and new[key].__code__.co_freevars == function.__code__.co_freevars:
            function.__code__, function.__defaults__ = new[key].__code__, new[key].__defaults__
            function.__kwdefaults__ = new[key].__kwdefaults__


def is_noticed(path: Path, code: str, items: list[pytest.Item]) -> bool:
    """Return whether a test fails, or does not end, in a forked process where the tests meet the mutant."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            put(path, code)
            pairs = zip(items, [*items[1:], None], strict=True)
            runs = (runtestprotocol(item, log=False, nextitem=after) for item, after in pairs)
            status = int(any(report.failed for reports in runs for report in reports))
        finally:
            os._exit(status)
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status != 0
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


class Mutating:
    """Runs mutants in place of the tests that pytest has collected."""

    def __init__(self, mutants: list[tuple[Path, str, str]], also: list[str]) -> None:
        self.mutants, self.also, self.num_noticed = mutants, also, 0

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Judge every mutant, and print those that survive."""
        files: dict[str, list[pytest.Item]] = {}
        for item in session.items:
            files.setdefault(item.nodeid.partition("::")[0], []).append(item)
        for path, change, code in self.mutants:
            folder = Path("tests", *path.parts[1:-1])
            mirror = [str(folder / f"test_{path.name}")]
            names = mirror if mirror[0] in files else [name for name in files if Path(name).parent == folder]
            order = dict.fromkeys([*names, *self.also])
            noticed = is_noticed(path, code, [item for name in order for item in files[name]])
            self.num_noticed += noticed
            if not noticed:
                print(f"survived: {change}", flush=True)
        return True


def main() -> None:
    """Draw the sample, run it, and print the share that was noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", type=Path)
    parser.add_argument("--sample", type=int, default=250)
    parser.add_argument("--seed", type=int, default=10)
    parser.add_argument("--also", nargs="*", default=[])
    told = parser.parse_args()
    plugin = Mutating(list(sampled(told.room, told.sample, told.seed)), told.also)
    tests = [str(Path("tests", *told.room.parts[1:])), *told.also]
    pytest.main(["-q", "-s", "-n", "0", "-p", "no:cacheprovider", *tests], plugins=[plugin])
    print(f"{plugin.num_noticed} of {len(plugin.mutants)} mutants are noticed")


if __name__ == "__main__":
    main()
