"""The exception tree: exit codes, built-in bases, message and hint."""

import pytest

from elfs import errors

TREE = {
    "UsageError": (2, ValueError),
    "InputDataError": (3, ValueError),
    "MissingUpstreamError": (4, FileNotFoundError),
    "StaleUpstreamError": (4, ValueError),
    "CorruptArtifactError": (5, ValueError),
    "WorkspaceLockedError": (6, RuntimeError),
    "StorageError": (7, OSError),
    "DeviceError": (8, RuntimeError),
    "RankLostError": (8, RuntimeError),
}


def test_tree_names_every_error() -> None:
    assert set(errors.__all__) == {"ElfsError", *TREE}


@pytest.mark.parametrize("name", TREE)
def test_error_has_its_exit_code_and_is_also_a_built_in_one(name: str) -> None:
    kind = getattr(errors, name)
    exit_code, built_in = TREE[name]
    assert (kind.exit_code, issubclass(kind, errors.ElfsError), issubclass(kind, built_in)) == (exit_code, True, True)


@pytest.mark.parametrize("name", ["ElfsError", *TREE])
def test_error_keeps_message_and_hint(name: str) -> None:
    kind = getattr(errors, name)
    error = kind("it is 3, expected 4.", hint="elfs status")
    assert (error.message, str(error), error.hint) == ("it is 3, expected 4.", "it is 3, expected 4.", "elfs status")
    assert kind("bare").hint is None


@pytest.mark.parametrize("name", TREE)
def test_docstring_shows_the_exit_code(name: str) -> None:
    line = next(line for line in (errors.__doc__ or "").splitlines() if f"-- {name}" in line)
    assert f"  {TREE[name][0]}  " in line
    assert f"({TREE[name][1].__name__})" in line
