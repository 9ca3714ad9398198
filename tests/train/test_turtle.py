"""The training of TURTLE's runs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from elfs.errors import UsageError
from elfs.ops.turtle import soft_labels, unit_parts
from elfs.parallel.runtime import Silence
from elfs.train.features import Features
from elfs.train.turtle import TurtleSettings, TurtleTraining, train_turtle

SETTINGS = TurtleSettings(clusters=3, runs=4, widths=(5, 4), steps=200, batch_size=60, learning_rate=0.05, seed=0)


def blobs() -> Features:
    centres = np.concatenate([4 * np.eye(3, 5), 3 * np.eye(3, 4)], axis=1)[np.arange(90) % 3]
    values = centres + np.random.default_rng(0).normal(0, 0.3, centres.shape)
    return Features(values.astype(np.float32), np.arange(90), torch.device("cpu"))


def trained(path: Path, **changed: float) -> TurtleTraining:
    fields = {name: getattr(SETTINGS, name) for name in SETTINGS.__dataclass_fields__}
    with Silence().task("turtle", 1, "steps") as task:
        return train_turtle(blobs(), TurtleSettings(**fields | changed), checkpoint=path, task=task)


@pytest.mark.slow
def test_blobs_are_found_by_the_run_with_the_least_loss(tmp_path: Path) -> None:
    training = trained(tmp_path / "state.safetensors")
    parts = unit_parts(blobs().take(torch.arange(90)), (5, 4))
    labels = soft_labels(parts, training.weights, 3)[:, int(training.loss.argmin())].argmax(dim=1)
    assert len({(int(label), index % 3) for index, label in enumerate(labels)}) == 3


@pytest.mark.slow
def test_interrupted_training_ends_alike(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole.safetensors")
    trained(tmp_path / "parts.safetensors", steps=100)
    resumed = trained(tmp_path / "parts.safetensors")
    for expected, found in zip([*whole.weights, whole.loss], [*resumed.weights, resumed.loss], strict=True):
        assert torch.equal(expected, found)


def test_divergence_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^turtle diverged in step \d+: the loss is not finite\. Try --learning-rate"):
        trained(tmp_path / "state.safetensors", learning_rate=3e37)
