"""The options: shared ones as ``Annotated`` aliases, those of a stage made from the fields of its config.

A command is written as a function of an ``Invocation`` and of what it alone takes. ``command`` gives it the signature
that Typer reads, so that name, type, default, help, variable and completion of every option are stated once.
"""

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from elfs.catalog import ENCODERS, NETWORKS, SELECTORS
from elfs.cli._errors import naming_workspace
from elfs.cli._help import HelpAllOption
from elfs.cli._invocation import Invocation
from elfs.cli._ranks import own_place
from elfs.cli._settings import parse_option, unknown_variables
from elfs.cli._shared_options import SHARED, STAGE_SHARED
from elfs.cli._words import DIRECTORY, FILE, LISTS, SELECTION, words
from elfs.config import CONFIGS, DEFAULT_WORKSPACE, field_type
from elfs.config.spellings import hidden_spellings, option_fields, spellings
from elfs.errors import ElfsError
from elfs.models.published import PUBLISHED

__all__ = ["command"]

_SWITCHES = "Switches"
_MAX_PLACEHOLDER = 20
_FIELD_PLACEHOLDERS = {
    "data_root": DIRECTORY,
    "files": FILE,
    "weights": FILE,
    "embeddings": FILE,
    "ids": FILE,
    "labels": FILE,
    "groups": "FILE|REGEX",
    "metadata": FILE,
    "selection": SELECTION,
    "include": LISTS,
    "exclude": LISTS,
    "budget": "SHARE|COUNT",
    "holdout": "SHARE|COUNT",
    "methods": "METHODS",
    "budgets": "BUDGETS",
}
_FIELD_WORDS: dict[str, Mapping[str, Any]] = {
    "encoder": ENCODERS | dict.fromkeys(PUBLISHED, ""),
    "network": NETWORKS,
    "methods": {"all": ""} | SELECTORS,
}
_TYPE_PLACEHOLDERS = {int: "INTEGER", float: "NUMBER", str: "TEXT"}


def _choices(item: "dataclasses.Field[Any]") -> tuple[str, ...]:
    return tuple(item.metadata["choices"] or ())


def _placeholder(item: "dataclasses.Field[Any]") -> str:
    """Return what stands for the value in the help: the choices themselves where they fit."""
    plain, optional = field_type(item)
    if choices := _choices(item):
        text = "|".join(("auto", *choices) if optional else choices)
        return text if len(text) <= _MAX_PLACEHOLDER else item.name.upper()
    return _FIELD_PLACEHOLDERS.get(item.name, _TYPE_PLACEHOLDERS.get(plain, ""))


def _field_help(item: "dataclasses.Field[Any]") -> str:
    """Return the help of a field with its choices and default, brackets escaped against rich's markup."""
    text = str(item.metadata["help"])
    if (choices := _choices(item)) and _placeholder(item) == item.name.upper():
        sentence, bracket, rule = text.partition(" [")
        text = f"{sentence.rstrip('.')}: {', '.join(choices)}.{bracket}{rule}"
    plain, optional = field_type(item)
    if optional:
        text = text.replace("[auto: ", "[default: auto = ")
    elif plain is not bool and "[default:" not in text:
        text += f" [default: {item.default}]"
    elif plain is bool:
        text += f" [default: {'yes' if item.default else 'no'}]"
    return text.replace("[", "\\[")


def _field_option(stage: str, item: "dataclasses.Field[Any]", declaration: str, panel: str | None) -> Any:
    """Return the annotation of one option of a stage."""
    plain, optional = field_type(item)
    known: Mapping[str, Any] = item.metadata["choices"] or _FIELD_WORDS.get(item.name, {})
    if known and optional:
        known = {"auto": ""} | dict(known)
    option = typer.Option(
        declaration,
        envvar=f"ELFS_{stage}_{item.name}".upper(),
        show_envvar=False,
        show_default=False,
        metavar=_placeholder(item),
        autocompletion=words(known) if known else None,
        help=_field_help(item),
        rich_help_panel=_SWITCHES if plain is bool else panel,
    )
    return Annotated[bool | None if plain is bool else str | None, option]


def _keyword(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _stage_parameters(stages: Sequence[str]) -> list[inspect.Parameter]:
    """Return the parameters ``<stage>__<field>`` that stand for the options of the stages."""
    parameters = []
    for stage, written in spellings(stages).items():
        panel = stage.capitalize() if len(stages) > 1 else None
        for name, item in option_fields(stage).items():
            spelling = written[name]
            is_flag = field_type(item)[0] is bool
            declaration = f"{spelling}/--no-{spelling[2:]}" if is_flag else spelling
            parameters.append(_keyword(f"{stage}__{name}", _field_option(stage, item, declaration, panel)))
            for position, alias in enumerate(hidden_spellings(stages, stage, name)):
                hidden = Annotated[str | None, typer.Option(alias, hidden=True)]
                parameters.append(_keyword(f"{stage}__{name}__{position}", hidden))
    return parameters


def _flags(stages: Sequence[str], values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Take the values of the stage options out of `values`, parsed; aliases count where the option was not given."""
    found: dict[str, dict[str, Any]] = {}
    for stage, written in spellings(stages).items():
        found[stage] = {}
        for name, item in option_fields(stage).items():
            given = values.pop(f"{stage}__{name}")
            for position in range(len(hidden_spellings(stages, stage, name))):
                alias = values.pop(f"{stage}__{name}__{position}")
                given = alias if given is None else given
            if given is not None:
                is_flag = isinstance(given, bool)
                found[stage][name] = given if is_flag else parse_option(item, written[name], given)
    return found


def command(*stages: str, shared: Sequence[str] = STAGE_SHARED) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a Typer command of a function that takes an ``Invocation`` first.

    Parameters
    ----------
    *stages : str
        Stages whose config fields become options.
    shared : sequence of str
        Shared options that the command takes; a seed only where one of the stages has one.

    Returns
    -------
    Callable
        A decorator; the function's other parameters stay options and arguments of its own.
    """
    seeded = any(field.name == "seed" for stage in stages for field in dataclasses.fields(CONFIGS[stage]))
    names = [name for name in shared if name != "seed" or seeded]

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(body).parameters.values())[1:]
        parameters = [
            *(_keyword(item.name, item.annotation, item.default) for item in own),
            *_stage_parameters(stages),
            *(_keyword(name, *SHARED[name]) for name in names),
            *[_keyword("help_all", HelpAllOption, False)] * ("rank_timeout" in names),
        ]

        @functools.wraps(body)
        def call(**values: Any) -> None:
            values.pop("help_all", None)
            chosen = {name: values.pop(name) for name in names}
            place = own_place()
            if place is not None and place.rank and ("rank_timeout" not in names or chosen.get("dry_run", False)):
                return  # one of several processes: the first one does what cannot be shared
            flags = _flags(stages, values)
            invocation = Invocation(chosen, flags, spellings(stages))
            if chosen.get("verbose", False):
                invocation.output.show_log()
            for sentence in unknown_variables(stages, os.environ):
                invocation.output.warn(sentence)
            try:
                body(invocation, **values)
            except ElfsError as error:
                error.hint = naming_workspace(error.hint, Path(chosen.get("workspace", DEFAULT_WORKSPACE)))
                raise
            invocation.end()

        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {item.name: item.annotation for item in parameters}
        return call

    return decorate
