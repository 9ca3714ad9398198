"""Seeds that depend on a place alone."""

import itertools

import torch

from elfs.train.seeding import derived_seed, generator

PLACES: tuple[tuple[str | int, ...], ...] = ((), ("a",), ("b",), ("a", 0), ("a", 1), ("a", 10), ("a", 1, 0))


def test_every_place_and_every_seed_has_a_number_of_its_own() -> None:
    numbers = {derived_seed(seed, *place) for seed, place in itertools.product((0, 1, 2**40), PLACES)}
    assert len(numbers) == 3 * len(PLACES)
    assert all(0 <= number < 2**63 for number in numbers)


def test_number_never_changes() -> None:
    """The first 8 bytes of sha256("0/order/3"), halved: a checkpoint of last year must resume with the same order."""
    assert derived_seed(0, "order", 3) == 2_723_741_169_552_378_311


def test_generator_draws_the_same_at_the_same_place() -> None:
    draws = [torch.rand(4, generator=generator(5, *place)) for place in (("x",), ("x",), ("y",))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
