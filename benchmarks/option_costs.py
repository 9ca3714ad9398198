"""What a dry run says of stages by other options than the defaults, beside what that took.

    python benchmarks/option_costs.py

CPU seconds of one thread; embeddings are drawn about so many centres, and the digits.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from elfs.config import (
    ClusterConfig,
    DynamicsConfig,
    EmbedConfig,
    LabelConfig,
    ScoreConfig,
    SelectConfig,
    StageConfig,
    TrainConfig,
)
from elfs.evaluation.train import train
from elfs.evaluation.train_plan import forecast
from elfs.parallel.runtime import Runtime
from elfs.pipeline.execution import execute
from elfs.stages.estimates.chain import chain_costs
from elfs.stages.estimates.costs import START_SECONDS

ROWS, DIMS, CLUSTERS = 20_000, 256, 20
RUNTIME = Runtime(devices="cpu", num_workers=0)


def line(what: str, said: float | None, work: Callable[[], object]) -> None:
    """Do something and print what it was said to take, and what it took."""
    start = time.process_time()
    work()
    took = time.process_time() - start
    assert said is not None
    print(f"| {what} | {said:.1f} | {took:.1f} | {said / took:.2f} |", flush=True)


def stage_line(workspace: Path, stage: str, config: StageConfig, what: str) -> None:
    """Run a stage."""
    said = chain_costs(workspace, None, {stage: config}, [stage])[stage].seconds
    line(what, said, lambda: execute(stage, workspace, config, RUNTIME, force=True))


def trainings(workspace: Path, what: str, networks: Sequence[str]) -> None:
    """Train each network on the selection made last; to start a process, which is said too, takes nothing here."""
    for network in networks:
        config = TrainConfig(network=network)
        said = forecast(workspace, config, RUNTIME)["seconds"] - START_SECONDS
        line(f"{what}: train {network}", said, partial(train, workspace, config, RUNTIME))


def selections(workspace: Path, what: str, methods: dict[str, SelectConfig]) -> None:
    """Select by each method."""
    for name, config in methods.items():
        stage_line(workspace, "select", config, f"{what}: select {name}")


def main() -> None:
    """Print one table."""
    print("| | said, s | took, s | ratio |\n|---|---:|---:|---:|")
    draws = np.random.default_rng(0)
    centres, own = draws.normal(size=(CLUSTERS, DIMS)), draws.integers(CLUSTERS, size=ROWS)
    drawn, what = centres[own] + draws.normal(size=(ROWS, DIMS)), f"{ROWS:,} x {DIMS}"
    search = SelectConfig(method="elfs", hard_rate="search", budget="0.3")
    with tempfile.TemporaryDirectory() as folder:
        workspace, file = Path(folder) / "w", f"{folder}/own.npy"
        np.save(file, drawn.astype(np.float32))
        for way in ("ivf", "exact"):
            embed = EmbedConfig(source="embeddings", embeddings=file, neighbor_search=way)
            stage_line(workspace, "embed", embed, f"{what}: embed, {way}")
        heads = ClusterConfig(method="temi", clusters=CLUSTERS, heads=20, epochs=1)
        stage_line(workspace, "cluster", heads, f"{what}: cluster, 20 heads, an epoch")
        stage_line(workspace, "label", LabelConfig(), f"{what}: label by 20 heads")
        stage_line(workspace, "dynamics", DynamicsConfig(epochs=3), f"{what}: dynamics, 3 epochs")
        stage_line(workspace, "score", ScoreConfig(), f"{what}: score, 3 epochs")
        methods = ("auto", "facility-location", "typiclust", "elfs", "random", "k-center", "herding", "badge")
        picked = {name: SelectConfig(method=name) for name in methods}
        selections(workspace, what, picked | {"elfs, searched": search})
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "w"
        for stage, config in {
            "embed": EmbedConfig(source="digits"),
            "cluster": ClusterConfig(method="kmeans"),
            "label": LabelConfig(),
            "dynamics": DynamicsConfig(epochs=2),
            "score": ScoreConfig(window=2),
        }.items():
            execute(stage, workspace, config, RUNTIME)
        selections(workspace, "digits", {"elfs, searched": search, "auto, 10 %": SelectConfig(method="auto")})
        trainings(workspace, "digits", ("resnet8", "resnet18", "mlp", "linear"))


if __name__ == "__main__":
    main()
