"""How an option is declared: one dataclass field with its default, bounds and help. Costs no torch."""

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from typing import Any

from elfs.errors import UsageError
from elfs.suggestions import unknown

__all__ = [
    "MAX_INTEGER",
    "OptionError",
    "StageConfig",
    "as_json",
    "field_type",
    "option",
    "option_of",
    "out_of_bounds",
]

MAX_INTEGER = 2**63 - 1
"""The largest whole number that anything may be set to, a seed or a size: it must fit eight bytes."""


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: dict[str, Any] | None = None,
    aliases: tuple[str, ...] = (),
    internal: bool = False,
) -> Any:
    """Declare an option.

    Parameters
    ----------
    default : Any
        Its value where nobody gives one; None stands for ``auto``.
    help : str
        What it does, with the rule of ``auto`` in square brackets.
    minimum, maximum : float or None
        Bounds of a number.
    choices : dict or None
        The values that there are, each with its meaning.
    aliases : tuple of str
        Hidden spellings.
    internal : bool
        Whether it is not shown on the command line.

    Returns
    -------
    Any
        A field of a frozen dataclass.
    """
    metadata = {
        "help": help,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "aliases": aliases,
        "internal": internal,
    }
    return dataclasses.field(default=default, metadata=metadata)


def option_of(config: type["StageConfig"], name: str) -> Any:
    """Declare an option that another config has too, with the same default, bounds and help.

    Parameters
    ----------
    config : type
        The other config.
    name : str
        Field in it.

    Returns
    -------
    Any
        A field of a frozen dataclass.
    """
    (field,) = (field for field in dataclasses.fields(config) if field.name == name)
    return dataclasses.field(default=field.default, metadata=field.metadata)


def field_type(field: "dataclasses.Field[Any]") -> tuple[type, bool]:
    """Return the plain type of a config field, and whether it may be None (``auto``).

    Parameters
    ----------
    field : dataclasses.Field
        A field of a stage's config.

    Returns
    -------
    tuple of (type, bool)
        One of str, int, float, bool; True where None is allowed.
    """
    annotation: Any = field.type
    if isinstance(annotation, types.UnionType):
        plain = [part for part in typing.get_args(annotation) if part is not type(None)]
        return plain[0], True
    return annotation, False


def out_of_bounds(value: int) -> str:
    """Return what is wrong with a whole number that is beyond `MAX_INTEGER` on either side.

    Parameters
    ----------
    value : int
        Of any size.

    Returns
    -------
    str
        What follows the setting's name in a message; empty if nothing is.
    """
    if abs(value) <= MAX_INTEGER:
        return ""
    shown = f"a number of {value.bit_length()} bits" if value.bit_length() > 64 else str(value)
    return f" is {shown}, expected " + (f"at most {MAX_INTEGER}." if value > 0 else f"at least {-MAX_INTEGER}.")


class OptionError(UsageError):
    """A field has a value that it cannot take; which option that is, the command knows that was typed.

    Parameters
    ----------
    field : str
        Its name.
    problem : str
        What follows the option's spelling in the message.
    lead : str
        What comes before it.
    """

    def __init__(self, field: str, problem: str, *, lead: str = "") -> None:
        self.field, self._lead, self._problem = field, lead, problem
        super().__init__(self.spelled("--" + field.replace("_", "-")).message)

    def spelled(self, spelling: str) -> UsageError:
        """Return the error of a command that spells the option in a way of its own."""
        return UsageError(f"{self._lead}{spelling}{self._problem}")


@dataclass(frozen=True, kw_only=True, slots=True)
class StageConfig:
    """What every stage's config shares: the checks that the fields declare."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            plain, optional = field_type(field)
            if value is None:
                if not optional:
                    raise OptionError(field.name, f" needs a value of type {plain.__name__}.")
                continue
            if isinstance(value, int) and (problem := out_of_bounds(value)):
                raise OptionError(field.name, problem)
            if plain is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
                object.__setattr__(self, field.name, value)
            if not isinstance(value, plain) or (plain is not bool and isinstance(value, bool)):
                raise OptionError(field.name, f" is {value!r}, expected {plain.__name__}.")
            self._check_range(field.name, value, field.metadata)

    @staticmethod
    def _check_range(name: str, value: Any, metadata: typing.Mapping[str, Any]) -> None:
        low, high = metadata.get("minimum"), metadata.get("maximum")
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise OptionError(name, f" is {value}, expected a finite number.")
        if low is not None and value < low:
            raise OptionError(name, f" is {shown}, expected at least {low:g}.")
        if high is not None and value > high:
            raise OptionError(name, f" is {shown}, expected at most {high}.")
        choices = metadata.get("choices")
        if choices is not None and value not in choices and not _is_named(value, choices):
            raise OptionError(name, f": {unknown(value, choices)}", lead="unknown value for ")


def _is_named(value: Any, choices: typing.Iterable[str]) -> bool:
    """Return whether a value is a choice of which a part is free, as ``column:weather`` of ``column:NAME``."""
    stems = [choice.removesuffix("NAME") for choice in choices if choice.endswith(":NAME")]
    return any(str(value).startswith(stem) and value != stem for stem in stems)


def as_json(config: StageConfig) -> dict[str, Any]:
    """Return the config as plain JSON values, one per field.

    Parameters
    ----------
    config : StageConfig
        Any stage's config.

    Returns
    -------
    dict
        Field names to values; ``from_json`` gives the equal config back.
    """
    return dataclasses.asdict(config)
