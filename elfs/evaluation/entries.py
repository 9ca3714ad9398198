"""What may be typed after ``--methods`` and ``--budgets``."""

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import dataclass

from elfs.budget import Budget
from elfs.catalog import SCORES, SELECTORS
from elfs.config import CompareConfig, SelectConfig
from elfs.errors import UsageError
from elfs.pipeline.graph import COMPARE_PREFIX, default_selection_name
from elfs.suggestions import choose

__all__ = ["ALL", "Entry", "every_method", "first_entry", "parse_budgets", "parse_methods", "round_names"]

ALL = "all"
"""Stands for every method whose needs are met."""

_ENTRY = re.compile(r"([^@:]*)(?:@([^:]*))?(?::(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Entry:
    """One method of a comparison.

    Attributes
    ----------
    method : str
        A key of ``catalog.SELECTORS``.
    key : str or None
        Score that it ranks by; None where it ranks by none.
    hard_rate : str or None
        Share that it prunes, or ``search``; None where select works it out, or it prunes nothing.
    """

    method: str
    key: str | None = None
    hard_rate: str | None = None

    @property
    def label(self) -> str:
        """The entry as it can be typed: ``elfs@aum:0.3``."""
        key = "" if self.key is None else f"@{self.key}"
        return self.method + key + ("" if self.hard_rate is None else f":{self.hard_rate}")

    def select_config(self, budget: str, seed: int) -> SelectConfig:
        """Return what select is told.

        Parameters
        ----------
        budget : str
            As after ``--budget``.
        seed : int
            Seed of the selection.

        Returns
        -------
        SelectConfig
            The selection lands under its default name with ``compare-`` before it, beside those that a person made.
        """
        key = SelectConfig().key if self.key is None else self.key
        config = SelectConfig(method=self.method, key=key, hard_rate=self.hard_rate, budget=budget, seed=seed)
        return dataclasses.replace(config, name=f"{COMPARE_PREFIX}{default_selection_name(config)}")


def parse_methods(config: CompareConfig) -> list[Entry | str]:
    """Read ``elfs,elfs@el2n,ccs:0.3,random``.

    Parameters
    ----------
    config : CompareConfig
        Its ``methods``; its key and hard rate hold where a method names none.

    Returns
    -------
    list of (Entry or ``"all"``)
        In the order typed, each once.

    Raises
    ------
    UsageError
        If a name or a key does not exist, a hard rate is none, or a method is given a key or a hard rate that does not
        concern it.
    """
    SelectConfig(hard_rate=config.hard_rate)  # checked even where no method prunes
    words = [word.strip() for word in config.methods.split(",") if word.strip()]
    if not words:
        raise UsageError(f"--methods is {config.methods!r}, expected names such as elfs,random.")
    return list(dict.fromkeys(ALL if word == ALL else _entry(word, config) for word in words))


def _entry(word: str, config: CompareConfig) -> Entry:
    match = _ENTRY.fullmatch(word)
    assert match is not None
    name, key, hard_rate = match.groups()
    known = SELECTORS if name == ALL else [*SELECTORS, ALL]  # "all" takes neither key nor hard rate
    method = SELECTORS[choose("method in --methods:", name, known)]
    if key is not None and not method.keyed:
        raise UsageError(f"--methods: '{word}' names a key, but {name} ranks by none.")
    if hard_rate is not None and not method.prunes:
        raise UsageError(f"--methods: '{word}' names a hard rate, but {name} prunes nothing.")
    if key is not None:
        choose("score key in --methods:", key, SCORES)
    return _complete(name, key, hard_rate, config)


def _complete(name: str, key: str | None, hard_rate: str | None, config: CompareConfig) -> Entry:
    """Return the entry with what the options say where it says nothing."""
    method = SELECTORS[name]
    if method.prunes:
        given = config.hard_rate if hard_rate is None else None if hard_rate == "auto" else hard_rate
        hard_rate = SelectConfig(hard_rate=given).hard_rate  # checked, and in the one way to write it
    return Entry(name, (config.key if key is None else key) if method.keyed else None, hard_rate)


def every_method(config: CompareConfig) -> Iterable[Entry]:
    """Return every method there is, with the key and the hard rate of the options.

    Parameters
    ----------
    config : CompareConfig
        Key and hard rate.

    Returns
    -------
    iterable of Entry
        In the order of ``catalog.SELECTORS``.
    """
    return (_complete(name, None, None, config) for name in SELECTORS)


def first_entry(config: CompareConfig) -> Entry:
    """Return the method of the first round.

    Parameters
    ----------
    config : CompareConfig
        Its method, key and hard rate.

    Returns
    -------
    Entry
        The same for all methods that are compared.
    """
    return _complete(config.first, None, None, config)


def round_names(config: CompareConfig) -> list[str]:
    """Return what the rounds are called: by what is annotated after each.

    Parameters
    ----------
    config : CompareConfig
        Rounds and batch.

    Returns
    -------
    list of str
        ``1 x 2%``, ``2 x 2%`` and so on; empty without rounds.
    """
    return [f"{number} x {config.batch.strip()}" for number in range(1, (config.rounds or 0) + 1)]


def parse_budgets(config: CompareConfig) -> list[str]:
    """Read ``0.01,5%,100``.

    Parameters
    ----------
    config : CompareConfig
        Its ``budgets``.

    Returns
    -------
    list of str
        Each as after ``--budget``, in the order typed, each once.

    Raises
    ------
    UsageError
        If there is none, or one cannot be read.
    """
    found = list(dict.fromkeys(word.strip() for word in config.budgets.split(",") if word.strip()))
    if not found:
        raise UsageError(f"--budgets is {config.budgets!r}, expected shares or counts such as 0.01,0.05,0.1.")
    for text in found:
        try:
            Budget.parse(text)
        except UsageError as error:
            raise UsageError(error.message.replace("--budget", "--budgets", 1)) from None
    return found
