"""Every row of the matrix of faults has a test that is named after it, or says why not; the document lists them."""

import pytest

from tests.reliability import DOCUMENT, OPEN, ROWS, document, named_tests


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row} {ROWS[row]}")
def test_a_test_is_named_after_the_row(row: int) -> None:
    assert (row in named_tests()) != (row in OPEN)


def test_no_test_is_named_after_a_row_that_there_is_not() -> None:
    assert set(named_tests()) <= set(ROWS)


@pytest.mark.skipif(not DOCUMENT.exists(), reason="needs the source tree")
def test_the_document_is_what_the_tests_say() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "python -m tests.reliability writes it anew"
