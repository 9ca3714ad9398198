"""Ways to damage a workspace, and the commands that read one."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from elfs.config import TrainConfig
from elfs.delivery.export import ExportOptions, prepare_export
from elfs.delivery.report import write_report
from elfs.evaluation.evaluate import evaluate
from elfs.evaluation.train import train
from elfs.parallel.runtime import Runtime
from elfs.pipeline.graph import STAGES
from elfs.workspace.files import sha256_file
from elfs.workspace.tensors import save_tensors
from tests.chain import run_stage

READERS: dict[str, tuple[tuple[str, ...], Callable[[Path], object]]] = {
    "cluster": (STAGES["cluster"].needs, lambda path: run_stage("cluster", path, force=True)),
    "label": ((*STAGES["label"].needs, "clusters"), lambda path: run_stage("label", path, force=True)),
    "dynamics": (STAGES["dynamics"].needs, lambda path: run_stage("dynamics", path, force=True)),
    "score": (STAGES["score"].needs, lambda path: run_stage("score", path, force=True)),
    "select": (STAGES["select"].needs, lambda path: run_stage("select", path, name="other")),
    "report": (
        ("samples", "pseudo_labels", "scores"),
        lambda path: write_report(path, None, path.parent / "report.html"),
    ),
    "export": (("samples",), lambda path: prepare_export(path, None, ExportOptions(format="json")).document()),
    "evaluate": (("samples", "pseudo_labels"), lambda path: evaluate(path, None)),
    "train": (
        ("samples", "embeddings"),
        lambda path: train(path, TrainConfig(iterations=2), Runtime(devices="cpu"), force=True),
    ),
}
"""Commands to the artifacts of `tests.chain` that they read, and a call of each."""


def tensor_places(path: Path) -> dict[str, tuple[int, int, str]]:
    """Return where each tensor of a safetensors file begins and ends, and its dtype."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, stop = entry["data_offsets"]
            found[name] = 8 + size + start, 8 + size + stop, entry["dtype"]
    return found


def flip(path: Path, position: int, bit: int = 7) -> None:
    """Flip one bit of a file, in place."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ (1 << bit)]))


def flip_value(path: Path, tensor: str) -> None:
    """Flip the sign of an element in the middle of a tensor."""
    start, stop, dtype = tensor_places(path)[tensor]
    size = {"8": 1, "6": 2, "2": 4, "4": 8, "L": 1}[dtype[-1]]
    flip(path, start + (stop - start) // size // 2 * size + size - 1)


@contextmanager
def edited_manifest(workspace: Path) -> Iterator[dict[str, Any]]:
    """Let a manifest be changed as people do who remove its digest."""
    path = workspace / "manifest.json"
    document = json.loads(path.read_bytes())
    yield document
    document.pop("digest", None)
    path.write_text(json.dumps(document))


def restate(workspace: Path, artifact: str, tensors: dict[str, np.ndarray]) -> None:
    """Put other values in an artifact's place and state their digest in the manifest."""
    with edited_manifest(workspace) as document:
        entry = document["artifacts"][artifact]
        (file,) = (file for file in entry["files"] if file["name"].endswith(".safetensors"))
        path = workspace / file["name"]
        save_tensors(path, tensors)
        file["digest"], file["num_bytes"] = sha256_file(path), path.stat().st_size
        old, entry["digest"] = entry["digest"], file["digest"]
        for record in document["records"].values():
            record["inputs"] = {name: file["digest"] if had == old else had for name, had in record["inputs"].items()}
