"""The commands of the stages as functions of Python; options are keywords named as on the command line."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from elfs.api.stage_calls import call
from elfs.api.workspace import SelectionView, open_workspace
from elfs.catalog import STAGES
from elfs.config import CONFIGS, DEFAULT_WORKSPACE, EmbedConfig, SelectConfig, StageConfig, as_json, from_json
from elfs.config.spellings import spellings
from elfs.data.source_choice import choose_source, folder_of
from elfs.errors import UsageError
from elfs.pipeline.job import Outcome
from elfs.pipeline.other_source import other_source, refusal
from elfs.pipeline.status import recorded_config
from elfs.stages.selection.before import refuse_before_run, refuse_network_without_images
from elfs.suggestions import suggestion

__all__ = ["cluster", "dynamics", "embed", "label", "run", "score"]

Place = str | os.PathLike[str]


def embed(
    source: Place | None = None,
    *,
    workspace: Place = DEFAULT_WORKSPACE,
    root: Place | None = None,
    devices: str = "auto",
    force: bool = False,
    **options: Any,
) -> Outcome:
    """Turn images into embeddings and find the nearest neighbours of each.

    Parameters
    ----------
    source : str or path, optional
        A folder of images, or any SOURCE of ``elfs embed``; left out, the one that was embedded last.
    workspace : str or path, default "elfs-workspace"
        Folder that holds everything elfs writes.
    root : str or path, optional
        Where the images are now, if they have moved.
    devices : str, default "auto"
        One device: ``auto``, ``cpu``, ``0``.
    force : bool, default False
        Run even if everything is fresh, and embed other images than the workspace holds.
    **options : Any
        Fields of ``elfs.config.EmbedConfig``, such as ``encoder`` or ``seed``.

    Returns
    -------
    Outcome
        What was made or found.

    Raises
    ------
    ElfsError
        What ``elfs embed`` refuses, with the same message.
    """
    path = Path(workspace)
    recorded = recorded_config(path, "embed") if source is None else None
    told = recorded if isinstance(recorded, EmbedConfig) else None
    place = None if root is None else Path(root)
    config, folder = _embed_config(source, place, _plain(options), told, told if root is not None else None)
    _require_same(path, config, folder, moved=root is not None, force=force)
    return call("embed", path, config, devices=devices, force=force, source_root=folder)


def cluster(
    *, workspace: Place = DEFAULT_WORKSPACE, devices: str = "auto", force: bool = False, **options: Any
) -> Outcome:
    """Group the embeddings.

    Parameters
    ----------
    workspace : str or path, default "elfs-workspace"
        Folder that holds everything elfs writes.
    devices : str, default "auto"
        One device.
    force : bool, default False
        Run even if everything is fresh.
    **options : Any
        Fields of ``elfs.config.ClusterConfig``, such as ``clusters``, ``method`` or ``seed``.

    Returns
    -------
    Outcome
        What was made or found.

    Raises
    ------
    ElfsError
        What ``elfs cluster`` refuses, with the same message.
    """
    return _stage("cluster", workspace, devices, force, options)


def label(
    *, workspace: Place = DEFAULT_WORKSPACE, devices: str = "auto", force: bool = False, **options: Any
) -> Outcome:
    """Give every image the pseudo-label that one head puts on it, or all together.

    Parameters
    ----------
    workspace : str or path, default "elfs-workspace"
        Folder that holds everything elfs writes.
    devices : str, default "auto"
        One device.
    force : bool, default False
        Run even if everything is fresh.
    **options : Any
        Fields of ``elfs.config.LabelConfig``: ``head``.

    Returns
    -------
    Outcome
        What was made or found.

    Raises
    ------
    ElfsError
        What ``elfs label`` refuses, with the same message.
    """
    return _stage("label", workspace, devices, force, options)


def dynamics(
    *, workspace: Place = DEFAULT_WORKSPACE, devices: str = "auto", force: bool = False, **options: Any
) -> Outcome:
    """Train a proxy network on the pseudo-labels and record how every image is learned.

    Parameters
    ----------
    workspace : str or path, default "elfs-workspace"
        Folder that holds everything elfs writes.
    devices : str, default "auto"
        One device.
    force : bool, default False
        Run even if everything is fresh.
    **options : Any
        Fields of ``elfs.config.DynamicsConfig``, such as ``recipe``, ``epochs`` or ``seed``.

    Returns
    -------
    Outcome
        What was made or found.

    Raises
    ------
    ElfsError
        What ``elfs dynamics`` refuses, with the same message.
    """
    return _stage("dynamics", workspace, devices, force, options)


def score(
    *, workspace: Place = DEFAULT_WORKSPACE, devices: str = "auto", force: bool = False, **options: Any
) -> Outcome:
    """Turn training dynamics and embeddings into difficulty scores.

    Parameters
    ----------
    workspace : str or path, default "elfs-workspace"
        Folder that holds everything elfs writes.
    devices : str, default "auto"
        One device.
    force : bool, default False
        Run even if everything is fresh.
    **options : Any
        Fields of ``elfs.config.ScoreConfig``: ``window``, ``seed``.

    Returns
    -------
    Outcome
        What was made or found.

    Raises
    ------
    ElfsError
        What ``elfs score`` refuses, with the same message.
    """
    return _stage("score", workspace, devices, force, options)


def run(
    source: Place | None = None,
    *,
    workspace: Place = DEFAULT_WORKSPACE,
    devices: str = "auto",
    force: bool = False,
    **options: Any,
) -> SelectionView:
    """Run all six stages, those that are fresh already excepted.

    Parameters
    ----------
    source : str or path, optional
        As of `embed`; left out, stages keep what they were told last.
    workspace : str or path, default "elfs-workspace"
        Folder that holds everything elfs writes.
    devices : str, default "auto"
        One device.
    force : bool, default False
        Run even if everything is fresh.
    **options : Any
        Options of ``elfs run`` with ``_`` for ``-``: ``budget``, ``method``, ``key``, ``clusters``, ``cluster_method``,
        ``dynamics_epochs``; ``seed`` is that of every stage.

    Returns
    -------
    SelectionView
        The selection.

    Raises
    ------
    ElfsError
        What ``elfs run`` refuses, with the same message.
    """
    path, by_stage = Path(workspace), _by_stage(_plain(options))
    configs: dict[str, StageConfig] = {}
    base = {stage: recorded_config(path, stage) if source is None else None for stage in STAGES}
    told = base["embed"] if isinstance(base["embed"], EmbedConfig) else None
    configs["embed"], folder = _embed_config(source, None, by_stage["embed"], told, told)
    for stage in STAGES[1:]:
        recorded = base[stage]
        configs[stage] = _config(stage, ({} if recorded is None else as_json(recorded)) | by_stage[stage])
    wanted, select = configs["embed"], configs["select"]
    assert isinstance(wanted, EmbedConfig)
    assert isinstance(select, SelectConfig)
    refuse_before_run(path, wanted, folder, select)
    refuse_network_without_images(path, configs)
    _require_same(path, wanted, folder, moved=False, force=force)
    for stage, config in configs.items():
        source_root = folder if stage == "embed" else None
        outcome = call(stage, path, config, devices=devices, force=force, source_root=source_root)
    return open_workspace(path).selection(outcome.record.partition("/")[2])


def _stage(stage: str, workspace: Place, devices: str, force: bool, options: Mapping[str, Any]) -> Outcome:
    return call(stage, Path(workspace), _config(stage, _plain(options)), devices=devices, force=force)


def _config(stage: str, values: dict[str, Any]) -> StageConfig:
    return from_json(CONFIGS[stage], values)


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as a config takes them: paths and budgets as text."""
    texts = ("budget", "holdout")
    return {
        name: str(value) if isinstance(value, os.PathLike) or (name in texts and value is not None) else value
        for name, value in options.items()
    }


