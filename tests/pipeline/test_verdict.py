"""What is said for a selection and against it, from what its record says."""

from typing import Any

import pytest

from elfs.pipeline.facts import SelectionFacts
from elfs.pipeline.verdict import FAIR, GOOD, WEAK, verdict

BASE = {"name": "r1", "method": "elfs", "key": "aum", "count": 60, "eligible": 300, "share": 0.2}
COVERAGE = {"selected": 0.8, "random": 0.7, "lowest": 0.6, "highest": 0.75, "beaten": 20, "draws": 20}
CLUSTERS = {"clusters": 20, "clusters_covered": 20, "fewest_per_cluster": 1, "most_per_cluster": 9}

TOPICS = {
    "covers": "coverage",
    "cluster": "clusters",
    "pseudo-labels": "pseudo-labels",
    "proxies": "seed",
    "avoided": "copies",
}


def facts(**more: Any) -> SelectionFacts:
    return SelectionFacts.of(BASE | more)


def coverage(**more: Any) -> dict[str, Any]:
    return {"coverage": COVERAGE | more}


def trust(value: float, **more: Any) -> dict[str, Any]:
    return {"trust": value, "trust_by": {"heads": 0.9, "neighbors": value}, **more}


@pytest.mark.parametrize(
    ("more", "level", "text"),
    [
        (coverage(), GOOD, "covers the pool better than 20 of 20 random draws"),
        (coverage(beaten=18), GOOD, "covers the pool better than 18 of 20 random draws"),
        (
            coverage(beaten=17),
            FAIR,
            "covers the pool no better than chance (better than 17 of 20 random draws): try --method auto",
        ),
        (
            coverage(selected=0.5, beaten=0),
            FAIR,
            "covers the pool worse than 20 of 20 random draws: try --method auto",
        ),
        (
            coverage(selected=0.5, beaten=0) | {"method": "auto"},
            FAIR,
            "covers the pool worse than 20 of 20 random draws",
        ),
        (CLUSTERS, GOOD, "20 of 20 clusters"),
        (CLUSTERS | {"clusters_covered": 18}, FAIR, "2 of 20 clusters missed: try --balance cluster"),
        (CLUSTERS | {"clusters_covered": 11}, WEAK, "9 of 20 clusters missed: try --balance cluster"),
        (CLUSTERS | {"clusters_covered": 11, "balance": "cluster"}, WEAK, "9 of 20 clusters missed"),
        (
            CLUSTERS | {"clusters_covered": 11, "clusters_missed": 3},
            WEAK,
            "3 of 20 clusters missed: try --balance cluster",
        ),
        (
            CLUSTERS | {"clusters_covered": 11, "clusters_missed": 0},
            GOOD,
            "11 of 20 clusters, the others in earlier rounds",
        ),
        (CLUSTERS | {"clusters_covered": 20, "clusters_missed": 0}, GOOD, "20 of 20 clusters"),
        (CLUSTERS | {"clusters_covered": 9, "count": 9}, FAIR, "11 of 20 clusters missed: try --budget 40"),
        (
            CLUSTERS | {"clusters_covered": 9, "count": 9, "eligible": 30},
            FAIR,
            "11 of 20 clusters missed: try --budget 30",
        ),
        (
            CLUSTERS | {"clusters": 1, "clusters_covered": 1, "method": "auto"},
            WEAK,
            "all images are in one cluster: try another encoder",
        ),
        (trust(0.1, confident=1.0), WEAK, "pseudo-labels trusted 0.10 of 1: try --method auto or another encoder"),
        (trust(0.7), GOOD, "pseudo-labels trusted 0.70 of 1"),
        (trust(0.69), FAIR, "pseudo-labels trusted 0.69 of 1: try another encoder"),
        (
            trust(0.2, confident=0.07, encoder="patches"),
            WEAK,
            "pseudo-labels trusted 0.20 of 1, 7% confident: try --method auto or a pretrained encoder "
            "(elfs embed --list-encoders)",
        ),
        (trust(0.2) | {"method": "auto"}, FAIR, "pseudo-labels trusted 0.20 of 1: try another encoder"),
        ({"same_with_other_proxies": 0.5}, GOOD, "50 of 100 picks would be the same with other proxies"),
        (
            {"same_with_other_proxies": 0.494},
            FAIR,
            "49 of 100 picks would be the same with other proxies: "
            "try more proxies (elfs dynamics --recipe ensemble --proxies 256)",
        ),
        ({"copies_left_out": 1}, GOOD, "1 copy avoided"),
        ({"copies_left_out": 2}, GOOD, "2 copies avoided"),
    ],
)
def test_one_finding(more: dict[str, Any], level: str, text: str) -> None:
    found = verdict(facts(**more))
    assert (found.level, found.text) == (level, f"{level}: {text}")
    [finding] = found.findings
    assert finding.detail
    assert finding.topic == next(topic for word, topic in TOPICS.items() if word in text)


def test_how_far_it_hangs_on_the_seed_is_told_whatever_the_level() -> None:
    steady = {"same_with_other_proxies": 0.93}
    line = "93 of 100 picks would be the same with other proxies"
    assert verdict(facts(**steady, **trust(0.6))).besides == [line]
    good = verdict(facts(**steady, **coverage()))
    assert good.besides == []
    assert good.reasons == f"covers the pool better than 20 of 20 random draws, {line}"


@pytest.mark.parametrize(
    ("fewest", "most", "text"), [(10, 18, "10 to 18"), (20, 20, "20"), (0, 0, "0"), (1000, 2000, "1,000 to 2,000")]
)
def test_picks_of_each_cluster_are_one_figure_where_all_have_equally_many(fewest: int, most: int, text: str) -> None:
    told = facts(**CLUSTERS | {"fewest_per_cluster": fewest, "most_per_cluster": most})
    assert told.picks_per_cluster == text
    [finding] = verdict(told).findings
    assert finding.detail == f"{text} picks from each"


def test_the_worst_decides_and_all_advice_is_given_once() -> None:
    found = verdict(facts(**coverage(beaten=3), **CLUSTERS | {"clusters_covered": 11}, **trust(0.2), copies_left_out=3))
    assert [finding.level for finding in found.findings] == [FAIR, WEAK, WEAK, GOOD]
    assert found.text == (
        "weak: 9 of 20 clusters missed, pseudo-labels trusted 0.20 of 1: try --method auto, --balance cluster, or "
        "another encoder"
    )


@pytest.mark.parametrize("more", [{}, {"share": 1.0, **coverage(beaten=0)}, {"copies_left_out": 0}])
def test_nothing_is_said_where_nothing_is_known(more: dict[str, Any]) -> None:
    found = verdict(facts(**more))
    assert (found.findings, found.level, found.advice) == ((), GOOD, "")


def test_details_name_the_figures_behind() -> None:
    details = [
        finding.detail for finding in verdict(facts(**coverage(), **CLUSTERS, **trust(0.9, confident=0.5))).findings
    ]
    assert details == [
        "mean cosine of an image to the nearest pick 0.800; to that of as many random ones 0.600 to 0.750",
        "1 to 9 picks from each",
        "agreement of the clusterings 0.90, agreement of neighbours 0.90, 50% confident",
    ]
