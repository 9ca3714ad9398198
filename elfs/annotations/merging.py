"""New answers and the annotations that are there already: later ones win, and what changes is told."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from elfs.annotations.kept import Annotation, Annotations
from elfs.data.addresses import find_images
from elfs.data.samples import SampleTable

__all__ = ["Change", "Removal", "added", "removed"]


@dataclass(frozen=True)
class Change:
    """What new answers do to the annotations of a workspace.

    Attributes
    ----------
    after : Annotations
        With the new ones.
    new : tuple of str
        Ids of images that had no annotation.
    changed : tuple of (str, str, str)
        Id, class before and class after of each image that gets another one.
    same : int
        Images that keep the class that they have.
    """

    after: Annotations
    new: tuple[str, ...]
    changed: tuple[tuple[str, str, str], ...]
    same: int


@dataclass(frozen=True)
class Removal:
    """What is left of the annotations of a workspace.

    Attributes
    ----------
    after : Annotations
        Without those of some images.
    gone : tuple of str
        Ids of the images that have none any more.
    unknown : tuple of str
        Names that are no annotated image, or could be several.
    """

    after: Annotations
    gone: tuple[str, ...]
    unknown: tuple[str, ...]


def added(before: Annotations, named: Mapping[str, str], asked: Mapping[str, tuple[str, bool]]) -> Change:
    """Add classes of images.

    Parameters
    ----------
    before : Annotations
        Those that are there.
    named : mapping of str to str
        Id to class of each image that people name now.
    asked : mapping of str to (str, bool)
        Id to the selection that asked for the image, and whether it is a test set; images that none asked for are not
        in it.

    Returns
    -------
    Change
        New and changed ones belong to the next batch; the others stay as they were.
    """
    batch = before.last_batch + 1
    after = dict(before.of_image)
    new, changed = [], []
    for image, name in named.items():
        known = after.get(image)
        if known is None:
            new.append(image)
            after[image] = Annotation(name, batch, *asked.get(image, ("", False)))
        elif known.name != name:
            changed.append((image, known.name, name))
            after[image] = dataclasses.replace(known, name=name, batch=batch)
    return Change(Annotations(after), tuple(new), tuple(changed), len(named) - len(new) - len(changed))


def removed(before: Annotations, names: Sequence[str], root: str | None) -> Removal:
    """Take the annotations of images away.

    Parameters
    ----------
    before : Annotations
        Those that are there.
    names : sequence of str
        Ids or paths of images, which need not be in the workspace any more.
    root : str or None
        Folder of the images.

    Returns
    -------
    Removal
        What is left.
    """
    table = SampleTable.from_ids(before.of_image, 0, 0)
    rows = find_images(table, names, root).rows.tolist() if len(table) else [-1] * len(names)
    gone = dict.fromkeys(table.id(row) for row in rows if row >= 0)
    after = {image: annotation for image, annotation in before.of_image.items() if image not in gone}
    unknown = dict.fromkeys(name for name, row in zip(names, rows, strict=True) if row < 0)
    return Removal(Annotations(after), tuple(gone), tuple(unknown))
