"""Help as a person reads it, and of a command with many options the usual ones at once, all of them on request."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["HelpAllOption", "PlainCommand", "PlainGroup", "ShortHelp"]

_ALL = "elfs.help-all"

_USUAL = {
    *("source", "select__budget", "select__method", "select__key", "embed__encoder", "cluster__clusters", "help_all"),
    *("workspace", "devices", "seed", "force", "dry_run"),
}
"""Parameters that ``-h`` shows."""


class _Plain:
    """Says nothing of the type of ``--help``, nor of that of an argument, whose name says it."""

    def get_params(self, ctx: Any) -> Any:
        """Return all parameters; Typer would write ``<bool>`` and ``<str>`` behind these."""
        params = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if param.param_type_name == "argument":
                param.display_type_rich = _nothing
            elif "--help" in param.opts:
                param.metavar = ""
        return params


def _nothing(ctx: Any) -> str:
    return ""


class PlainCommand(_Plain, TyperCommand):
    """A command."""


class PlainGroup(_Plain, TyperGroup):
    """All of them."""


class ShortHelp(PlainCommand):
    """A command of which ``-h`` shows the usual options, and ``--help-all`` every one."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help; what is not usual is hidden meanwhile unless all is asked for."""
        rest: list[Any] = [param for param in self.params if param.name not in _USUAL and not _is_hidden(param)]
        for param in [] if ctx.meta.get(_ALL) else rest:
            param.hidden = True
        try:
            super().format_help(ctx, formatter)
        finally:
            for param in rest:
                param.hidden = False


def _is_hidden(param: Any) -> bool:
    return bool(getattr(param, "hidden", False))


def _show_all(context: typer.Context, value: bool) -> None:
    if value:
        context.meta[_ALL] = True
        context.get_help()
        raise typer.Exit


HelpAllOption = Annotated[
    bool,
    typer.Option(
        "--help-all", metavar="", is_eager=True, callback=_show_all, help="Show every option of the six stages."
    ),
]
