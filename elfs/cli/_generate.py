"""Write what is generated from the commands: ``python -m elfs.cli._generate``, in the root of a checkout."""

from pathlib import Path

import typer

from elfs.cli._completion_scripts import SHELLS, script
from elfs.cli._json_reference import json_reference, json_schema
from elfs.cli._reference import option_list, reference
from elfs.cli.app import assemble

__all__ = ["generated", "main"]


def generated() -> dict[str, str]:
    """Return every generated file.

    Returns
    -------
    dict
        Path relative to the root of the checkout to text.
    """
    root = typer.main.get_command(assemble())
    files = {f"completions/elfs.{shell}": script(shell, root) + "\n" for shell in SHELLS}
    files |= {"docs/json.md": json_reference(), "docs/json-schema.json": json_schema()}
    return {**files, "docs/cli.md": reference(root), "tests/cli/options.txt": option_list(root)}


def main(root: Path) -> None:
    """Write every generated file.

    Parameters
    ----------
    root : Path
        Root of the checkout.
    """
    for name, text in generated().items():
        (root / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).parents[2])
