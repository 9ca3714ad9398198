"""What elfs names where a stage takes long: the options exist, and the figures are measured ones."""

import re
from pathlib import Path

import pytest

from elfs.config import ClusterConfig, DynamicsConfig, EmbedConfig, SelectConfig, TrainingConfig, cheaper

RESULTS = (Path(__file__).parents[1] / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
ENCODERS = ("vit_base_patch16_224.dino", "resnet50+patches", "lite+pixels", "patches", "pixels")
TEXTS = [getattr(cheaper, name) for name in cheaper.__all__ if name.isupper()]
TEXTS += [cheaper.than_exact_neighbors(), *(cheaper.than_encoder(name) for name in ENCODERS)]


@pytest.mark.parametrize("text", TEXTS)
def test_figures_are_those_of_the_results(text: str) -> None:
    assert all(figure in RESULTS for figure in re.findall(r"\d+\.\d+", text))
    assert "take" in text or "fewer" in text


@pytest.mark.parametrize("text", TEXTS)
def test_options_exist(text: str) -> None:
    configs = (EmbedConfig, ClusterConfig, DynamicsConfig, SelectConfig, TrainingConfig)
    known = {name for config in configs for name in config.__dataclass_fields__}
    named = [name.replace("-", "_") for name in re.findall(r"--([a-z][a-z-]+)", text)]
    assert named
    assert known >= set(named)


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
