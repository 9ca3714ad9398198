"""How the fields of the stages' configs are called: on the command line, and as keywords in Python."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from elfs.config import CONFIGS

__all__ = ["hidden_spellings", "option_fields", "plain_spelling", "spellings"]

_PLAIN = {"method": "select"}
"""Names that stages share, and the stage that keeps the plain one where they stand in one command."""


def plain_spelling(name: str) -> str:
    """Return the option that a field has in its own stage's command.

    Parameters
    ----------
    name : str
        Name of the field.

    Returns
    -------
    str
        ``--batch-size`` for ``batch_size``.
    """
    return "--" + name.replace("_", "-")


def spellings(stages: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return how the options of several stages are written in one command.

    Parameters
    ----------
    stages : sequence of str
        Keys of ``CONFIGS``.

    Returns
    -------
    dict
        Stage to field to option; a name that two stages share gets the stage before it: ``--cluster-epochs``. The
        method of select keeps its name.
    """
    shared = _shared_names(stages)
    return {
        stage: {
            name: plain_spelling(f"{stage}_{name}" if name in shared and _PLAIN.get(name) != stage else name)
            for name in option_fields(stage)
        }
        for stage in stages
    }


def hidden_spellings(stages: Sequence[str], stage: str, name: str) -> tuple[str, ...]:
    """Return how an option may be written too, without being shown.

    Parameters
    ----------
    stages : sequence of str
        Stages of the command.
    stage, name : str
        One of them, and one of its fields.

    Returns
    -------
    tuple of str
        The field's aliases; ``--select-method`` where ``--method`` is that of select.
    """
    aliases: tuple[str, ...] = option_fields(stage)[name].metadata["aliases"]
    is_plain = name in _shared_names(stages) and _PLAIN.get(name) == stage
    return (*aliases, plain_spelling(f"{stage}_{name}")) if is_plain else aliases


def _shared_names(stages: Sequence[str]) -> set[str]:
    count = Counter(name for stage in stages for name in option_fields(stage))
    return {name for name in count if count[name] > 1}


def option_fields(stage: str) -> dict[str, "dataclasses.Field[Any]"]:
    """Return the fields of a stage's config that are options of its command.

    Parameters
    ----------
    stage : str
        A key of ``CONFIGS``.

    Returns
    -------
    dict
        Field name to field, in the order of the config, those that it shares with others last; internal fields are left
        out.
    """
    own = CONFIGS[stage].__annotations__
    fields = sorted(dataclasses.fields(CONFIGS[stage]), key=lambda item: item.name not in own)
    return {item.name: item for item in fields if not item.metadata.get("internal", False)}
