"""``elfs doctor``."""

import dataclasses
import importlib
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

import elfs
from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.errors import DeviceError, InputDataError

__all__ = ["EXAMPLES", "Check", "body", "checks"]

EXAMPLES = ("elfs doctor", "elfs doctor --devices 0 --json")

USUAL_ENCODER = "vit_base_patch16_224.dino"
SMALL_ENCODER = "lite"

OK, NOTE, BAD = "ok", "note", "bad"

_STYLES = {OK: None, NOTE: "yellow", BAD: "red"}
_PACKAGES = {
    "torch": "",
    "torchvision": "",
    "timm": "",
    "safetensors": "",
    "sklearn": "",
    "faiss": "not there: no inverted lists, and k-means by torch",
}
"""Package to what its absence means; nothing where elfs cannot do without it."""

_GIB = 2**30


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
    found = list(checks(invocation.workspace, invocation.devices))
    output = invocation.output
    output.table([(check.name, check.state, check.text) for check in found], [_STYLES[check.state] for check in found])
    output.document("doctor", {"checks": [dataclasses.asdict(check) for check in found]})
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
    yield _disk(workspace)
    if all(package.state != BAD for package in packages.values()):
        yield from _devices(devices)
        yield _data_sets()
        yield _weights()
        yield _small_weights()


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

    from elfs.parallel.cpus import available_cpus
    from elfs.parallel.devices import parse_devices

    yield Check("cpu", OK, f"{available_cpus()} CPUs, torch uses {torch.get_num_threads()} threads")
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Check(f"gpu {index}", OK, f"{properties.name}, {properties.total_memory / _GIB:.0f} GiB")
    try:
        yield Check("devices", OK, f"{devices} = {', '.join(parse_devices(devices).names())}")
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


def _data_sets() -> Check:
    """Name the folder of named data sets."""
    from elfs.data.sources.torchvision_sets import default_data_root

    root = default_data_root()
    return Check("data sets", OK, f"{root}" if root.exists() else f"{root}, not there yet")


def _weights() -> Check:
    """Say whether the usual encoder's weights are in the cache or can be fetched; without a network this takes long."""
    from elfs.models.encoders import weights_available

    if weights_available(USUAL_ENCODER):
        return Check("weights", OK, f"{USUAL_ENCODER}: cached, or the hub answers")
    advice = "give --weights FILE, or use the encoder 'patches'"
    return Check("weights", NOTE, f"{USUAL_ENCODER}: not cached, and the hub does not answer: {advice}")


def _small_weights() -> Check:
    """Say whether the small encoder's package is installed."""
    from elfs.models.weights import find_weights

    try:
        return Check("lite", OK, f"{find_weights(SMALL_ENCODER)}")
    except InputDataError as error:
        return Check("lite", NOTE, f"not installed; for photographs, {error.hint} brings a small network")
