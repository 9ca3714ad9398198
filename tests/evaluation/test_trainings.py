"""What is said about the trainings of a comparison; what they come to is tested with the comparison."""

import pytest

from elfs.evaluation.trainings import _estimate


@pytest.mark.parametrize(
    ("seconds", "rounds", "left", "expected"),
    [
        (2.0, 3, 3, "the first took 2 s, so about 6 s for the other 3"),
        (30.0, 17, 17, "the first took 30 s, so about 8 min for the other 17"),
        (600.0, 26, 52, "the first took 600 s, so about 4.3 h for the other 52"),
    ],
)
def test_estimate(seconds: float, rounds: int, left: int, expected: str) -> None:
    assert _estimate(seconds, rounds, left) == expected
