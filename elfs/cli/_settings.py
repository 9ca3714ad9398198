"""Where an option's value comes from: flag or variable, smoke settings, ``elfs.toml``, recorded config, default."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elfs.config import CONFIGS, SMOKE, StageConfig, as_json, field_type, from_json
from elfs.config.options import out_of_bounds
from elfs.config.spellings import option_fields
from elfs.errors import UsageError
from elfs.suggestions import suggestion

__all__ = ["FILE_NAME", "Settings", "load_settings", "parse_count", "parse_option", "resolve", "unknown_variables"]

FILE_NAME = "elfs.toml"
_WORDS = ("devices", "workers", "rank_timeout")
"""Settings beside the seed that belong to no stage; all are read as text."""

_KINDS = {int: "a whole number", float: "a number"}


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``elfs.toml`` says; everything is None or empty where there is no such file.

    Attributes
    ----------
    devices : str or None
        As ``--devices``.
    seed : int or None
        As ``--seed``.
    workers : str or None
        As ``--workers``.
    rank_timeout : str or None
        As ``--rank-timeout``.
    tables : dict
        Stage name to field name to value, checked, with ``"auto"`` already None.
    """

    devices: str | None = None
    seed: int | None = None
    workers: str | None = None
    rank_timeout: str | None = None
    tables: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def values(self, stage: str) -> dict[str, Any]:
        """Return what the file says about one stage.

        Parameters
        ----------
        stage : str
            A key of ``CONFIGS``.

        Returns
        -------
        dict
            Field name to value; the seed too, where the stage has one.
        """
        found = dict(self.tables.get(stage, {}))
        if self.seed is not None and any(item.name == "seed" for item in dataclasses.fields(CONFIGS[stage])):
            found["seed"] = self.seed
        return found


def unknown_variables(stages: Iterable[str], environment: Iterable[str]) -> list[str]:
    """Return what to say of variables that look like an option of a stage and are none.

    Parameters
    ----------
    stages : iterable of str
        Keys of ``CONFIGS``; variables of others are theirs to judge.
    environment : iterable of str
        Names of all variables.

    Returns
    -------
    list of str
        A sentence for each, sorted by name.
    """
    found = []
    names = sorted(environment)
    for stage in stages:
        prefix, known = f"ELFS_{stage.upper()}_", [name.upper() for name in option_fields(stage)]
        for name in names:
            if name.startswith(prefix) and (option := name.removeprefix(prefix)) not in known:
                advice = suggestion(option, known).replace("'", f"'{prefix}", 1)
                found.append(f"the variable {name} is no option and has no effect.{advice}")
    return found


def load_settings(workspace: Path) -> Settings:
    """Read ``elfs.toml`` beside a workspace.

    Parameters
    ----------
    workspace : Path
        The workspace, which need not exist.

    Returns
    -------
    Settings
        Checked; empty where there is no file.

    Raises
    ------
    UsageError
        If the file is no TOML, names a setting that does not exist, or gives one a value that it cannot take.
    """
    path = workspace.absolute().parent / FILE_NAME
    if path.is_fifo():
        raise UsageError(f"{path} is a pipe, expected a file.")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Settings()
    import tomllib

    try:
        document = tomllib.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits are no TOMLDecodeError
        raise UsageError(f"{path} is not valid TOML: {error}.") from None
    _refuse_unknown(str(path), document, ["devices", "rank_timeout", "seed", "workers", *CONFIGS])
    for name in ("seed", *_WORDS):
        _require_setting(path, name, document.get(name))
    words = {name: str(document[name]) for name in _WORDS if name in document}
    tables = {stage: _table(path, stage, document[stage]) for stage in CONFIGS if stage in document}
    return Settings(seed=document.get("seed"), tables=tables, **words)


