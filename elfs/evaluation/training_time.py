"""How long a training takes, by measured rates (docs/scaling.md)."""

from collections.abc import Callable
from dataclasses import replace

from elfs.evaluation.training import Trainer
from elfs.stages.estimates.costs import core_speed
from elfs.stages.estimates.pool_facts import facts_of
from elfs.stages.estimates.training_costs import training_seconds

__all__ = ["seconds_by_images"]


def seconds_by_images(trainer: Trainer) -> Callable[[int], float | None]:
    """Return what tells how long one training takes on this machine.

    Parameters
    ----------
    trainer : Trainer
        With recipe, steps and images to test on.

    Returns
    -------
    Callable
        From how many images a network learns from to seconds; None on GPUs, and where the network has no measured rate.
    """
    builder = trainer.builder
    if not builder.runtime.on_cpu:
        return lambda images: None
    facts = replace(facts_of(builder.workspace.path), num_clusters=len(trainer.truth.names))
    recipe, speed = replace(builder.recipe, iterations=trainer.iterations), core_speed()

    def seconds(images: int) -> float | None:
        found = training_seconds(recipe, facts, num_learned=images, num_asked=len(trainer.test_rows))
        return None if found is None else found / speed

    return seconds
