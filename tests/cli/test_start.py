"""What starting costs: which modules each command loads, and how much memory help and status take."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import elfs
from elfs.catalog import STAGES
from tests.chain import Finished, make_pictures

TYPER = {"annotated_doc", "annotated_types", "pydantic", "pydantic_core", "shellingham", "typer", "typing_extensions"}
TYPER |= {"typing_inspection"}
RICH = {"attr", "markdown_it", "mdurl", "pygments", "rich"}
FILES = {"elfs.cli", "elfs.config", "elfs.models.published", "elfs.pipeline", "elfs.workspace", "elfs.parallel"}
BASE = {"elfs.budget", "elfs.catalog", "elfs.errors", "elfs.models", "elfs.source_names", "elfs.suggestions"}
MAX_MIB = 45

REPORT = """
import sys
print(*sorted(sys.modules), file=sys.stderr)
try:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
except OSError:
    peak = "VmHWM: 0 kB"
print(int(peak.split()[1]) // 1024, file=sys.stderr)
"""


def loaded(code: str) -> tuple[set[str], int]:
    """Return the modules that code loads in a process of its own, and its peak memory in MiB."""
    environ = os.environ | {"PYTHONPATH": str(Path(elfs.__file__).parents[1])}
    command = [sys.executable, "-c", code + REPORT]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=True)
    *_, modules, memory = done.stderr.splitlines()
    return set(modules.split()), int(memory)


def strangers(modules: set[str]) -> set[str]:
    """Return the packages among modules that are neither ours nor Python's."""
    packages = {name.partition(".")[0] for name in modules}
    return {name for name in packages - sys.stdlib_module_names - {"elfs"} if not name.startswith("_")}


def test_status_loads_the_manifest_and_no_numpy(digits: Finished) -> None:
    code = f"from elfs.cli.app import run\nassert run(['status', '-w', {str(digits.path)!r}]) == 0"
    modules, memory = loaded(code)
    assert strangers(modules) <= TYPER
    ours = {name for name in modules if name.startswith("elfs.")} - BASE
    assert {name for name in ours if name not in FILES and name.rpartition(".")[0] not in FILES} == set()
    assert "elfs.workspace.tensors" not in ours
    assert {name for name in ours if name.startswith("elfs.cli.")} & {"elfs.cli.run", "elfs.cli._stage"} == set()
    assert len(modules) <= 340
    assert memory <= MAX_MIB


@pytest.mark.slow
def test_a_run_that_has_nothing_to_do_loads_no_torch(digits: Finished, tmp_path: Path) -> None:
    place = digits.copy(tmp_path / "w")
    modules, memory = loaded(f"from elfs.cli.app import run\nassert run(['run', '-w', {str(place)!r}]) == 0")
    assert not {"torch", "torchvision", "sklearn", "scipy"} & modules
    assert memory <= 2 * MAX_MIB


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "-h"]], ids=" ".join)
def test_help_loads_no_stage(arguments: list[str]) -> None:
    modules, memory = loaded(f"from elfs.cli.app import run\nassert run({arguments}) == 0")
    assert strangers(modules) <= TYPER | RICH
    assert not any(name.startswith(("elfs.ops", "elfs.stages", "elfs.train", "elfs.delivery")) for name in modules)
    assert memory <= MAX_MIB


@pytest.mark.slow
def test_a_stage_loads_torch_and_what_it_always_uses() -> None:
    """All that need no scipy together load none of what is seldom used; nor do the others after them, but for scipy."""
    graphs = ["cluster", "label"]
    first, then = (
        "".join(f"import elfs.stages.{stage}\n" for stage in stages)
        for stages in ([stage for stage in STAGES if stage not in graphs], graphs)
    )
    modules, _ = loaded(f"{first}import sys\nassert 'scipy' not in sys.modules\n{then}")
    assert {f"elfs.stages.{stage}" for stage in STAGES} <= modules
    assert strangers(modules) & {"timm", "torchvision", "sklearn", "faiss", "matplotlib", "datasets"} == set()


@pytest.mark.slow
def test_no_training_loads_the_compiler_of_torch(tmp_path: Path) -> None:
    """Torch's own optimizers import it, with sympy: 1.4 CPU seconds."""
    pictures, place = str(make_pictures(tmp_path / "pictures")), ["-w", str(tmp_path / "w"), "--devices", "cpu"]
    smoke = [*place, "--smoke", "--force"]
    lines = [["run", pictures, *smoke, "--clusters", "3"], ["cluster", *smoke, "--method", "temi"], ["label", *place]]
    lines += [["dynamics", *smoke, "--network", network] for network in ("linear", "mlp")]
    lines += [["train", *smoke, "--labels", "folders", "--network", network] for network in ("resnet8", "linear")]
    modules, _ = loaded(f"from elfs.cli.app import run\nfor line in {lines}:\n    assert run(line) == 0, line\n")
    assert modules & {"torch._dynamo", "torch._inductor", "sympy", "triton", "sklearn", "timm", "torchvision"} == set()


def test_every_optimizer_goes_without_the_compiler_of_torch() -> None:
    package = Path(elfs.__file__).parent
    made = re.compile(r"torch\.optim\.[A-Z]\w*\(")
    assert [str(path) for path in package.rglob("*.py") if made.search(path.read_text())] == []
