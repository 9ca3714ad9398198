"""What ``elfs train`` says: of how many images it knew the label, how well the network does, and on which classes."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elfs.config import DEFAULT_WORKSPACE
from elfs.pipeline.comparison_facts import TrainingFacts
from elfs.pipeline.training_facts import LabelFacts, TrainFacts

__all__ = ["TrainReport"]

_MAX_CLASSES = 30
"""Classes that people are shown, the worst first; the JSON document has all."""

_MAX_NAME = 24

_MOST_TESTED, _LEAST_TESTED, _SHARE_TESTED = 200, 10, 5
"""Images of a test set that is advised: at most, at least, and one of so many that nobody has named yet."""


@dataclass(frozen=True)
class TrainReport:
    """Accuracy of networks that were trained on a selection.

    Attributes
    ----------
    summary : dict
        Selection, images, iterations, recipe, labels, accuracy of each seed with mean and sample standard deviation,
        confusion of the classes over all seeds.
    ran : bool
        False where the result was there already.
    workspace : Path or None
        Where the network lies; None to say nothing about it.
    """

    summary: dict[str, Any]
    ran: bool
    workspace: Path | None = None

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return self.summary

    def lines(self) -> list[str]:
        """Return the report for people."""
        facts, training = self.facts, TrainingFacts.of(self.summary)
        found = [f"selection   {facts.selection}, {facts.images:,} images"]
        found += _about_labels(facts.labels)
        found.append(f"protocol    {training.text}")
        if facts.mean is None:
            why = "no test image has a label"
            if facts.groups == 1:
                why += ", and all images are of one group, which cross-validation would split"
            return [*found, f"accuracy    not measured: {why}", *self._about_model()]
        each = " ".join(f"{100 * accuracy:.2f}" for accuracy in facts.accuracies)
        spread = "" if facts.deviation is None else f" +- {100 * facts.deviation:.2f}"
        seeds = f"{len(facts.accuracies)} seed{'s' if len(facts.accuracies) > 1 else ''}: {each}"
        tested = _about_test(facts, training.test_images)
        found.append(f"accuracy    {100 * facts.mean:.2f} %{spread}   ({seeds}; {tested})")
        if facts.folds:
            found += self._about_folds(facts.unlabelled or 0)
        return found + _by_class(facts) + self._about_model()

    def _about_folds(self, unlabelled: int) -> list[str]:
        """Return what cross-validation is, and how to get a test set, where there are images left for one."""
        count = min(_MOST_TESTED, unlabelled // _SHARE_TESTED // 10 * 10)
        said = "            each annotated image is named by a network that has not seen it"
        if count < _LEAST_TESTED:
            return [said]
        return [
            f"{said}; for a random test set of",
            f"            images to annotate beside them:   elfs select --holdout {count} --name test{self._place}",
        ]

    @property
    def facts(self) -> TrainFacts:
        """What is reported of the networks."""
        return TrainFacts.of(self.summary)

    @property
    def _place(self) -> str:
        """The option that names the workspace, where it takes one."""
        other = self.workspace is not None and self.workspace != DEFAULT_WORKSPACE
        return f" --workspace {shlex.quote(str(self.workspace))}" if other else ""

    def _about_model(self) -> list[str]:
        """Return where the network lies and what can be done with it."""
        if self.workspace is None:
            return []
        name = self.facts.selection
        quoted = shlex.quote(name)
        return [
            f"model       {self.workspace / 'models' / name}.safetensors",
            f"next        elfs predict --selection {quoted}{self._place} -o {quoted}-predictions.csv",
        ]


def _about_test(facts: TrainFacts, num_tested: int) -> str:
    """Return what the accuracy was measured on."""
    if facts.folds:
        groups = "" if facts.groups is None else f" that splits none of {facts.groups:,} groups"
        tested = f"{facts.folds}-fold cross-validation{groups}"
    else:
        tested = f"{num_tested:,} test images"
    if facts.held_out:
        part = "" if facts.held_out == num_tested else f"{facts.held_out:,} of them "
        tested += f", {part}drawn at random from the pool"
    return tested


def _about_labels(facts: LabelFacts | None) -> list[str]:
    """Return what became of the labels; nothing where every image has one and all were used."""
    if facts is None or (facts.labelled == facts.selected and not facts.outside and not facts.remarks):
        return []
    line = f"labels      {facts.labelled:,} of {facts.selected:,} selected have a label"
    if facts.without:
        line += f" (without: {facts.without})"
    if facts.outside:
        of = "label of an image" if facts.outside == 1 else "labels of images"
        line += f"; {facts.outside:,} {of} outside the selection ignored"
    return [line, *(f"            {remark}" for remark in facts.remarks)]


def _by_class(facts: TrainFacts) -> list[str]:
    """Return a line for each class: how many of its images are named rightly, and what the others are taken for."""
    names = facts.classes or ()
    taken: dict[int, dict[int, int]] = {}
    for true, named, count in facts.confusion or ():
        taken.setdefault(true, {})[named] = count
    if not taken:
        return []
    share = {true: counts.get(true, 0) / sum(counts.values()) for true, counts in taken.items()}
    shown = sorted(taken, key=lambda true: share[true])[:_MAX_CLASSES]
    if len(taken) <= _MAX_CLASSES:
        shown = sorted(taken)
    width = max(len("class"), *(len(_short(names[true])) for true in shown))
    found = ["", f"{'class':<{width}}   right      of         taken for"]
    for true in shown:
        counts = taken[true]
        wrong = sorted((item for item in counts.items() if item[0] != true), key=lambda item: -item[1])
        others = ", ".join(f"{_short(names[named])} {count:,}" for named, count in wrong[:3])
        right = f"{counts.get(true, 0):>8,} {sum(counts.values()):>7,}  {share[true]:>6.1%}"
        found.append(f"{_short(names[true]):<{width}}{right}   {others}".rstrip())
    if len(taken) > len(shown):
        found.append(f"the {len(shown)} worst of {len(taken):,} classes; --json has all")
    return found


def _short(name: str) -> str:
    return name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
