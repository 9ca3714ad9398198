"""Rules that the whole tree keeps: linters, types, import directions, sizes, docstrings, who may read labels."""

import ast
import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hatchling.builders.wheel import WheelBuilder
from numpydoc.validate import Validator, validate

import elfs
from elfs.ops.scores import EMBEDDING_SCORES, TRACE_SCORES, EmbeddingScoreFunction, ScoreFunction

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "elfs").rglob("*.py"))
MAX_MODULE_LINES = 360
MAX_FUNCTION_LINES = 40
LONGER_MODULES = {"elfs/delivery/report.py": 370}
"""Modules that were longer when the limit came, and may only get shorter."""

DOCSTRING_RULES = frozenset({"PR01", "PR02", "PR03", "PR04", "PR05", "RT02", "GL08"})

LABELS_OF_DATA_SETS = {"label", "labels", "_labels", "target", "targets", "target_names", "y"} | {
    f"{level}_label{plural}" for level in ("fine", "coarse") for plural in ("", "s")
}
"""Names under which torchvision, scikit-learn and Hugging Face data sets hand out true labels."""

needs_checkout = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="needs the source tree")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@needs_checkout
@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check"],
        ["ruff", "format", "--check"],
        pytest.param(["mypy"], marks=pytest.mark.slow),
        ["lint-imports"],
        ["codespell", "elfs", "tests", "docs", "benchmarks", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"],
    ],
    ids=lambda command: "-".join(command[:2]),
)
def test_tool_finds_nothing(command: list[str]) -> None:
    program = shutil.which(command[0], path=str(Path(sys.executable).parent)) or shutil.which(command[0])
    assert program, f"{command[0]} is not installed: pip install '.[test]'"
    found = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


