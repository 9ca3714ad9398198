"""Several answers about one image to one label: the majority of the people, each of whom counts once."""

from collections import Counter
from collections.abc import Sequence

from elfs.annotations.answers import Answer

__all__ = ["vote"]


def vote(answers: Sequence[Answer]) -> tuple[str, ...]:
    """Return what people say about one image.

    Parameters
    ----------
    answers : sequence of Answer
        All about the same image. Of several by one person the latest counts; those without a name count each.

    Returns
    -------
    tuple of str
        The class that most people chose. Empty where nobody chose one; several, sorted, where they tie, or where one
        person chose several and nobody else decides.
    """
    by_person: dict[object, Answer] = {}
    for number, answer in enumerate(sorted(answers, key=lambda answer: answer.when)):
        by_person[number if answer.annotator is None else answer.annotator] = answer
    votes = Counter(label for answer in by_person.values() for label in answer.classes)
    most = max(votes.values(), default=0)
    return tuple(sorted(label for label, count in votes.items() if count == most))
