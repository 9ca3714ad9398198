"""What cannot be shared out."""

import pytest

from elfs.errors import InputDataError
from elfs.parallel.limits import require_rows
from elfs.parallel.place import Place
from elfs.parallel.ranks import ALONE, Ranks


def ranks_of(size: int) -> Ranks:
    return Ranks(Place(0, size, 0, size, "127.0.0.1", 1))


@pytest.mark.parametrize(
    ("num_rows", "size", "message"),
    [
        (2, 3, r"^3 ranks for 2 images: every rank needs at least one\. Use --devices for 2 or fewer\.$"),
        (1, 2, r"^2 ranks for 1 image: every rank needs at least one\. Use --devices for 1 or fewer\.$"),
    ],
)
def test_more_ranks_than_images_are_refused(num_rows: int, size: int, message: str) -> None:
    with pytest.raises(InputDataError, match=message):
        require_rows(num_rows, ranks_of(size))


def test_an_image_for_each_rank_is_enough() -> None:
    require_rows(3, ranks_of(3))
    require_rows(1, ALONE)
