"""``elfs completion``."""

from typing import Annotated

import typer

from elfs.cli._completion_scripts import SHELLS, script
from elfs.cli._invocation import Invocation
from elfs.cli._options import command
from elfs.cli._words import words
from elfs.suggestions import choose

__all__ = ["EXAMPLES", "body"]

EXAMPLES = (
    "elfs completion bash > ~/.local/share/bash-completion/completions/elfs",
    "elfs completion fish > ~/.config/fish/completions/elfs.fish",
)

ShellArgument = Annotated[
    str, typer.Argument(metavar="|".join(SHELLS), autocompletion=words(tuple(SHELLS)), help="The shell.")
]


@command(shared=())
def body(invocation: Invocation, shell: ShellArgument, context: typer.Context) -> None:
    """Print the completion script of a shell."""
    choose("shell", shell, SHELLS)
    invocation.output.data(script(shell, context.find_root().command))
