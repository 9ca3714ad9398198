"""What ``--budget`` may say."""

import pytest

from elfs.budget import Budget
from elfs.errors import UsageError


@pytest.mark.parametrize(
    ("text", "share", "count"),
    [
        ("0.1", 0.1, None),
        (" 10% ", 0.1, None),
        ("12.5%", 0.125, None),
        ("1e-2", 0.01, None),
        ("1.0", 1.0, None),
        ("100%", 1.0, None),
        ("1", None, 1),
        ("+5", None, 5),
        ("500", None, 500),
    ],
)
def test_budget_is_a_share_or_a_count(text: str, share: float | None, count: int | None) -> None:
    assert Budget.parse(text) == Budget(share, count)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0", r"^--budget is 0, expected a share such as 0\.1 or 10%, or a count such as 500; it must be above 0\.$"),
        ("-5", r"^--budget is -5, .*above 0\.$"),
        ("0.0", r"^--budget is 0\.0, .*above 0\.$"),
        ("-0.1", r"^--budget is -0\.1, .*above 0\.$"),
        ("nan", r"^--budget is nan, .*above 0\.$"),
        ("0%", r"^--budget is 0%, .*above 0\.$"),
        (
            "1.5",
            r"^--budget is 1\.5: a share is at most 1\.0, or 100% \(all images\); a count is digits alone, such as",
        ),
        ("1e2", r"^--budget is 1e2: a share is at most 1\.0, .* a count is digits alone, such as 500\.$"),
        ("inf", r"^--budget is inf: a share is at most 1\.0"),
        ("200%", r"^--budget is 200%: a share is at most 1\.0"),
        ("many", r"^--budget is 'many', expected a share such as 0\.1 or 10%, or a count such as 500\.$"),
        ("--5", r"^--budget is '--5', expected"),
        ("", r"^--budget is '', expected"),
        ("%", r"^--budget is '%', expected"),
    ],
)
def test_budget_refuses(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("text", "num_eligible", "expected"),
    [("0.1", 100, 10), ("0.26", 10, 3), ("0.001", 10, 1), ("1.0", 7, 7), ("1", 7, 1), ("7", 7, 7)],
)
def test_budget_resolves_to_a_number_of_images(text: str, num_eligible: int, expected: int) -> None:
    assert Budget.parse(text).resolve(num_eligible) == expected


def test_budget_above_the_pool_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--budget is 5,000, but only 1,437 images can be selected\.$"):
        Budget.parse("5000").resolve(1437)
