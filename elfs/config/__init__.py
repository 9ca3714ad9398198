"""One frozen dataclass per stage: every option's name, type, default, bounds and help, stated once.

The command line, ``elfs.toml``, ``ELFS_*`` variables, the manifest and ``docs/cli.md`` are generated from these fields
or checked against them. A field whose value is None is ``auto``: the stage works it out from the data by the rule that
the help states, and records what it chose.
"""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from elfs.config.options import StageConfig, as_json, field_type
from elfs.config.stages import (
    ClusterConfig,
    DynamicsConfig,
    EmbedConfig,
    LabelConfig,
    PlanConfig,
    ScoreConfig,
    SelectConfig,
)
from elfs.config.training import CompareConfig, TrainConfig, TrainingConfig
from elfs.errors import UsageError
from elfs.suggestions import suggestion

__all__ = [
    "CONFIGS",
    "DEFAULT_WORKSPACE",
    "SMOKE",
    "ClusterConfig",
    "CompareConfig",
    "DynamicsConfig",
    "EmbedConfig",
    "LabelConfig",
    "PlanConfig",
    "ScoreConfig",
    "SelectConfig",
    "StageConfig",
    "TrainConfig",
    "TrainingConfig",
    "as_json",
    "field_type",
    "from_json",
]

ConfigT = TypeVar("ConfigT", bound=StageConfig)

DEFAULT_WORKSPACE = Path("elfs-workspace")
"""Where everything is written unless ``--workspace`` or ``ELFS_WORKSPACE`` says otherwise."""

CONFIGS: dict[str, type[StageConfig]] = {
    "embed": EmbedConfig,
    "cluster": ClusterConfig,
    "label": LabelConfig,
    "dynamics": DynamicsConfig,
    "score": ScoreConfig,
    "select": SelectConfig,
    "plan": PlanConfig,
    "train": TrainConfig,
    "compare": CompareConfig,
}

SMOKE: dict[str, dict[str, Any]] = {
    "embed": {"limit": 300, "neighbors": 10},
    "cluster": {"heads": 2, "epochs": 20, "batch_size": 128, "warmup_epochs": 2, "hidden": 64, "bottleneck": 32},
    "dynamics": {"epochs": 4, "batch_size": 64, "image_size": 16},
    "score": {"window": 2},
    "train": {"iterations": 20},
    "compare": {"iterations": 20, "seeds": 2},
}
"""What ``--smoke`` sets: enough to walk every stage's code, far too little to mean anything."""


def from_json(config_class: type[ConfigT], values: dict[str, Any]) -> ConfigT:
    """Return the config that `values` describe, defaults where they are silent.

    Parameters
    ----------
    config_class : type
        Which stage's config.
    values : dict
        Field names to plain values.

    Returns
    -------
    StageConfig
        A checked instance of `config_class`.

    Raises
    ------
    UsageError
        If a key is no field of `config_class`, or a value is out of its range.
    """
    known = [field.name for field in dataclasses.fields(config_class)]
    for key in values:
        if key not in known:
            raise UsageError(f"unknown setting {key!r}.{suggestion(key, known)} Available: {', '.join(known)}.")
    return config_class(**values)
