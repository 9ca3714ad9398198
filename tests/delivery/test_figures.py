import dataclasses
import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from elfs.delivery.figures import cluster_bars, cluster_numbers, score_histogram
from elfs.delivery.pool import EASY, HARD, KEPT, REST, Band, Pool
from elfs.pipeline.cluster_facts import CountFacts

SVG = "{http://www.w3.org/2000/svg}"


def pool_of(scores: Any, *parts: tuple[str, list[int]], clusters: int = 3) -> Pool:
    values = np.asarray(scores, np.float32)
    bands = tuple(Band(kind, np.array(positions, np.int64)) for kind, positions in parts)
    return Pool(np.arange(len(values)), values, np.arange(len(values)) % clusters, bands)


WINDOW = pool_of([-3.5, -1, 0.25, 2, 5], (HARD, [0, 1]), (KEPT, [2, 3]), (EASY, [4]))


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_histogram_names_its_bands_from_hard_to_easy() -> None:
    svg = score_histogram(WINDOW, "aum", higher_is_harder=False)
    assert texts(svg)[-3:] == ["left out, too hard (2)", "selected (2)", "left out, too easy (1)"]
    assert "hard  \N{LEFTWARDS ARROW}  aum  \N{RIGHTWARDS ARROW}  easy" in texts(svg)


@pytest.mark.slow
def test_colours_are_variables_of_the_page() -> None:
    for svg in (
        score_histogram(WINDOW, "aum", higher_is_harder=False),
        cluster_bars(WINDOW, np.array([2, 3])),
    ):
        assert {"--kept", "--easy", "--ink", "--muted", "--line"} <= set(re.findall(r"var\((--\w+)\)", svg))
        assert not set(re.findall(r"(?<=: )#\w{6}", svg))
    assert "--hard" in score_histogram(WINDOW, "aum", higher_is_harder=False)


def test_nothing_comes_from_elsewhere_and_the_size_is_the_pages() -> None:
    svg = score_histogram(WINDOW, "aum", higher_is_harder=False)
    assert set(re.findall(r"https?://[^\"/]+", svg)) == {"http://www.w3.org"}
    head = svg[: svg.index(">")]
    assert "viewBox" in head
    assert "width=" not in head


@pytest.mark.parametrize("most", [4, 90])
def test_the_number_of_clusters_is_shown_with_those_that_are_as_good(most: int) -> None:
    candidates = [2, 3, 4, most][: 3 + (most > 4)]
    groups = [2.0, 3.3, 3.5, 4.0][: len(candidates)]
    svg = cluster_numbers(CountFacts(3, (3, 4), tuple(candidates), tuple(groups)))
    assert texts(svg)[-3:] == ["as good", "as many as supposed", "3, taken"]
    assert {"clusters supposed", "groups left"} <= set(texts(svg))
    if most == 90:
        assert numbers_along(svg) == [2, 5, 10, 20, 50]
    assert {"--kept", "--easy", "--ink", "--muted"} <= set(re.findall(r"var\((--\w+)\)", svg))


def test_where_no_other_number_is_as_good_there_is_no_band() -> None:
    svg = cluster_numbers(CountFacts(3, (3, 3), (2, 3, 4), (2.0, 3.3, 3.5)))
    assert texts(svg)[-2:] == ["as many as supposed", "3, taken"]
    assert "as good" not in texts(svg)


def test_equal_pools_give_equal_figures() -> None:
    assert cluster_bars(WINDOW, np.array([2])) == cluster_bars(WINDOW, np.array([2]))


def numbers_along(svg: str) -> list[float]:
    """Return the numbers under the horizontal axis from left to right."""
    groups = ElementTree.fromstring(svg).iter(f"{SVG}g")
    axis = next(group for group in groups if group.get("id") == "matplotlib.axis_1")
    found = []
    for element in axis.iter(f"{SVG}text"):
        text = "".join(element.itertext()).replace("\N{MINUS SIGN}", "-")
        if re.fullmatch(r"-?[\d.]+", text):
            found.append((float(element.attrib["x"]), float(text)))
    return [number for _, number in sorted(found)]


@pytest.mark.parametrize("higher_is_harder", [False, True])
def test_hard_is_on_the_left(higher_is_harder: bool) -> None:
    numbers = numbers_along(score_histogram(WINDOW, "key", higher_is_harder=higher_is_harder))
    assert len(numbers) > 2
    assert numbers == sorted(numbers, reverse=higher_is_harder)


@pytest.mark.parametrize("scores", [[1, 1, 1], [0, 3, 7], [0.5, np.nan, 0.75], [0.25], [0.1, 1e6, 0.2]])
def test_any_scores_can_be_drawn(scores: list[float]) -> None:
    pool = pool_of(scores, (KEPT, [0]), (REST, list(range(1, len(scores)))))
    assert "selected (1)" in texts(score_histogram(pool, "loss", higher_is_harder=True))


@pytest.mark.slow
def test_clusters_are_named_while_there_is_room() -> None:
    few = cluster_bars(pool_of(np.arange(40), (KEPT, [0]), clusters=4), np.array([0]))
    assert {"0", "1", "2", "3", "cluster"} <= set(texts(few))
    many = cluster_bars(pool_of(np.arange(100), (KEPT, [0]), clusters=50), np.array([0]))
    assert "50 clusters, largest first" in texts(many)


def test_classes_are_called_by_their_names() -> None:
    pool = dataclasses.replace(
        pool_of(np.arange(40), (KEPT, [0]), clusters=3), names=("tabby $cat$", "dog", "cluster 2")
    )
    drawn = set(texts(cluster_bars(pool, np.array([0]))))
    assert {"tabby $cat$", "dog", "2", "class"} <= drawn
    assert "cluster" not in drawn
    long = dataclasses.replace(pool, names=("a" * 40, "dog", "cluster 2"))
    assert "a" * 15 + "…" in texts(cluster_bars(long, np.array([0])))
