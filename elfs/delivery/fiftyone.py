"""What FiftyOne loads: where each image lies, and what is known of it, as its classification data sets have it."""

from collections.abc import Sequence
from typing import Any

from elfs.delivery.chosen import Selection, label_name
from elfs.delivery.way_back import way_back

__all__ = ["data", "pseudo_labels", "readme"]

_UNKNOWN = "selected"
"""Label of an image without a pseudo-label: the importer wants one."""


def data(selection: Selection, paths: Sequence[str]) -> dict[str, str]:
    """Return ``data.json``.

    Parameters
    ----------
    selection : Selection
        What is handed over.
    paths : sequence of str
        Where each image of the pool lies, in rank order; relative ones begin at the folder of the file.

    Returns
    -------
    dict of str to str
        Key to path. The keys are the ranks, as wide as the last, since the importer sorts them.
    """
    return dict(zip(_keys(selection), paths, strict=True))


def pseudo_labels(selection: Selection) -> dict[str, Any]:
    """Return ``labels.json``.

    Parameters
    ----------
    selection : Selection
        What is handed over.

    Returns
    -------
    dict
        ``labels``, by key: the pseudo-label, with id, rank, score and why as its attributes.
    """
    found = {}
    for key, (image, _) in zip(_keys(selection), selection.in_pool(), strict=True):
        label = _UNKNOWN if image.pseudo_label is None else label_name(selection.class_names, image.pseudo_label)
        known = {"elfs_id": image.id, "rank": image.rank, "score": image.score, "why": image.why, "group": image.group}
        known = {name: value for name, value in known.items() if value not in (None, "")}
        found[key] = {"label": label, "attributes": known}
    return {"classes": None, "labels": found}


def _keys(selection: Selection) -> list[str]:
    width = len(str(len(selection.images)))
    return [f"{image.rank:0{width}d}" for image, _ in selection.in_pool()]


def readme(selection: Selection) -> str:
    """Return how to load the folder, and how to take the result back.

    Parameters
    ----------
    selection : Selection
        What is handed over.

    Returns
    -------
    str
        Markdown.
    """
    return (
        f"# {len(_keys(selection)):,} images for FiftyOne\n\n"
        "    import fiftyone as fo\n\n"
        "    dataset = fo.Dataset.from_dir(\n"
        '        dataset_dir=".",  # this folder\n'
        "        dataset_type=fo.types.FiftyOneImageClassificationDataset,\n"
        '        data_path="data.json",\n'
        '        label_field="elfs",\n'
        "    )\n"
        "    session = fo.launch_app(dataset)\n\n"
        "Put your classes into a field of its own, such as `ground_truth`, and write them down with the ids:\n\n"
        '    dataset.exists("ground_truth").export(\n'
        '        labels_path="labels.csv",\n'
        "        dataset_type=fo.types.CSVDataset,\n"
        '        fields={"elfs.elfs_id": "id", "ground_truth.label": "label"},\n'
        "    )\n\n"
        f"{way_back(selection, 'labels.csv')}"
    )
