"""What other proxies could have said, and how many picks two selections have in common."""

import math

import pytest
import torch

from elfs.ops.selection.steadiness import in_place_of, share_in_common


def test_scores_of_other_proxies_are_as_far_away_as_those_of_others_that_are_drawn() -> None:
    """Half of the proxies' noise is common to two neighbouring rows: their errors go together then, too."""
    draw = torch.Generator().manual_seed(0)

    def means() -> tuple[torch.Tensor, torch.Tensor]:
        noise = torch.randn(20_000, 8, 2, generator=draw)
        noise[..., 1] = (noise[..., 0] + noise[..., 1]) / math.sqrt(2)
        each = torch.tensor([1.0, 3.0]) + noise
        return each.mean(dim=1), each[:, :4].mean(dim=1) - each[:, 4:].mean(dim=1)

    (mean, difference), (other, _) = means(), means()
    for imitated in in_place_of(mean, difference):
        torch.testing.assert_close((imitated - mean).T.cov(), (other - mean).T.cov(), rtol=0.05, atol=0.01)


def test_what_is_not_known_stays() -> None:
    hardness = torch.tensor([1.0, math.nan, 2.0])
    up, down = in_place_of(hardness, torch.tensor([math.nan, 1.0, math.sqrt(2)]))
    torch.testing.assert_close(up, torch.tensor([1.0, math.nan, 3.0]), equal_nan=True)
    torch.testing.assert_close(down, torch.tensor([1.0, math.nan, 1.0]), equal_nan=True)


@pytest.mark.parametrize(("other", "share"), [([3, 1, 7, 2], 1.0), ([4], 0.0), ([7, 9], 0.25), ([], 0.0)])
def test_share_in_common(other: list[int], share: float) -> None:
    assert share_in_common(torch.tensor([7, 1, 2, 3]), torch.tensor(other, dtype=torch.int64)) == share
