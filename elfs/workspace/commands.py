"""Commands that make what a workspace holds, as a person types them. Importing this costs no torch."""

import dataclasses
import os
import shlex
from pathlib import Path

from elfs.config import CONFIGS, DEFAULT_WORKSPACE, SMOKE, StageConfig, from_json
from elfs.errors import UsageError
from elfs.source_names import typed_source
from elfs.workspace.freshness import annotated_since, changed_inputs
from elfs.workspace.manifest import Manifest
from elfs.workspace.records import Record

__all__ = ["command_line", "config_of", "rebuilding", "told_config"]


def config_of(record: Record) -> StageConfig:
    """Return what a record was made with.

    Parameters
    ----------
    record : Record
        Of one of the stages, maybe made by another version of elfs.

    Returns
    -------
    StageConfig
        Options that this elfs does not know are left out, those that the record does not know have their defaults.

    Raises
    ------
    UsageError
        If an option has a value that this elfs does not know.
    """
    known = {field.name for field in dataclasses.fields(CONFIGS[record.stage])}
    return from_json(CONFIGS[record.stage], {name: value for name, value in record.config.items() if name in known})


def told_config(record: Record) -> StageConfig:
    """Return the config of a record without what ``--smoke`` set, which would make a real run as meaningless.

    Parameters
    ----------
    record : Record
        As `config_of` takes it.

    Returns
    -------
    StageConfig
        What a person asked for.
    """
    config = config_of(record)
    smoke = SMOKE.get(record.stage, {}) if record.smoke else {}
    fields = [field for field in dataclasses.fields(config) if field.name in smoke]
    return dataclasses.replace(
        config, **{field.name: field.default for field in fields if getattr(config, field.name) == smoke[field.name]}
    )


def command_line(stage: str, config: StageConfig | None, path: Path, source_root: str | None = None) -> str:
    """Return the command that runs a stage with a config.

    Parameters
    ----------
    stage : str
        Name of the stage.
    config : StageConfig or None
        Only what differs from the defaults is spelled out.
    path : Path
        The workspace; named unless it is the default one.
    source_root : str or None
        Folder of the images, named where the source is one; left out, embed takes the recorded folder.

    Returns
    -------
    str
        A line for a shell.
    """
    words = ["elfs", stage]
    if stage == "embed" and config is None:
        words.append("SOURCE")
    for field in dataclasses.fields(config) if config is not None else ():
        value = getattr(config, field.name)
        if field.name == "source":
            typed = typed_source(value, source_root)
            words += [] if typed is None else [typed]
        elif value != field.default:
            flag = "--" + field.name.replace("_", "-")
            if isinstance(value, bool):
                words.append(flag if value else flag.replace("--", "--no-", 1))
            else:
                words += [flag, str(value)]
    if path != DEFAULT_WORKSPACE and os.environ.get("ELFS_WORKSPACE") != str(path):
        words += ["--workspace", str(path)]
    return shlex.join(words)


def rebuilding(manifest: Manifest, record: str, path: Path) -> str | None:
    """Return the command that makes a record's artifacts anew, as they were.

    Parameters
    ----------
    manifest : Manifest
        What the workspace says.
    record : str
        A record in it.
    path : Path
        The workspace.

    Returns
    -------
    str or None
        None where no command can: a selection that was made from what has changed since would become another list.
    """
    entry = manifest.records[record]
    if entry.stage not in CONFIGS:
        return None
    if entry.stage == "select" and (changed_inputs(manifest, record) or annotated_since(manifest, record)):
        return None
    try:
        config = config_of(entry)
    except (UsageError, TypeError):  # of another version, which knows other options
        return f"{command_line(entry.stage, None, path)} --force"
    if entry.stage == "select":
        config = dataclasses.replace(config, **{"name": record.partition("/")[2]})
    again = command_line(entry.stage, config, path, manifest.source_root)
    return f"{again} --smoke --force" if entry.smoke and entry.stage in SMOKE else f"{again} --force"