@cache
def trees() -> dict[str, tuple[str, ast.Module]]:
    """Return text and syntax tree of every module by its name."""
    texts = {name_of(path): path.read_text(encoding="utf-8") for path in MODULES}
    return {name: (text, ast.parse(text)) for name, text in texts.items()}


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def num_lines(function: ast.FunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    docstring = ast.get_docstring(function, clean=False)
    return (function.end_lineno or 0) - function.lineno + 1 - (docstring.count("\n") + 1 if docstring else 0)


@pytest.mark.slow
def test_modules_and_their_functions_are_short() -> None:
    sizes = {name: len(text.splitlines()) for name, (text, _) in trees().items()}
    assert {name: n for name, n in sizes.items() if n > LONGER_MODULES.get(name, MAX_MODULE_LINES)} == {}
    sizes = {f"{name}:{node.name}": num_lines(node) for name, (_, tree) in trees().items() for node in functions(tree)}
    assert {name: n for name, n in sizes.items() if n > MAX_FUNCTION_LINES} == {}


def labels_read(tree: ast.AST) -> set[str]:
    """Return under which names code asks anything for its labels: as an attribute, as a key, by `getattr` or `get`."""
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    keys = [node.slice for node in ast.walk(tree) if isinstance(node, ast.Subscript)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("get", "getattr", "pop", "attrgetter", "itemgetter"):
                keys += node.args
    named |= {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
    return named & LABELS_OF_DATA_SETS


@pytest.mark.slow
def test_only_evaluation_reads_labels() -> None:
    """Label-free is a property of the code: outside ``elfs.evaluation`` nothing asks a data set for its labels."""
    others = {name: tree for name, (_, tree) in trees().items() if not name.startswith("elfs/evaluation/")}
    assert len(others) > 300
    assert {name: found for name, tree in others.items() if (found := labels_read(tree))} == {}
    for name, tree in others.items():
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        if not name.startswith("elfs/cli/"):
            assert not any(module.startswith("elfs.evaluation") for module in imported), name


@pytest.mark.parametrize(
    "code",
    [
        "y = SVHN(root).labels",
        "y = STL10(root, split='train').labels[rows]",
        "y = CIFAR10(root).targets",
        "y = load_digits().target",
        "y = Flowers102(root)._labels",
        "y = getattr(dataset, 'labels')",
        "y = load_digits()['target']",
        "y = row.get('label')",
        "y = [row['fine_label'] for row in dataset]",
        "y = map(operator.itemgetter('label'), dataset)",
    ],
)
def test_reading_the_labels_of_a_data_set_is_seen(code: str) -> None:
    assert labels_read(ast.parse(code))


def test_pseudo_labels_may_be_read() -> None:
    assert not labels_read(ast.parse("y = pool.pseudo_labels, arrays['pseudo_labels'], STAGES['select'].needs"))


def public_objects() -> Iterator[tuple[str, Any]]:
    """Yield every public function, class and method of the package by its name."""
    for info in pkgutil.walk_packages(elfs.__path__, "elfs."):
        if info.name == "elfs.__main__" or ".cli" in info.name:
            continue  # Typer prints the docstrings of commands as help: one sentence, no sections
        module: ModuleType = importlib.import_module(info.name)
        for name in getattr(module, "__all__", []):
            thing = getattr(module, name)
            if getattr(thing, "__module__", "") != info.name or not (
                inspect.isclass(thing) or inspect.isroutine(thing)
            ):
                continue
            yield f"{info.name}.{name}", thing
            for method, function in vars(thing).items() if inspect.isclass(thing) else ():
                if not method.startswith("_") and inspect.isroutine(function):
                    yield f"{info.name}.{name}.{method}", function


CONTRACTS: dict[type, tuple[Mapping[str, Any], list[str]]] = {
    ScoreFunction: (TRACE_SCORES, ["Needs ", "(High|Low)er = harder", r"[Ii]n `*\[|Whole numbers in"]),
    EmbeddingScoreFunction: (EMBEDDING_SCORES, ["Needs ", "(High|Low)er = harder", r"In \["]),
}
"""Protocols that state what the functions of a table share; the table, and what each function says by itself."""


@pytest.mark.parametrize("contract", CONTRACTS)
def test_a_contract_is_stated_once(contract: type) -> None:
    name = f"{contract.__module__}.{contract.__qualname__}.__call__"
    assert not [text for code, text in validate(name)["errors"] if code in DOCSTRING_RULES]
    functions, own = CONTRACTS[contract]
    for function in functions.values():
        doc = inspect.getdoc(function) or ""
        assert not any(f"{section}\n---" in doc for section in ("Parameters", "Returns", "Raises")), function
        assert all(re.search(pattern, doc) for pattern in own), function


def errors_of_docstring(name: str, thing: Any) -> list[str]:
    checked = DOCSTRING_RULES
    is_class = inspect.isclass(thing)
    if is_class:
        checked = checked - {"PR01", "PR02"}  # fields of a dataclass are documented as Attributes
    doc = inspect.getdoc(thing) or ""
    if not is_class and "Parameters\n" not in doc and "Returns\n" not in doc:
        checked = checked - {"PR01"}  # a one-line docstring for a function that its name explains
    return [f"{code}: {text}" for code, text in validate(name)["errors"] if code in checked]


@pytest.mark.slow
def test_docstrings_follow_numpydoc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where each stands is left out, which takes half of the time, and no comment excuses one."""
    monkeypatch.setattr(Validator, "source_file_def_line", 0)
    monkeypatch.setattr("numpydoc.validate.extract_ignore_validation_comments", lambda *_: {})
    objects = dict(public_objects())
    assert len(objects) > 1_000
    assert {name: errors for name, thing in objects.items() if (errors := errors_of_docstring(name, thing))} == {}


@needs_checkout
def test_version_is_the_newest_of_the_changelog() -> None:
    newest = next(line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## "))
    assert newest.split()[1] == elfs.__version__


@needs_checkout
def test_wheel_says_that_it_is_typed(tmp_path: Path) -> None:
    """The wheel that an installation unpacks carries the mark, not the source tree alone."""
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as files:
        assert "elfs/py.typed" in files.namelist()


@needs_checkout
def test_every_room_is_on_the_map() -> None:
    """CONTRIBUTING.md names each folder of the package."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rooms = {path.parent.name for path in (ROOT / "elfs").glob("*/__init__.py")}
    assert {room for room in rooms if f"`elfs/{room}`" not in text} == set()
