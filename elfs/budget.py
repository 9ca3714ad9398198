"""How many images to select: what may be typed after ``--budget``, and what it comes to."""

from dataclasses import dataclass

from elfs.errors import UsageError

__all__ = ["Budget"]


@dataclass(frozen=True, slots=True)
class Budget:
    """How many images to select: a share of the pool or a count.

    Attributes
    ----------
    share : float or None
        Share of the eligible images, in (0, 1]; None where a count was asked for.
    count : int or None
        Number of images, at least 1; None where a share was asked for.
    """

    share: float | None
    count: int | None

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Read ``0.1``, ``10%``, ``500``, ``1.0`` (all) or ``1`` (one image).

        Parameters
        ----------
        text : str
            What was typed after ``--budget``.

        Returns
        -------
        Budget
            A share where the text has a point, an exponent or a percent sign, else a count.

        Raises
        ------
        UsageError
            If the text is no number, not above 0, or a share above 1.0.
        """
        stripped = text.strip()
        expected = "expected a share such as 0.1 or 10%, or a count such as 500"
        try:
            if stripped.endswith("%"):
                share = float(stripped[:-1]) / 100
            elif stripped.lstrip("+-").isdecimal():
                count = int(stripped)
                if count < 1:
                    raise UsageError(f"--budget is {text}, {expected}; it must be above 0.")
                return cls(None, count)
            else:
                share = float(stripped)
        except ValueError as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"--budget is {text!r}, {expected}.") from None
        if not share > 0:
            raise UsageError(f"--budget is {text}, {expected}; it must be above 0.")
        if share > 1:
            raise UsageError(
                f"--budget is {text}: a share is at most 1.0, or 100% (all images); a count is digits alone, such as "
                "500."
            )
        return cls(share, None)

    def resolve(self, num_eligible: int) -> int:
        """Return the number of images.

        Parameters
        ----------
        num_eligible : int
            Images that may be selected, at least 1.

        Returns
        -------
        int
            In ``[1, num_eligible]``; a share is rounded to the nearest image and never to zero.

        Raises
        ------
        UsageError
            If a count is asked for that is larger than `num_eligible`.
        """
        if self.share is not None:
            return min(num_eligible, max(1, round(self.share * num_eligible)))
        assert self.count is not None
        if self.count > num_eligible:
            raise UsageError(f"--budget is {self.count:,}, but only {num_eligible:,} images can be selected.")
        return self.count
