"""What cannot be shared out."""

from elfs.errors import InputDataError
from elfs.parallel.ranks import Ranks

__all__ = ["require_rows"]


def require_rows(num_rows: int, ranks: Ranks) -> None:
    """Refuse more ranks than there are images; all ranks call this and refuse alike.

    Parameters
    ----------
    num_rows : int
        Images that the ranks would share.
    ranks : Ranks
        The ranks.

    Raises
    ------
    InputDataError
        If a rank would have none.
    """
    if num_rows < ranks.size:
        images = "image" if num_rows == 1 else "images"
        raise InputDataError(
            f"{ranks.size} ranks for {num_rows} {images}: every rank needs at least one. "
            f"Use --devices for {max(1, num_rows)} or fewer."
        )
