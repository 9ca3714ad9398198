"""The options that many commands share, each with its name, type, default, help, variable and completion."""

from pathlib import Path
from typing import Annotated, Any

import typer

from elfs.cli._invocation import DEFAULT_TIMEOUT_S
from elfs.cli._words import DIRECTORY, words
from elfs.config import DEFAULT_WORKSPACE

__all__ = ["COMMON", "COMPUTING", "PANEL", "SHARED", "STAGE_SHARED"]

PANEL = "Everywhere"
"""Their panel in the help."""

SHARED: dict[str, tuple[Any, Any]] = {
    "workspace": (
        Annotated[
            Path,
            typer.Option(
                "--workspace",
                "-w",
                envvar="ELFS_WORKSPACE",
                metavar=DIRECTORY,
                help="Folder that holds everything elfs writes.",
                rich_help_panel=PANEL,
            ),
        ],
        DEFAULT_WORKSPACE,
    ),
    "devices": (
        Annotated[
            str | None,
            typer.Option(
                "--devices",
                envvar="ELFS_DEVICES",
                metavar="auto|cpu|cpu:2|0|0,1|all",
                autocompletion=words(("auto", "cpu", "cpu:2", "0", "0,1", "all")),
                help="Where to compute, a process for each. \\[default: auto = the first GPU, else the CPU]",
                rich_help_panel=PANEL,
            ),
        ],
        None,
    ),
    "workers": (
        Annotated[
            str | None,
            typer.Option(
                "--workers",
                envvar="ELFS_WORKERS",
                metavar="INTEGER",
                help="Processes that decode images, 0 for none. \\[default: auto = by images and CPUs]",
                rich_help_panel=PANEL,
            ),
        ],
        None,
    ),
    "rank_timeout": (
        Annotated[
            str | None,
            typer.Option(
                "--rank-timeout",
                envvar="ELFS_RANK_TIMEOUT",
                metavar="SECONDS",
                help=f"How long one of several processes may be silent. \\[default: {DEFAULT_TIMEOUT_S}]",
                rich_help_panel=PANEL,
            ),
        ],
        None,
    ),
    "profile": (
        Annotated[
            Path | None,
            typer.Option(
                "--profile",
                metavar=DIRECTORY,
                help="Write where the time of each loop goes: a table and a trace of ten steps.",
                rich_help_panel=PANEL,
            ),
        ],
        None,
    ),
    "seed": (
        Annotated[
            str | None,
            typer.Option(
                "--seed",
                envvar="ELFS_SEED",
                metavar="INTEGER",
                help="Seed of every random choice. \\[default: 0]",
                rich_help_panel=PANEL,
            ),
        ],
        None,
    ),
    "force": (
        Annotated[
            bool, typer.Option("--force", metavar="", help="Run even if everything is fresh.", rich_help_panel=PANEL)
        ],
        False,
    ),
    "dry_run": (
        Annotated[
            bool,
            typer.Option(
                "--dry-run",
                "-n",
                metavar="",
                help="Say what would run and what that takes, and do nothing.",
                rich_help_panel=PANEL,
            ),
        ],
        False,
    ),
    "smoke": (
        Annotated[
            bool,
            typer.Option(
                "--smoke",
                metavar="",
                help="Settings so small that every step runs in seconds; the result means nothing.",
                rich_help_panel=PANEL,
            ),
        ],
        False,
    ),
    "json": (
        Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON document.", rich_help_panel=PANEL)],
        False,
    ),
    "quiet": (
        Annotated[
            bool,
            typer.Option(
                "--quiet",
                "-q",
                metavar="",
                help="Print errors and results only.",
                rich_help_panel=PANEL,
            ),
        ],
        False,
    ),
    "verbose": (
        Annotated[bool, typer.Option("--verbose", "-v", metavar="", help="Print the log too.", rich_help_panel=PANEL)],
        False,
    ),
}
"""Name to alias and default of every shared option."""

COMMON = ("workspace", "json", "quiet", "verbose")
COMPUTING = (
    "workspace",
    "devices",
    "workers",
    "rank_timeout",
    "profile",
    "seed",
    "force",
    "smoke",
    "json",
    "quiet",
    "verbose",
)
STAGE_SHARED = (
    "workspace",
    "devices",
    "workers",
    "rank_timeout",
    "profile",
    "seed",
    "force",
    "dry_run",
    "smoke",
    "json",
    "quiet",
    "verbose",
)
"""Shared options of commands that read, that compute, and that run stages."""
