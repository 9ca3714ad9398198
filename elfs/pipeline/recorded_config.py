"""A config as the manifest records it, and the key of a draft that is made with it."""

import dataclasses
from pathlib import Path
from typing import Any

import elfs
from elfs.config import EmbedConfig, PlanConfig, SelectConfig, StageConfig, as_json
from elfs.data.synthetic.spec import canonical_source
from elfs.data.table_names import table_name
from elfs.pipeline.graph import named_parts
from elfs.workspace.files import digest_json

__all__ = ["draft_key", "portable"]


def portable(config: StageConfig) -> StageConfig:
    """Return the config as the manifest records it: no path of this machine.

    Parameters
    ----------
    config : StageConfig
        What the user asked for.

    Returns
    -------
    StageConfig
        Files by name alone, their digests stand among the inputs; nothing of where data sets lie and whether they were
        fetched; a spec of synthetic images in the one way to write it.
    """
    changes: dict[str, Any] = {
        field: Path(value).name
        for field in ("files", "weights", "embeddings", "ids", "labels")
        if (value := getattr(config, field, None)) is not None
    }
    if isinstance(config, PlanConfig | SelectConfig):
        for option in ("include", "exclude"):
            parts = named_parts(getattr(config, option))
            names = [part if part.startswith("selections/") else Path(part).name for part in parts]
            changes |= {option: ",".join(names) or None}
        for option in ("groups", "metadata"):
            named = table_name(getattr(config, option) or "")
            changes |= {} if named is None else {option: named.portable}
    if isinstance(config, EmbedConfig):
        changes |= {"data_root": None, "download": False, "source": canonical_source(config.source)}
    return dataclasses.replace(config, **changes)


def draft_key(config: StageConfig, inputs: dict[str, str]) -> str:
    """Return the key of the draft of a stage.

    Parameters
    ----------
    config : StageConfig
        What the user asked for.
    inputs : dict of str to str
        Artifacts, and outside things, to their digests.

    Returns
    -------
    str
        Changes with anything that decides what the stage makes.
    """
    return digest_json([as_json(portable(config)), inputs, elfs.__version__])
