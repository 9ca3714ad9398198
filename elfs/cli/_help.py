"""Help as a person reads it, and of a command with many options the usual ones at once, all of them on request."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["HelpAllOption", "PlainCommand", "PlainGroup"]

_ALL = "elfs.help-all"

_USUAL = {
    "run": "--budget --method --key --encoder --clusters",
    "embed": "--encoder --list-encoders --weights --embeddings --ids --files --root --limit",
    "cluster": "--clusters --method",
    "label": "--head",
    "dynamics": "--recipe --network --epochs",
    "score": "--window --list",
    "select": "--budget --method --list --key --balance --include --exclude --holdout --groups --per-group --name",
    "plan": "--budgets --method --key --balance --include --exclude --groups --per-group",
    "train": "--labels --selection --network --folds --seeds",
    "compare": "--labels --methods --budgets --seeds --network --rounds --batch",
}
"""Options of a command that ``-h`` shows, beside those of every command; a command that is not here shows all."""

_EVERYWHERE = ("--workspace", "--devices", "--seed", "--force", "--dry-run", "--help-all")


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
    """A command; where it has many options, ``-h`` shows the usual ones, and ``--help-all`` every one."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help; what is not usual is hidden meanwhile unless all is asked for."""
        is_short = self.name in _USUAL and not ctx.meta.get(_ALL)
        usual = {*_USUAL.get(str(self.name), "").split(), *_EVERYWHERE}
        rest: list[Any] = [
            param for param in self.params if param.param_type_name == "option" and not usual & set(param.opts)
        ]
        rest = [param for param in rest if is_short and not param.hidden]
        for param in rest:
            param.hidden = True
        try:
            super().format_help(ctx, formatter)
        finally:
            for param in rest:
                param.hidden = False


class PlainGroup(_Plain, TyperGroup):
    """All of them."""


def _show_all(context: typer.Context, value: bool) -> None:
    if value:
        context.meta[_ALL] = True
        context.get_help()
        raise typer.Exit


HelpAllOption = Annotated[
    bool,
    typer.Option("--help-all", metavar="", is_eager=True, callback=_show_all, help="Show every option."),
]
