import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from elfs.models.published import PUBLISHED

Elfs = Callable[..., Any]


def test_table(elfs: Elfs) -> None:
    ran = elfs("embed", "--list-encoders", "swav")
    assert (ran.code, ran.err) == (0, "")
    assert [line.split() for line in ran.out.splitlines()] == [
        ["name", "dimensions", "input", "licence", "source"],
        ["swav_resnet50", "2048", "224", "unknown", PUBLISHED["swav_resnet50"].source],
    ]
    assert not Path("elfs-workspace").exists()


def test_encoders_without_weights_have_dashes(elfs: Elfs) -> None:
    [_, row] = elfs("embed", "--list-encoders", "pixels").out.splitlines()
    assert row.split() == ["pixels", "-", "-", "none", "needed", "-"]


def test_document(elfs: Elfs) -> None:
    ran = elfs("embed", "--list-encoders", "--json")
    listed = {item["name"]: item for item in json.loads(ran.out)["encoders"]}
    assert listed.keys() == {"patches", "pixels", *PUBLISHED}
    assert listed["msn_vit_large"] == {
        "name": "msn_vit_large",
        "dimensions": 1024,
        "input_size": 224,
        "licence": "unknown",
        "source": "https://dl.fbaipublicfiles.com/msn/vitl16_600ep.pth.tar",
    }


def test_nothing_matches(elfs: Elfs) -> None:
    ran = elfs("embed", "--list-encoders", "dino_vitx16")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines() == [
        "error: no encoder matches 'dino_vitx16', neither here nor in timm. Did you mean 'dino_vits16'?",
        "run:   elfs embed --list-encoders",
    ]
