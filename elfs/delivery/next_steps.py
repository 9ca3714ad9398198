"""What to do with a selection, for the page about it."""

import shlex

from elfs.config import DEFAULT_WORKSPACE
from elfs.delivery.chosen import Selection
from elfs.workspace.workspace import Workspace

__all__ = ["next_steps"]


def next_steps(selection: Selection) -> list[tuple[str, list[str]]]:
    """Return what to do next.

    Parameters
    ----------
    selection : Selection
        What was selected.

    Returns
    -------
    list of (str, list of str)
        A sentence and its commands each.
    """
    name = shlex.quote(selection.name)
    place = _place(selection.workspace)
    budget = shlex.quote(selection.config.budget)
    steps = [
        (
            "Have the images annotated: as a folder with a table to fill in, or in a tool for it.",
            [
                f"elfs export --selection {name} --format images -o {name}-images{place}",
                f"elfs export --selection {name} --format label-studio -o {name}-to-label{place}",
                f"elfs export --selection {name} --format cvat -o {name}-cvat{place}",
            ],
        ),
        (
            "Train on them, when the column label is filled in; --network linear takes the embeddings, and seconds.",
            [f"elfs train --selection {name} --labels {name}-images/labels.csv --network linear{place}"],
        ),
    ]
    if selection.config.method != "random":
        steps.append(
            ("See whether chance does as well.", [f"elfs select --budget {budget} --method random{place}"]),
        )
    return steps


def _place(workspace: Workspace) -> str:
    if workspace.path == DEFAULT_WORKSPACE:
        return ""
    return f" --workspace {shlex.quote(str(workspace.path))}"
