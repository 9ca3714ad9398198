"""The whole chain with ImageNet's recipe, on a tree like ImageNet's: class folders, JPEGs of many sizes, a val."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from elfs.config import TrainConfig
from elfs.data.samples import SampleTable, Split
from elfs.data.training_images import StreamedImages
from elfs.evaluation.train import train
from elfs.parallel.runtime import Runtime
from elfs.train.inputs import InputBuilder
from elfs.workspace.workspace import Workspace
from tests.chain import artifacts_of, run_stage

CLASSES = ("n01440764", "n02102040", "n03000684")
NUM_TRAIN, NUM_TEST = 6, 3
RECIPE: dict[str, Any] = {"recipe": "imagenet", "network": "resnet34", "batch_size": 6, "image_size": 72}


def make_tree(root: Path) -> Path:
    """Write 18 training and 9 validation images: a hue for each class, fine texture, 80 to 200 pixels a side."""
    random = np.random.default_rng(0)
    for part, count in (("train", NUM_TRAIN), ("val", NUM_TEST)):
        for channel, name in enumerate(CLASSES):
            folder = root / "imagenet" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                width, height = random.integers(80, 200, 2).tolist()
                pixels = random.integers(0, 120, (height // 4, width // 4, 3))
                pixels[..., channel] += 120
                picture = Image.fromarray(pixels.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
                picture.save(folder / f"{name}_{number}.JPEG", quality=90)
    return root


def save_weights(path: Path, name: str) -> str:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_file(timm.create_model(name).state_dict(), path)
    return str(path)


@pytest.mark.slow
def test_whole_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_tree(tmp_path / "data")
    weights = save_weights(tmp_path / "weights.safetensors", "resnet10t")
    built: list[Any] = []
    build = InputBuilder.build

    def watched(*given: Any) -> Any:
        built.append(build(*given))
        return built[-1]

    monkeypatch.setattr(InputBuilder, "build", watched)
    for num_workers in (0, 1):
        runtime, workspace = Runtime(devices="cpu", num_workers=num_workers), tmp_path / f"workspace-{num_workers}"
        embedding: dict[str, Any] = {"source": "imagenet", "root": root, "encoder": "resnet10t", "weights": weights}
        summary = run_stage("embed", workspace, runtime=runtime, **embedding).summary
        assert (summary["train"], summary["test"], summary["broken"]) == (3 * NUM_TRAIN, 3 * NUM_TEST, 0)
        run_stage("cluster", workspace, runtime=runtime, method="kmeans")
        run_stage("label", workspace)
        run_stage("dynamics", workspace, runtime=runtime, **RECIPE, epochs=2)
        run_stage("score", workspace, window=1)
        run_stage("select", workspace, budget="12")
        report = train(workspace, TrainConfig(**RECIPE, iterations=2), runtime)
        assert report.summary["test_images"] == 3 * NUM_TEST
        assert 0 <= report.summary["mean"] <= 1
    assert artifacts_of(tmp_path / "workspace-0") == artifacts_of(tmp_path / "workspace-1")
    assert {type(inputs) for inputs in built} == {StreamedImages}

    found = Workspace.open(workspace)
    table = SampleTable.from_tensors(found.arrays("samples"))
    assert table.id(0) == "imagenet/train/n01440764/n01440764_0.JPEG"
    assert found.manifest.artifacts["proxy"].metadata["image_size"] == 72
    traces = found.arrays("dynamics")
    assert traces["margin"].shape == (2, 3 * (NUM_TRAIN + NUM_TEST))
    train_rows = table.rows(Split.TRAIN)
    assert np.isfinite(traces["margin"][:, train_rows]).all()
    chosen = found.arrays("selections/aum-12")["indices"]
    assert len(set(chosen.tolist())) == 12
    assert set(chosen.tolist()) <= set(train_rows.tolist())


@pytest.mark.slow
def test_a_folder_of_the_same_shape_has_the_same_splits(tmp_path: Path, workspace: Path) -> None:
    root = make_tree(tmp_path / "data") / "imagenet"
    weights = save_weights(tmp_path / "weights.safetensors", "vit_tiny_patch16_224")
    options: dict[str, Any] = {"source": "folder", "root": root, "encoder": "vit_tiny_patch16_224", "weights": weights}
    summary = run_stage("embed", workspace, **options, limit=18, batch_size=18).summary
    assert (summary["train"], summary["test"], summary["dimensions"]) == (12, 6, 192)
    assert np.isfinite(Workspace.open(workspace).arrays("embeddings")["embeddings"]).all()
