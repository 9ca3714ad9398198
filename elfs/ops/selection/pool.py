"""What a selector looks at, what it is told, and the bound on its budget. Shape suffix: M rows of the pool."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from elfs.errors import UsageError

__all__ = ["Pool", "Selector", "SelectorOptions", "check_budget", "required", "take"]

_PER_ROW = (
    "settled",
    "barred",
    "groups",
    "column",
    "hardness",
    "pseudo_labels",
    "embeddings",
    "neighbors",
    "similarity",
    "features",
    "errors",
    "probabilities",
    "disagreement",
    "unsure",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """The samples that a selection is made of, one row for each; all tensors are on the CPU.

    Attributes
    ----------
    tie_breaker : Tensor of shape (n_rows,), int64
        A number that belongs to the sample and not to its row, such as a seeded hash of its id. Rows in its order are
        in *canonical order*; `elfs.ops.selection.select` sorts a pool before a selector sees it, so for a selector
        the order of the rows is the order of the samples, whatever the workspace's rows are.
    settled : Tensor of shape (n_rows,), bool, or None
        Rows that are annotated already or not wanted: never selected, but what they cover counts as covered. None: no
        row is.
    barred : Tensor of shape (n_rows,), bool, or None
        Rows that are not selected and are otherwise like those that could have been: they cover nothing, and are to be
        covered. None: no row is.
    groups : Tensor of shape (n_rows,), int64, or None
        What the limits of the options go by, such as the film that a frame is of: numbers from 0.
    column : Tensor of shape (n_rows,), int64, or None
        Value of each row in a column of a table about the images, numbered from 0.
    hardness : Tensor of shape (n_rows,), float32, or None
        Difficulty by the key that was asked for, higher = harder (``elfs.ops.scores.hardness``). Rows that are not
        finite are never selected by it.
    scores : mapping of str to Tensor of shape (n_rows,), float32
        Other scores that a selector looks at whatever the key, by name and in their own direction.
    pseudo_labels : Tensor of shape (n_rows,), int64, or None
        Cluster of each row, at least 0.
    embeddings : Tensor of shape (n_rows, n_dims), float16 or float32, or None
        Embeddings as the encoder made them, not normalised.
    neighbors : Tensor of shape (n_rows, n_neighbors), int32 or int64, or None
        Positions in the pool of each row's nearest neighbours, most similar first; those that are not in the pool are
        -1 and come last.
    similarity : Tensor of shape (n_rows, n_neighbors), float16 or float32, or None
        Cosine to each of the neighbours.
    features : Tensor of shape (n_rows, n_features), float16 or float32, or None
        What the last layer of a network sees: of the proxy, or of the classifier that was trained on the annotations.
    errors : Tensor of shape (n_rows, n_classes), float16 or float32, or None
        Its softmax less one for a class: the pseudo-label, or the likeliest class of that classifier.
    probabilities : Tensor of shape (n_rows, n_classes), float32, or None
        Calibrated class probabilities of the classifier that was trained on the annotations.
    disagreement : Tensor of shape (n_rows,), float32, or None
        Share of passes with dropout in which that classifier names another class than without, in [0, 1].
    unsure : Tensor of shape (n_rows,), float32, or None
        How close its second class comes to its first, in [0, 1], higher = less sure.
    """

    tie_breaker: Tensor
    settled: Tensor | None = None
    barred: Tensor | None = None
    groups: Tensor | None = None
    column: Tensor | None = None
    hardness: Tensor | None = None
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    pseudo_labels: Tensor | None = None
    embeddings: Tensor | None = None
    neighbors: Tensor | None = None
    similarity: Tensor | None = None
    features: Tensor | None = None
    errors: Tensor | None = None
    probabilities: Tensor | None = None
    disagreement: Tensor | None = None
    unsure: Tensor | None = None

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in _PER_ROW} | dict(self.scores)
        for name, value in values.items():
            if value is not None and len(value) != len(self):
                raise ValueError(f"{name} has {len(value):,} rows, expected {len(self):,} as in tie_breaker.")

    def __len__(self) -> int:
        return len(self.tie_breaker)

    def candidates(self) -> Tensor:
        """Return which rows may be selected, bool [M]: those that are neither settled nor barred."""
        return ~self.held() if self.barred is None else ~(self.held() | self.barred)

    @cached_property
    def is_in_order(self) -> bool:
        """Whether the rows come in canonical order; looked at once."""
        return bool((self.tie_breaker[1:] >= self.tie_breaker[:-1]).all())

    @cached_property
    def hardest_first(self) -> Tensor:
        """Positions of finite hardness, int64, from hard to easy, of equals the lower first; sorted once."""
        ordered_M, order_M = torch.sort(required(self, "hardness"), descending=True, stable=True)
        scored_M = ordered_M.isfinite()
        return order_M if bool(scored_M.all()) else order_M[scored_M]

    @cached_property
    def hardest_open(self) -> Tensor:
        """Whether each of `hardest_first` may be selected, bool; looked up once."""
        return self.candidates()[self.hardest_first]

    def held(self) -> Tensor:
        """Return which rows are settled, bool [M]."""
        return torch.zeros(len(self), dtype=torch.bool) if self.settled is None else self.settled


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectorOptions:
    """What a selector is told besides the pool; each selector reads the fields that concern it.

    Attributes
    ----------
    hard_rate : float
        Share of the pool pruned from the hard end, in [0, 1] (the paper's beta). Read by ``elfs`` and ``ccs``.
    trust : float
        How far the pseudo-labels are to be believed, in [0, 1]. Nobody sets it: it is measured. Read by ``auto``.
    per_group : int or None
        Most rows of one of the pool's groups, settled ones included, at least 1. Read by no selector, but by `select`.
    whole_groups : bool
        Whether all of a group is selected or nothing of it. Read by no selector, but by `select`.
    """

    hard_rate: float = 0.0
    trust: float = 1.0
    per_group: int | None = None
    whole_groups: bool = False


class Selector(Protocol):
    """What every selector keeps; its own docstring says what it needs, in which order it ranks, and what is random."""

    def __call__(self, pool: Pool, budget: int, options: SelectorOptions, generator: torch.Generator, /) -> Tensor:
        """Select rows of a pool.

        Parameters
        ----------
        pool : Pool
            In canonical order, with the fields that the selector needs. Embeddings that it reads must be finite.
        budget : int
            Number of rows to select, from 1 to the number of eligible rows: not settled, and with every score that the
            selector looks at.
        options : SelectorOptions
            Without effect but for the fields that the selector names.
        generator : torch.Generator
            On the CPU; the only source of randomness.

        Returns
        -------
        Tensor of shape (budget,), int64
            Different positions in the pool, best first.

        Raises
        ------
        UsageError
            If the options or the budget do not fit the pool.
        ValueError
            If the pool lacks a field, or embeddings are not finite.
        """


def required(pool: Pool, name: str) -> Tensor:
    """Return a field of the pool that a selector cannot do without.

    Parameters
    ----------
    pool : Pool
        The pool.
    name : str
        Name of a field, or of one of ``scores``.

    Returns
    -------
    Tensor
        The field.

    Raises
    ------
    ValueError
        If it is None or not among the scores.
    """
    value = pool.scores.get(name) if name in pool.scores or name not in _PER_ROW else getattr(pool, name)
    if value is None:
        raise ValueError(f"this selector needs the pool's {name}, got None.")
    return value


def check_budget(budget: int, eligible: Tensor) -> None:
    """Check that there are enough rows to select.

    Parameters
    ----------
    budget : int
        Rows that are wanted.
    eligible : Tensor of shape (n_rows,), bool
        Rows that may be selected.

    Raises
    ------
    UsageError
        If `budget` is not between 1 and the number of eligible rows.
    """
    num_eligible = int(eligible.sum())
    if 1 <= budget <= num_eligible:
        return
    without = len(eligible) - num_eligible
    reason = f" ({without:,} of {len(eligible):,} are settled or have no score)" if without else ""
    raise UsageError(
        f"the budget is {budget:,} images, expected 1 to {num_eligible:,}: that many are eligible{reason}."
    )


def take(pool: Pool, positions: Tensor) -> Pool:
    """Return the pool of some rows, with their neighbours renumbered.

    Parameters
    ----------
    pool : Pool
        The pool.
    positions : Tensor of shape (n_taken,), int64
        Different positions in `pool`.

    Returns
    -------
    Pool
        Row i is row ``positions[i]`` of `pool`. Neighbours that were not taken are -1 and come after the others.
    """
    values = {name: getattr(pool, name) for name in _PER_ROW}
    taken = {name: None if value is None else value[positions] for name, value in values.items()}
    if taken["neighbors"] is not None:
        new = torch.full((len(pool) + 1,), -1, dtype=torch.int32)  # the last entry stands for the neighbour -1
        new[positions] = torch.arange(len(positions), dtype=torch.int32)
        neighbors = new[taken["neighbors"].long()]
        here_first = torch.sort((neighbors < 0).to(torch.uint8), dim=1, stable=True).indices
        taken["neighbors"] = neighbors.gather(1, here_first)
        if taken["similarity"] is not None:
            taken["similarity"] = taken["similarity"].gather(1, here_first)
    scores = {name: score[positions] for name, score in pool.scores.items()}
    return Pool(tie_breaker=pool.tie_breaker[positions], scores=scores, **taken)
