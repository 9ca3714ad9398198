"""Answers from COCO: JSON with images, categories, and annotations that join them."""

from typing import Any

from elfs.annotations.answers import Answer, UnknownFormatError, text_of

__all__ = ["is_coco", "read_coco"]

_IMAGE_KEYS = ("elfs_id", "file_name", "path", "coco_url", "flickr_url", "url")


def is_coco(document: Any) -> bool:
    """Return whether a JSON document is COCO.

    Parameters
    ----------
    document : Any
        The parsed file.

    Returns
    -------
    bool
        True if it has images and annotations.
    """
    return isinstance(document, dict) and all(isinstance(document.get(key), list) for key in ("images", "annotations"))


def read_coco(document: dict[str, Any]) -> list[Answer]:
    """Read COCO.

    Parameters
    ----------
    document : dict
        The parsed file.

    Returns
    -------
    list of Answer
        One for each image: the categories of all its annotations.

    Raises
    ------
    UnknownFormatError
        If an image has no name, or an annotation names a category or an image that is not there.
    """
    try:
        names = {entry["id"]: text_of(entry["name"]) for entry in document.get("categories", ())}
        chosen: dict[Any, dict[str, None]] = {entry["id"]: {} for entry in document["images"]}
        for entry in document["annotations"]:
            chosen[entry["image_id"]][names[entry["category_id"]]] = None
        return [Answer(_name(entry), tuple(chosen[entry["id"]])) for entry in document["images"]]
    except (KeyError, TypeError) as error:
        raise UnknownFormatError(f"is COCO with a gap in it: no {str(error)[:80]}") from None


def _name(image: dict[str, Any]) -> str:
    for key in _IMAGE_KEYS:
        if image.get(key):
            return str(image[key])
    raise KeyError("file_name")
