"""SPEC in words: what it may say, how it is written, what is refused."""

import dataclasses
import subprocess
import sys

import pytest

from elfs.data.synthetic.spec import PRESETS, SyntheticSpec, canonical_source, parse_source
from elfs.errors import UsageError


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("synthetic:", "synthetic:clean"),
        ("synthetic:clean", "synthetic:clean"),
        ("synthetic:classes=10", "synthetic:clean"),
        ("synthetic: size = 16 , classes=3", "synthetic:clean,classes=3,size=16"),
        ("synthetic:balanced", "synthetic:balanced"),
        ("synthetic:redundancy=0.30,clutter=.6,ambiguity=5e-2", "synthetic:balanced"),
        ("synthetic:balanced,redundancy=0,ambiguity=0,clutter=0.5", "synthetic:clean"),
        ("synthetic:longtail,seed=0", "synthetic:longtail"),
        ("synthetic:longtail,imbalance=7.0,seed=3", "synthetic:longtail,imbalance=7,seed=3"),
        ("synthetic:outliers=0.123456789", "synthetic:clean,outliers=0.123456789"),
        ("synthetic:clean,size=32,colour=random", "synthetic:shapes"),
        ("synthetic:shapes,colour=class,seed=1", "synthetic:colours,seed=1"),
        ("synthetic:shapes,colour=plain", "synthetic:clean,size=32"),
    ],
)
def test_equal_specs_have_one_name(typed: str, name: str) -> None:
    assert canonical_source(typed) == name
    assert parse_source(name) == parse_source(typed)
    assert canonical_source(name) == name


def test_other_sources_keep_their_names() -> None:
    assert [canonical_source(name) for name in ("digits", "folder", "synthetic", "")] == [
        "digits",
        "folder",
        "synthetic",
        "",
    ]


def test_every_value_is_read() -> None:
    words = (
        "classes=3,images=60,test=9,size=16,styles=2,clutter=0.1,redundancy=0.25,ambiguity=0.15,outliers=0.04,"
        "imbalance=2,duplicates=0.11,seed=4,colour=random"
    )
    spec = parse_source(f"synthetic:{words}")
    assert dataclasses.astuple(spec) == (3, 60, 9, 16, 2, 0.1, 0.25, 0.15, 0.04, 2.0, 0.11, 4, "random")
    assert spec.name == "synthetic:shapes," + words.removesuffix(",colour=random")


def test_presets_stay_as_they_are() -> None:
    """They stand in manifests: another meaning of ``balanced`` would be another pool under the same name."""
    assert {name: dataclasses.astuple(spec) for name, spec in PRESETS.items()} == {
        "clean": (10, 2000, 500, 12, 4, 0.5, 0.0, 0.0, 0.0, 1.0, 0.0, 0, "plain"),
        "balanced": (10, 2000, 500, 12, 4, 0.6, 0.3, 0.05, 0.0, 1.0, 0.0, 0, "plain"),
        "longtail": (10, 3000, 500, 12, 3, 0.4, 0.2, 0.05, 0.05, 20, 0.1, 0, "plain"),
        "shapes": (10, 2000, 500, 32, 4, 0.5, 0.0, 0.0, 0.0, 1.0, 0.0, 0, "random"),
        "colours": (10, 2000, 500, 32, 4, 0.5, 0.0, 0.0, 0.0, 1.0, 0.0, 0, "class"),
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("balance", r"^synthetic: there is no preset 'balance'\. Did you mean 'balanced'\? Expected one of clean, bal"),
        (
            "zzz,seed=1",
            r"^synthetic: there is no preset 'zzz'\. Expected one of clean, balanced, longtail, shapes, colours, or",
        ),
        ("seed=1,balanced", r"^synthetic: expected name=value, got 'balanced' \(a preset comes first\)\.$"),
        ("seed=1,", r"^synthetic: expected name=value, got ''"),
        (
            "image=3",
            r"no value 'image'\. Did you mean 'images'\? Available: classes, images, .*, duplicates, seed, colour\.",
        ),
        ("=3", r"^synthetic: there is no value ''\. Available: classes, "),
        ("seed=1,seed=1", r"^synthetic: seed is given twice\.$"),
        ("images=1e3", r"^synthetic: images is '1e3', expected a whole number\.$"),
        ("clutter=much", r"^synthetic: clutter is 'much', expected a number\.$"),
        ("size=", r"^synthetic: size is '', expected a whole number\.$"),
        ("size=7", r"^synthetic: size is 7, expected 8 to 256\.$"),
        ("images=20000000", r"^synthetic: images is 20,000,000, expected 4 to 10,000,000\.$"),
        ("seed=-1", r"^synthetic: seed is -1, expected 0 to 4,294,967,295\.$"),
        ("outliers=1", r"^synthetic: outliers is 1, expected 0 to 0\.95\.$"),
        ("colour=red", r"^synthetic: colour is 'red', expected one of plain, random, class\.$"),
        ("imbalance=0.5", r"^synthetic: imbalance is 0\.5, expected 1 to 1,000\.$"),
        ("clutter=nan", r"^synthetic: clutter is nan, expected 0 to 1\.$"),
        ("clutter=inf", r"^synthetic: clutter is inf, expected 0 to 1\.$"),
        (
            "images=100,redundancy=0.6,duplicates=0.31",
            r"^synthetic: redundancy, ambiguity, outliers, duplicates take 91 of 100 images together, expected at most "
            r"90: every class needs a plain image\.$",
        ),
        ("images=8,classes=9", r"^synthetic: images is 8, expected at least 9 for 9 classes with imbalance 1\.$"),
        # 21 images of which the first class has 20 and the second one
        ("classes=2,images=20,imbalance=20", r"^synthetic: images is 20, expected at least 21 for 2 classes with imb"),
    ],
)
def test_refusal_says_what_was_expected(words: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_source(f"synthetic:{words}")


def test_smallest_pool_that_an_imbalance_allows() -> None:
    assert parse_source("synthetic:classes=2,images=21,imbalance=20").images == 21


def test_spec_checks_itself_without_the_parser() -> None:
    with pytest.raises(UsageError, match=r"^synthetic: styles is 0, expected 1 to 16\.$"):
        SyntheticSpec(styles=0)


def test_reading_a_spec_needs_no_heavy_library() -> None:
    code = "import sys, elfs.data.synthetic.spec; print({'numpy', 'torch', 'PIL'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
