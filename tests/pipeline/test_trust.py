from typing import Any

import pytest

from elfs.pipeline.facts import SelectionFacts
from elfs.pipeline.trust import doubt

BASE = {"name": "r1", "count": 60, "eligible": 300, "share": 0.2}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"method": "elfs", "key": "aum", "trust": 0.49}, True),
        ({"method": "dual-beta", "trust": 0.0}, True),
        ({"method": "d2", "key": "el2n", "trust": 0.3}, True),
        ({"method": "elfs", "key": "aum", "trust": 0.5}, False),
        ({"method": "elfs", "key": "aum"}, False),  # nothing is known of them
        ({"method": "elfs", "key": "density", "trust": 0.1}, False),  # no pseudo-label is in it
        ({"method": "auto", "key": "aum", "trust": 0.1}, False),  # it takes the trust into account
        ({"method": "random"}, False),
    ],
)
def test_what_goes_by_bad_pseudo_labels_alone_is_doubted(facts: dict[str, Any], expected: bool) -> None:
    trust = facts.get("trust")
    trust_by = {} if trust is None else {"trust_by": {"proxies": 0.9, "neighbors": trust}}
    reason = doubt(SelectionFacts.of(BASE | facts | trust_by))
    if not expected:
        assert reason is None
        return
    assert reason is not None
    assert reason.startswith(f"the pseudo-labels deserve little trust (neighbors {trust:.2f}, proxies 0.90; 1 would be")
    assert f"{facts['method']} goes by them alone" in reason
    assert "--method auto" in reason
