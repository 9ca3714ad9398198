"""What is raised for an image that cannot be had."""

from elfs.data.samples import Outcome

__all__ = ["BadImageError", "broken", "unsupported"]


class BadImageError(Exception):
    """An image that cannot be had; caught per image, never fatal.

    Parameters
    ----------
    outcome : Outcome
        Anything but OK.
    reason : str
        Why, in one line for people; the same for the same bytes.
    """

    def __init__(self, outcome: Outcome, reason: str) -> None:
        super().__init__(outcome, reason)
        self.outcome = outcome
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.outcome.name.lower()}: {self.reason}"


def broken(reason: str) -> BadImageError:
    """Return the error for bytes that are damaged.

    Parameters
    ----------
    reason : str
        Why, in one line for people.

    Returns
    -------
    BadImageError
        To be raised.
    """
    return BadImageError(Outcome.BROKEN, reason)


def unsupported(what: str) -> BadImageError:
    """Return the error for an image that may be whole, and that nothing here can read.

    Parameters
    ----------
    what : str
        What it is, such as "a 12-bit JPEG".

    Returns
    -------
    BadImageError
        To be raised.
    """
    return BadImageError(Outcome.UNSUPPORTED, f"{what}, which elfs cannot read")
