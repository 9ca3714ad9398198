"""The table of commands. A new one is a file beside this one and a line here.

The module ``elfs.cli.<name>`` defines ``body``, decorated with ``_options.command``, and ``EXAMPLES``.
"""

import itertools
import shlex
from pathlib import Path

from elfs.catalog import STAGES

__all__ = ["AFTER", "COMMANDS", "next_commands"]

_STAGE, _HAND, _LABELS, _LOOK = "Stages", "Hand on a selection", "With true labels", "Look after a workspace"

COMMANDS: dict[str, str] = {
    "run": _STAGE,
    "embed": _STAGE,
    "cluster": _STAGE,
    "label": _STAGE,
    "dynamics": _STAGE,
    "score": _STAGE,
    "select": _STAGE,
    "report": _HAND,
    "plan": _HAND,
    "export": _HAND,
    "annotate": _LABELS,
    "train": _LABELS,
    "predict": _LABELS,
    "compare": _LABELS,
    "evaluate": _LABELS,
    "status": _LOOK,
    "verify": _LOOK,
    "doctor": _LOOK,
    "completion": _LOOK,
}
"""Name of each command to the panel of ``elfs --help`` that lists it, in the order of the help."""

AFTER = {
    "run": "elfs report, then elfs export --format label-studio -o to-label",
    **{stage: f"elfs {after}" for stage, after in itertools.pairwise(STAGES)},
    "select": "elfs report, then elfs export --format label-studio -o to-label",
    "report": "elfs export --format label-studio -o to-label",
    "plan": "elfs select --budget COUNT",
    "export": "elfs annotate FILE, once it has come back",
    "annotate": "elfs train, or elfs label and elfs select for another round",
    "train": "elfs predict",
}
"""Name of a command to what its help says of the next step."""

_AFTER_SELECT = (
    ("report", "{selection}"),
    ("export", "--selection {name} --format label-studio -o {name}-to-label"),
    ("train", "--selection {name}"),
)


def next_commands(
    stage: str, record: str, workspace: Path, default: Path, *, labelled: bool = True, is_default: bool = True
) -> list[str]:
    """Return what a person may want to type after a stage.

    Parameters
    ----------
    stage : str
        The stage that is done.
    record : str
        Name of its record, such as ``select/aum-0.1``.
    workspace, default : Path
        The workspace, and the one that need not be named.
    labelled : bool
        Whether the source has true labels of its own; without them there is nothing to train on before people have
        annotated the selection.
    is_default : bool
        Whether a selection is the one that commands take where none is named.

    Returns
    -------
    list of str
        Commands that exist, with the workspace where it has to be named.
    """
    position = STAGES.index(stage) + 1
    if position < len(STAGES):
        following = STAGES[position]
        ideas = [(following, "--budget 0.1 --key aum" if following == "select" else "")]
    else:
        name = shlex.quote(record.partition("/")[2])
        selection = "" if is_default else f"--selection {name}"
        ideas = [
            (command, words.format(name=name, selection=selection))
            for command, words in _AFTER_SELECT
            if command in COMMANDS and (labelled or command != "train")
        ]
    place = "" if workspace == default else f"-w {shlex.quote(str(workspace))}"
    return [" ".join(word for word in ("elfs", command, words, place) if word) for command, words in ideas]
