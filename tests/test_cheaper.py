"""What elfs names where a stage takes long: the options exist, and the figures are those that were measured."""

import re
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from elfs.config import ClusterConfig, DynamicsConfig, EmbedConfig, SelectConfig, TrainingConfig, cheaper

RESULTS = Path(__file__).parents[1] / "benchmarks" / "RESULTS.md"
SECTION = "#what-takes-less-and-what-that-costs"
ENCODERS = ("vit_base_patch16_224.dino", "resnet50+patches", "lite+pixels", "patches", "pixels")
SENTENCES = {name: text for name, text in vars(cheaper).items() if name.isupper() and isinstance(text, str)}
NUMBER = r"(?<![\w.,-])\d+(?:,\d{3})*(?:\.\d+)?(?!\w)"
POOL = r"digits|MNIST|emoji|crops|drawings|coloured shapes|synthetic:balanced"
CLAIM = re.compile(rf"({NUMBER}) for ({NUMBER})(?: %)?(?:[^,.;:\d]*? on ({POOL}))?")


class Row(NamedTuple):
    """A line of the table: what was measured, as it stands where it was measured."""

    option: str
    of: str
    reduced: str
    usual: str
    links: str

    def numbers(self) -> list[str]:
        """Return every number of the line."""
        return re.findall(NUMBER, f"{self.option} | {self.of} | {self.reduced} | {self.usual}")


def section(link: str) -> str:
    """Return what stands under the heading that a link of the results leads to, up to the next heading."""
    path, _, anchor = link.partition("#")
    parts = re.split(r"(?m)^#+ (.*)\n", (RESULTS.parent / path if path else RESULTS).read_text(encoding="utf-8"))
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in parts[1::2]]
    return parts[2::2][anchors.index(anchor)]


def rows() -> dict[str, list[Row]]:
    """Return the lines of the table by the sentence's name."""
    found: dict[str, list[Row]] = {}
    line = r"(?m)^\| `([A-Z_]+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$"
    for name, *cells in re.findall(line, section(SECTION)):
        found.setdefault(name, []).append(Row(*cells))
    return found


def is_said(said: str, measured: str) -> bool:
    """Return whether a number is a measured one, rounded; shares may be said in percent."""
    exact, quantum = Decimal(measured.replace(",", "")), Decimal(said.replace(",", ""))
    choices = (exact, 100 * exact) if exact <= 1 else (exact,)
    return any(choice.quantize(quantum, ROUND_HALF_UP) == quantum for choice in choices)


def faults(text: str, lines: list[Row]) -> list[str]:
    """Return what a sentence says that its lines of the table do not."""
    found = []
    claims = CLAIM.findall(text)
    pool = ""
    pools = [pool := own or pool for *_, own in reversed(claims)][::-1]
    if claims and len(claims) != len(lines):
        found.append(f"{len(claims)} comparisons, {len(lines)} lines")
    for (reduced, usual, _), pool, line in zip(claims, pools, lines, strict=False):
        if not (is_said(reduced, line.reduced) and is_said(usual, line.usual) and pool and pool in line.of):
            found.append(f"{reduced} for {usual} on {pool!r}, but {line}")
    rest = re.findall(NUMBER, CLAIM.sub("", text))
    found += [number for number in rest if not any(is_said(number, own) for line in lines for own in line.numbers())]
    if not claims:
        found += [line.reduced for line in lines if not any(is_said(number, line.reduced) for number in rest)]
    return found


def test_every_sentence_has_its_lines() -> None:
    assert set(rows()) == set(SENTENCES)
    assert set(cheaper.__all__) >= {name for name in SENTENCES if not name.startswith("_")}


@pytest.mark.parametrize("name", SENTENCES)
def test_sentences_say_what_their_lines_say(name: str) -> None:
    assert faults(SENTENCES[name], rows()[name]) == []


@pytest.mark.parametrize("name", SENTENCES)
def test_every_other_figure_is_noticed(name: str) -> None:
    text, lines = SENTENCES[name], rows()[name]
    for match in re.finditer(NUMBER, text):
        digits = match[0]
        other = digits[:-1] + str((int(digits[-1]) + 1) % 10)
        assert faults(text[: match.start()] + other + text[match.end() :], lines), f"{other} for {digits}"


@pytest.mark.parametrize("name", SENTENCES)
def test_lines_say_what_was_measured(name: str) -> None:
    for line in rows()[name]:
        text = "\n".join(section(link) for link in re.findall(r"\]\((.*?)\)", line.links))
        for figure in (line.reduced, line.usual):
            assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d]|[.,]\d)", text), f"{figure} of {line.links}"


@pytest.mark.parametrize("text", SENTENCES.values())
def test_options_exist(text: str) -> None:
    configs = (EmbedConfig, ClusterConfig, DynamicsConfig, SelectConfig, TrainingConfig)
    known = {name for config in configs for name in config.__dataclass_fields__}
    named = [name.replace("-", "_") for name in re.findall(r"--([a-z][a-z-]+)", text)]
    assert named
    assert known >= set(named)
    assert "take" in text or "fewer" in text


@pytest.mark.parametrize(
    ("encoder", "named"), list(zip(ENCODERS, ("lite", "lite", "patches", "pixels", "fewer"), strict=True))
)
def test_what_takes_less_is_no_part_of_the_encoder_that_counts(encoder: str, named: str) -> None:
    assert named in cheaper.than_encoder(encoder).split(":")[0]
    assert not cheaper.than_encoder(encoder).startswith(f"--encoder {encoder} ")


def test_what_needs_faiss_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without = "pip install faiss-cpu: --neighbor-search ivf takes less"
    for installed, start in ((object(), "--neighbor-search ivf takes less"), (None, without)):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, found=installed: found)
        assert cheaper.than_exact_neighbors().startswith(start)
