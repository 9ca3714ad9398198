"""Nearest neighbours that are not among the images of a page: small pictures, as many as the page has room for."""

from collections.abc import Sequence

from elfs.delivery.thumbnails import Thumbnail, Thumbnails

__all__ = ["pictured_outside"]

_MOST_BYTES = 1_400_000
"""What these pictures may weigh together, before they become text."""


def pictured_outside(near: Sequence[Sequence[int]], inside: set[int], thumbnails: Thumbnails) -> dict[int, Thumbnail]:
    """Return pictures of neighbours that are not on the page themselves.

    Parameters
    ----------
    near : sequence of sequences of int
        Rows of the neighbours of each image on the page, nearest first; the images that matter most first.
    inside : set of int
        Rows of the images on the page.
    thumbnails : Thumbnails
        Makes the pictures.

    Returns
    -------
    dict of int to Thumbnail
        Row to picture, or why there is none: of every image the nearest neighbour first, then of every image the
        second, and so on until 1.4 MB are used. Empty where there are no pictures at all.
    """
    found: dict[int, Thumbnail] = {}
    if not thumbnails.pictures.exist:
        return found
    total, most = 0, max((len(rows) for rows in near), default=0)
    for place in range(most):
        for row in (rows[place] for rows in near if place < len(rows)):
            if row in inside or row in found:
                continue
            picture = thumbnails.small(row)
            total += len(picture.address) * 3 // 4
            if total > _MOST_BYTES:
                return found
            found[row] = picture
    return found
