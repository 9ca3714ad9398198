"""Shell completion as static scripts: every word is in the script, so that Tab never starts Python.

Only folders, files and the names of selections are looked up, by the shell itself.
"""

from dataclasses import dataclass
from typing import Any

from elfs.cli._words import DIRECTORY, FILE, LISTS, SELECTION

__all__ = ["CommandWords", "OptionWords", "command_words", "written"]

_PATHS = (DIRECTORY, FILE, SELECTION, LISTS)


@dataclass(frozen=True, slots=True)
class OptionWords:
    """What completion knows of one option or argument.

    Attributes
    ----------
    spellings : tuple of str
        How it is written, ``--no-`` forms too; empty for an argument.
    help : str
        One line, without the default.
    takes_value : bool
        False for a flag.
    values : tuple of str
        Words that it takes, where they are known.
    meanings : tuple of str
        What each of them means; empty where nothing is said of it.
    paths : str
        ``DIRECTORY``, ``FILE``, ``SELECTION`` or ``LISTS`` where it takes such; else empty.
    """

    spellings: tuple[str, ...]
    help: str
    takes_value: bool
    values: tuple[str, ...]
    meanings: tuple[str, ...]
    paths: str


@dataclass(frozen=True, slots=True)
class CommandWords:
    """What completion knows of one command.

    Attributes
    ----------
    name, help : str
        How it is called and what it does.
    options : tuple of OptionWords
        In the order of its help.
    argument : OptionWords or None
        Its one argument.
    """

    name: str
    help: str
    options: tuple[OptionWords, ...]
    argument: OptionWords | None


def command_words(root: Any) -> list[CommandWords]:
    """Read the commands out of the assembled application.

    Parameters
    ----------
    root : Any
        The group that ``typer.main.get_command`` returns.

    Returns
    -------
    list of CommandWords
        In the order of the help; hidden options are left out.
    """
    context = root.make_context("elfs", [], resilient_parsing=True)
    found = []
    for name, command in root.commands.items():
        options = tuple(
            _option(param, context)
            for param in command.get_params(context)
            if param.param_type_name == "option" and not param.hidden
        )
        arguments = [_option(param, context) for param in command.params if param.param_type_name == "argument"]
        found.append(CommandWords(name, command.help, options, arguments[0] if arguments else None))
    return found


def _option(param: Any, context: Any) -> OptionWords:
    is_option = param.param_type_name == "option"
    takes_value = not (is_option and param.is_flag)
    found = param.shell_complete(context, "") if takes_value else ()
    words = tuple(item.value for item in found)
    meanings = tuple(item.help or "" for item in found)
    placeholder = param.metavar or ""
    placeholder = {"SOURCE": DIRECTORY, "FILE|REGEX": FILE}.get(placeholder, placeholder)
    paths = placeholder if placeholder in _PATHS else ""
    spellings = tuple(written(param)) if is_option else ()
    text = (param.help or "").split(" \\[")[0].rstrip(".")
    return OptionWords(spellings, text, takes_value, words, meanings, paths)


def written(param: Any) -> list[str]:
    """Return how an option is written.

    Parameters
    ----------
    param : Any
        An option of the assembled application.

    Returns
    -------
    list of str
        Long spelling first (the parser keeps those of ``--help`` in no particular order), ``--no-`` forms last.
    """
    return [*sorted(param.opts, key=len, reverse=True), *param.secondary_opts]
