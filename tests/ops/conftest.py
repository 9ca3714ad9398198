"""A law of all ops, whatever a test asks of them: they draw from the generator that they are given."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def _global_random_state_stays() -> Iterator[None]:
    before, (_, numbers, *place) = torch.get_rng_state(), np.random.get_state(legacy=True)
    yield
    _, numbers_after, *place_after = np.random.get_state(legacy=True)
    assert torch.equal(torch.get_rng_state(), before), "something was drawn from torch's global random state"
    assert np.array_equal(numbers_after, numbers), "something was drawn from numpy's global random state"
    assert place_after == place, "something was drawn from numpy's global random state"