def _by_stage(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Deal the options of ``elfs run`` out to the stages that have them."""
    seed = {"seed": options.pop("seed")} if "seed" in options else {}
    places = {
        written.removeprefix("--").replace("-", "_"): (stage, name)
        for stage, fields in spellings(STAGES).items()
        for name, written in fields.items()
    }
    found: dict[str, dict[str, Any]] = {stage: dict(seed) if stage != "label" else {} for stage in STAGES}
    for name, value in options.items():
        if name not in places:
            raise UsageError(f"unknown option '{name}'.{suggestion(name, list(places))}")
        stage, field = places[name]
        found[stage][field] = value
    return found


def _embed_config(
    source: Place | None,
    root: Path | None,
    options: dict[str, Any],
    recorded: EmbedConfig | None,
    base: EmbedConfig | None,
) -> tuple[EmbedConfig, Path | None]:
    chosen = choose_source(
        None if source is None else os.fspath(source),
        embeddings=options.get("embeddings") is not None,
        recorded=None if recorded is None else recorded.source,
        root=root,
        files=options.get("files") is not None,
    )
    told = {} if base is None or base.source != chosen.name else as_json(base)
    config = from_json(EmbedConfig, told | options | {"source": chosen.name})
    return config, folder_of(chosen, config.data_root)


def _require_same(path: Path, config: StageConfig, folder: Path | None, *, moved: bool, force: bool) -> None:
    assert isinstance(config, EmbedConfig)
    sources = other_source(path, config, folder, moved=moved)
    if sources is not None and not force:
        raise UsageError(f"{refusal(path, sources)}. Give another workspace, or force=True to embed it in their place.")
