"""What is said of a selection: where it lies, what it contains, how good it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from elfs.cli._text import plural
from elfs.pipeline.facts import SelectionFacts
from elfs.pipeline.verdict import verdict
from elfs.workspace.names import selection_file

if TYPE_CHECKING:
    from elfs.pipeline.job import Outcome

__all__ = ["selection_document", "selection_lines"]

_SHOWN_VALUES = 12


def selection_document(workspace: Path, outcome: "Outcome") -> dict[str, Any]:
    """Return what ``--json`` says about a selection.

    Parameters
    ----------
    workspace : Path
        The workspace.
    outcome : Outcome
        What select made or found.

    Returns
    -------
    dict
        Its name and file beside the facts of its summary.
    """
    path = selection_file(workspace, outcome.record)
    return {**outcome.summary, "name": outcome.record.partition("/")[2], "path": str(path)}


def selection_lines(workspace: Path, outcome: "Outcome", *, quiet: bool) -> list[str]:
    """Return what people read about a selection: where it lies and what it contains.

    Parameters
    ----------
    workspace : Path
        The workspace.
    outcome : Outcome
        What select made or found.
    quiet : bool
        The file's name alone, for scripts.

    Returns
    -------
    list of str
        Lines for stdout.
    """
    path = selection_file(workspace, outcome.record)
    if quiet:
        return [str(path)]
    facts = SelectionFacts.of(outcome.summary)
    share = f"{plural(facts.count, 'image')} of {facts.eligible:,} ({facts.share:.1%})"
    lines = [f"selection  {path}", f"contains   {share}"]
    if facts.clusters is not None:
        of = plural(facts.clusters, "cluster")
        lines[-1] += f", {facts.clusters_covered} of {of}, {facts.picks_per_cluster} from each"
    if facts.included:
        lines[-1] += f"; {plural(facts.included, 'image')} annotated before"
    lines += _group_lines(facts)
    if facts.holdout:
        lines.append("held out   no later selection takes any of them; elfs train tests on those that get a label")
    else:
        lines += _verdict_lines(facts)
    if facts.annotated:
        lines.append(f"left out   {plural(facts.annotated, 'image')} that people have annotated already")
    if facts.copies_left_out:
        lines.append(f"left out   {plural(facts.copies_left_out, 'image')} as copies of others")
    if facts.without_score:
        lines.append(f"left out   {plural(facts.without_score, 'image')} without a score")
    return lines


def _verdict_lines(facts: SelectionFacts) -> list[str]:
    said = verdict(facts)
    lines = [f"verdict    {said.level}: {said.reasons}"] if said.findings else []
    lines += [f"{'':<10} {text}" for text in said.besides]
    return lines + ([f"{'':<10} try {said.advice}"] if said.advice else [])


def _group_lines(facts: SelectionFacts) -> list[str]:
    """Return what is said of groups and of the column that was balanced."""
    lines = []
    if (known := facts.groups) is not None:
        of = plural(known.groups, "group") + (f" and {known.alone:,} images without one" if known.alone else "")
        if known.whole:
            text = f"{known.picked:,} of {of}, each as a whole"
        elif known.per_group is not None:
            text = f"at most {known.per_group:,} of each of {of}: {known.picked:,} are in"
        else:
            text = f"{known.picked:,} of {of}, up to {known.most:,} images of one; --per-group sets a limit"
        lines.append(f"groups     {text}")
    if (column := facts.column) is not None:
        counts = list(column.images.items())
        shown = ", ".join(f"{value or '(none)'} {count:,}" for value, count in counts[:_SHOWN_VALUES])
        more = f" and {len(counts) - _SHOWN_VALUES:,} more" if len(counts) > _SHOWN_VALUES else ""
        lines.append(f"balance    {column.name}: {shown}{more}")
    return lines
