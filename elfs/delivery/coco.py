"""A selection as COCO: images, categories, and the pseudo-labels as annotations where they are asked for."""

from typing import Any

from elfs.delivery.choices import Choices
from elfs.delivery.chosen import Selection
from elfs.delivery.pictures import Pictures

__all__ = ["document"]


def document(selection: Selection, prefix: str, choices: Choices, *, pre_annotate: bool) -> dict[str, Any]:
    """Return COCO.

    Parameters
    ----------
    selection : Selection
        What is to be annotated.
    prefix : str
        Put before the name of each image.
    choices : Choices
        The categories.
    pre_annotate : bool
        Whether each image gets an annotation, as large as it is, of the category that its cluster stands for.

    Returns
    -------
    dict
        Images in rank order, with numbers from 1; those that are not in the pool any more are left out.

    Raises
    ------
    InputDataError
        If there are no images, or one cannot be read.
    """
    pictures = Pictures(selection)
    pictures.require("--format coco")
    categories = {name: number for number, name in enumerate(choices.names, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (image, row) in enumerate(selection.in_pool(), 1):
        width, height = pictures.size(row)
        name = prefix + pictures.name(image.id)
        images.append({"id": number, "file_name": name, "width": width, "height": height, "elfs_id": image.id})
        if pre_annotate and image.pseudo_label is not None:
            place = {"bbox": [0, 0, width, height], "area": width * height, "iscrowd": 0, "segmentation": []}
            category = categories[choices.of_cluster[image.pseudo_label]]
            annotations.append({"id": number, "image_id": number, "category_id": category} | place)
    return {
        "info": {"description": f"selection {selection.name}"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "supercategory": ""} for name, number in categories.items()],
    }