def _require_setting(path: Path, name: str, value: Any) -> None:
    """Refuse a value that a setting of no stage cannot have."""
    if value is None:
        return
    if isinstance(value, int) and (problem := out_of_bounds(value)):
        raise UsageError(f"{path}: {name}{problem}")
    if name == "seed":
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise UsageError(f"{path}: seed is {value!r}, expected a whole number of at least 0.")
    elif not isinstance(value, int | str) or isinstance(value, bool):
        raise UsageError(f"{path}: {name} is {value!r}, expected text or a whole number.")


def _refuse_unknown(where: str, given: Mapping[str, Any], known: list[str]) -> None:
    for key in given:
        if key not in known:
            raise UsageError(
                f"{where}: unknown setting {key!r}.{suggestion(key, known)} Available: {', '.join(sorted(known))}."
            )


def _table(path: Path, stage: str, values: Any) -> dict[str, Any]:
    """Return one stage's table with plain values, or refuse it by the name of the file."""
    where = f"{path}, [{stage}]"
    if not isinstance(values, dict):
        raise UsageError(f"{path}: {stage} is {values!r}, expected a table [{stage}].")
    fields = option_fields(stage)
    _refuse_unknown(where, values, list(fields))
    table = {}
    for name, value in values.items():
        plain, optional = field_type(fields[name])
        if optional and value == "auto":
            value = None
        elif plain is str and isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        table[name] = value
    try:
        from_json(CONFIGS[stage], table)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}") from None
    return table


def parse_option(item: "dataclasses.Field[Any]", spelling: str, text: str) -> Any:
    """Read the value of one option.

    Parameters
    ----------
    item : dataclasses.Field
        The config field that the option sets.
    spelling : str
        How the option is written, for the error.
    text : str
        What was typed, or what a variable holds.

    Returns
    -------
    Any
        A str, int or float; None for ``auto`` where the field allows it.

    Raises
    ------
    UsageError
        If the text is no value of the field's type.
    """
    plain, optional = field_type(item)
    if optional and text.strip().lower() == "auto":
        return None
    if plain is str:
        return text
    try:
        return plain(text)
    except ValueError:
        alternative = " or auto" if optional else ""
        raise UsageError(f"{spelling} is {text!r}, expected {_KINDS[plain]}{alternative}.") from None


_COUNT = re.compile("[0-9]{1,6}")


def parse_count(spelling: str, text: str | None) -> int | None:
    """Read a whole number of at least 0, or ``auto``.

    Parameters
    ----------
    spelling : str
        How the option is written, for the error.
    text : str or None
        What was typed; None if nothing was.

    Returns
    -------
    int or None
        None for ``auto`` and for nothing.

    Raises
    ------
    UsageError
        If the text is neither.
    """
    if text is None or text.strip().lower() == "auto":
        return None
    if not _COUNT.fullmatch(text.strip()):
        raise UsageError(f"{spelling} is {text!r}, expected a whole number of at least 0 or auto.")
    return int(text.strip())  # which takes off more than int does


def resolve(
    stage: str,
    flags: Mapping[str, Any],
    settings: Settings,
    *,
    smoke: bool = False,
    base: StageConfig | None = None,
) -> StageConfig:
    """Return a stage's config, each field from the first place that names it.

    Parameters
    ----------
    stage : str
        A key of ``CONFIGS``.
    flags : Mapping
        Field name to parsed value, for every option that a flag or a variable gives; None stands for ``auto``.
    settings : Settings
        What ``elfs.toml`` says.
    smoke : bool
        Whether the smoke settings apply: below the flags, above ``elfs.toml``.
    base : StageConfig or None
        What applies where nothing else speaks; None for the dataclass defaults.

    Returns
    -------
    StageConfig
        A checked config.

    Raises
    ------
    UsageError
        If a value is out of its range.
    """
    merged: dict[str, Any] = {} if base is None else as_json(base)
    merged |= settings.values(stage)
    merged |= SMOKE.get(stage, {}) if smoke else {}
    merged |= flags
    return from_json(CONFIGS[stage], merged)
