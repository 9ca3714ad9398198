"""``elfs doctor``."""

import dataclasses
import importlib
import os
import platform
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

import elfs
from elfs.cli._options import Invocation, command
from elfs.errors import DeviceError

__all__ = ["EXAMPLES", "Check", "body", "checks"]

EXAMPLES = ("elfs doctor", "elfs doctor --devices 0 --json")

OK, NOTE, BAD = "ok", "note", "bad"

_STYLES = {OK: None, NOTE: "yellow", BAD: "red"}
_PACKAGES = {
    "torch": "",
    "torchvision": "",
    "timm": "",
    "safetensors": "",
    "sklearn": "",
    "faiss": "not there: neighbours are searched with torch",
}
"""Package to what its absence means; nothing where elfs cannot do without it."""

_GIB = 2**30
_HUB = "huggingface.co"
_TIMEOUT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        What.
    state : {"ok", "note", "bad"}
        Whether it is in order, works in a lesser way, or will fail.
    text : str
        What was found.
    """

    name: str
    state: str
    text: str


@command(shared=("workspace", "devices", "json", "quiet", "verbose"))
def body(invocation: Invocation) -> None:
    """Check this machine: versions, devices, disk, caches, weights."""
    found = list(checks(invocation.workspace, invocation.runtime().devices))
    output = invocation.output
    output.table([(check.name, check.state, check.text) for check in found], [_STYLES[check.state] for check in found])
    output.document({"checks": [dataclasses.asdict(check) for check in found]})
    if any(check.state == BAD for check in found):
        raise typer.Exit(DeviceError.exit_code)


def checks(workspace: Path, devices: str) -> Iterator[Check]:
    """Look at this machine.

    Parameters
    ----------
    workspace : Path
        Where the disk is measured; need not exist.
    devices : str
        As ``--devices``.

    Yields
    ------
    Check
        One line of the report.
    """
    yield Check("elfs", OK, f"{elfs.__version__}, Python {platform.python_version()}, {platform.platform()}")
    packages = {name: _package(name, absence) for name, absence in _PACKAGES.items()}
    yield from packages.values()
    if packages["torch"].state == OK:
        yield from _devices(devices)
    yield _disk(workspace)
    yield from _caches()


def _package(name: str, absence: str) -> Check:
    """Import one package and name its version."""
    try:
        module: Any = importlib.import_module(name)
    except (ImportError, OSError) as error:
        return Check(name, NOTE, absence) if absence else Check(name, BAD, f"cannot be imported: {error}")
    return Check(name, OK, str(getattr(module, "__version__", "version unknown")))


def _devices(devices: str) -> Iterator[Check]:
    """Name the CPUs, every GPU, and what ``--devices`` comes to."""
    import torch

    from elfs.train.devices import parse_devices
    from elfs.train.runtime import available_cpus

    yield Check("cpu", OK, f"{available_cpus()} CPUs, torch uses {torch.get_num_threads()} threads")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Check(f"gpu {index}", OK, f"{properties.name}, {properties.total_memory / _GIB:.0f} GiB")
    try:
        yield Check("devices", OK, f"{devices} = {parse_devices(devices).resolve()}")
    except DeviceError as error:
        yield Check("devices", BAD, error.message)


def _disk(workspace: Path) -> Check:
    """Measure the disk that the workspace is or will be on, and whether it can be written."""
    place = workspace.absolute()
    while not place.exists():
        place = place.parent
    free_gib = shutil.disk_usage(place).free / _GIB
    if not os.access(place, os.W_OK):
        return Check("workspace", BAD, f"{workspace}: {place} may not be written")
    return Check("workspace", OK, f"{workspace}: {free_gib:,.1f} GiB free")


def _caches() -> Iterator[Check]:
    """Name the folders of data sets and weights, and say whether pretrained weights can be had."""
    from elfs.data.sources.torchvision_sets import default_data_root

    yield Check("data sets", OK, f"{default_data_root()}")
    cache = Path(os.environ.get("HF_HOME") or Path("~/.cache/huggingface").expanduser()) / "hub"
    stored = sorted(path.name.removeprefix("models--timm--") for path in cache.glob("models--timm--*"))
    if stored:
        yield Check("weights", OK, f"{cache}: {', '.join(stored)}")
    elif os.environ.get("HF_HUB_OFFLINE") or not _reaches(_HUB):
        text = f"none in {cache}, and {_HUB} cannot be reached: give --weights FILE, or use the encoder 'patches'"
        yield Check("weights", NOTE, text)
    else:
        yield Check("weights", OK, f"none in {cache} yet; {_HUB} can be reached")


def _reaches(host: str) -> bool:
    """Return whether a host answers within a few seconds."""
    try:
        with socket.create_connection((host, 443), timeout=_TIMEOUT_SECONDS):
            return True
    except OSError:
        return False
