"""What there is to say for a selection and against it, in words and figures, the same everywhere.

No label is seen, and what was found when the selection was made is all that counts. Importing this costs no torch.
"""

from dataclasses import dataclass

from elfs.catalog import ENCODERS
from elfs.pipeline.facts import SelectionFacts
from elfs.pipeline.trust import doubt

__all__ = ["FAIR", "GOOD", "WEAK", "Finding", "Verdict", "verdict"]

GOOD, FAIR, WEAK = "good", "fair", "weak"
_LEVELS = (GOOD, FAIR, WEAK)

_HIGH_TRUST = 0.7
_MANY_MISSED = 0.1
_STEADY = 0.5
_SEED = "seed"
_SURE = 0.9
"""Share of the random draws that are beaten, or not, before it is no chance."""

_WITNESSES = {
    "annotations": "agreement with annotations",
    "heads": "agreement of the clusterings",
    "neighbors": "agreement of neighbours",
    "proxies": "agreement of proxies",
}

_TRY_AUTO, _TRY_BALANCE = "--method auto", "--balance cluster"
_TRY_PROXIES = "more proxies (elfs dynamics --recipe ensemble --proxies 256)"
_TRY_ENCODER, _TRY_OTHER = "a pretrained encoder (elfs embed --list-encoders)", "another encoder"


@dataclass(frozen=True)
class Finding:
    """One thing that there is to say.

    Attributes
    ----------
    topic : str
        What it is about, a word or two.
    level : str
        ``GOOD``, ``FAIR`` or ``WEAK``.
    text : str
        What was found, in words and figures, without a full stop.
    detail : str
        The figures behind it.
    advice : tuple of str
        What to try, as in "try ..."; best first.
    """

    topic: str
    level: str
    text: str
    detail: str
    advice: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """All that there is to say.

    Attributes
    ----------
    findings : tuple of Finding
        In a fixed order; empty where nothing is known.
    """

    findings: tuple[Finding, ...]

    @property
    def level(self) -> str:
        """The worst of the findings; ``GOOD`` where there are none."""
        return max((finding.level for finding in self.findings), key=_LEVELS.index, default=GOOD)

    @property
    def reasons(self) -> str:
        """What decided the level."""
        return ", ".join(finding.text for finding in self.findings if finding.level == self.level)

    @property
    def besides(self) -> list[str]:
        """What people are told whatever the level: how far the picks hang on the seed, where that did not decide it."""
        return [finding.text for finding in self.findings if finding.topic == _SEED and finding.level != self.level]

    @property
    def advice(self) -> str:
        """What to try, as a list in words; empty where there is nothing."""
        wanted = dict.fromkeys(part for finding in self.findings for part in finding.advice)
        *first, last = wanted or [""]
        return f"{', '.join(first)}{',' if len(first) > 1 else ''} or {last}" if first else last

    @property
    def text(self) -> str:
        """All of it in one line, such as ``weak: 9 of 20 clusters missed: try --balance cluster``."""
        return f"{self.level}: {self.reasons}" + (f": try {self.advice}" if self.advice else "")


def verdict(facts: SelectionFacts) -> Verdict:
    """Return what there is to say about a selection.

    Parameters
    ----------
    facts : SelectionFacts
        What select says about it; that of an older elfs says less, and there are fewer findings.

    Returns
    -------
    Verdict
        The findings on coverage, clusters, pseudo-labels, proxies and copies, as far as something is known.
    """
    kinds = (_coverage, _clusters, _pseudo_labels, _proxies, _copies)
    return Verdict(tuple(finding for kind in kinds if (finding := kind(facts)) is not None))


def _coverage(facts: SelectionFacts) -> Finding | None:
    """Judge how well the pool is covered; below chance is no fault by itself, as it lies with methods that cut."""
    found = facts.coverage
    if found is None or facts.share >= 1:
        return None
    draws = f"{found.draws} random draws"
    detail = (
        f"mean cosine of an image to the nearest pick {found.selected:.3f}; to that of as many random ones "
        f"{found.lowest:.3f} to {found.highest:.3f}"
    )
    if found.beaten >= _SURE * found.draws:
        text = f"covers the pool better than {found.beaten} of {draws}"
        return Finding("coverage", GOOD, text, detail)
    if found.selected >= found.lowest:
        text = f"covers the pool no better than chance (better than {found.beaten} of {draws})"
    else:
        text = f"covers the pool worse than {found.draws} of {draws}"
    return Finding("coverage", FAIR, text, detail, () if facts.method == "auto" else (_TRY_AUTO,))


def _clusters(facts: SelectionFacts) -> Finding | None:
    if facts.clusters is None:
        return None
    num, covered = facts.clusters, facts.clusters_covered or 0
    missed = num - covered if facts.clusters_missed is None else facts.clusters_missed
    if num == 1:
        detail = "none is told from another, so difficulty by pseudo-labels says nothing"
        return Finding("clusters", WEAK, "all images are in one cluster", detail, (_encoder(facts),))
    detail = f"{facts.picks_per_cluster} picks from each"
    if not missed:
        others = ", the others in earlier rounds" if covered < num else ""
        return Finding("clusters", GOOD, f"{covered:,} of {num:,} clusters{others}", detail)
    text = f"{missed:,} of {num:,} clusters missed"
    if facts.count < num:
        budget = f"--budget {2 * num}" if facts.eligible > 2 * num else f"--budget {facts.eligible}"
        return Finding("clusters", FAIR, text, detail, (budget,))
    advice = () if facts.balance in ("cluster", "class") else (_TRY_BALANCE,)
    return Finding("clusters", WEAK if missed > _MANY_MISSED * num else FAIR, text, detail, advice)


def _pseudo_labels(facts: SelectionFacts) -> Finding | None:
    """Judge the pseudo-labels by the least of those who speak for them."""
    trust, confident = facts.trust, facts.confident
    if trust is None:
        return None
    detail = ", ".join(f"{_WITNESSES[name]} {value:.2f}" for name, value in sorted(facts.trust_by.items()))
    detail += "" if confident is None else f", {confident:.0%} confident"
    text = f"pseudo-labels trusted {trust:.2f} of 1"
    if trust >= _HIGH_TRUST:
        return Finding("pseudo-labels", GOOD, text, detail)
    text = text if confident is None or confident >= _HIGH_TRUST else f"{text}, {confident:.0%} confident"
    doubted = doubt(facts) is not None
    if facts.method == "auto":
        detail += "; auto goes by the images where they are not to be believed"
    advice = (*(_TRY_AUTO,) * doubted, _encoder(facts))
    return Finding("pseudo-labels", WEAK if doubted else FAIR, text, detail, advice)


def _proxies(facts: SelectionFacts) -> Finding | None:
    """Say how far the picks hang on which proxies were trained; those that do may be no worse than others."""
    same = facts.same_with_other_proxies
    if same is None:
        return None
    text = f"{round(100 * same)} of 100 picks would be the same with other proxies"
    detail = "as many others, on the same embeddings and clusters"
    steady = same >= _STEADY
    return Finding(_SEED, GOOD if steady else FAIR, text, detail, () if steady else (_TRY_PROXIES,))


def _encoder(facts: SelectionFacts) -> str:
    return _TRY_ENCODER if facts.encoder in ENCODERS else _TRY_OTHER


def _copies(facts: SelectionFacts) -> Finding | None:
    num = facts.copies_left_out
    if not num:
        return None
    return Finding(
        "copies", GOOD, f"{num:,} {'copy' if num == 1 else 'copies'} avoided", "they would have been paid for twice"
    )
