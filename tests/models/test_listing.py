import subprocess
import sys

import pytest
import timm

from elfs.catalog import ENCODERS
from elfs.errors import UsageError
from elfs.models.listing import ListedEncoder, list_encoders
from elfs.models.published import PUBLISHED


def names(pattern: str | None) -> list[str]:
    return [item.name for item in list_encoders(pattern)]


def test_without_a_pattern_all_of_ours() -> None:
    assert names(None) == [*ENCODERS, *PUBLISHED]


def test_facts() -> None:
    assert list_encoders("clip_ViT-B/16") == [
        ListedEncoder("clip_ViT-B/16", 512, 224, "timm/vit_base_patch16_clip_224.openai", "mit")
    ]
    assert list_encoders("pixels") == [ListedEncoder("pixels", None, None, None, "none needed")]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("RESNET50", ["dino_resnet50", "swav_resnet50"]),
        ("mae_*", ["mae_vit_base", "mae_vit_huge", "mae_vit_large"]),
        ("clip_ViT-?/32", ["clip_ViT-B/32"]),
        ("*vitg14", ["dinov2_vitg14"]),
    ],
)
def test_pattern(pattern: str, expected: list[str]) -> None:
    assert names(pattern) == expected


@pytest.mark.parametrize("pattern", ["resnet10t", "timm_resnet10t*"])
def test_timm_where_none_of_ours_matches(pattern: str) -> None:
    [found] = list_encoders(pattern)
    config = timm.get_pretrained_cfg("resnet10t.c3_in1k")
    assert found == ListedEncoder("resnet10t.c3_in1k", None, 176, "timm/resnet10t.c3_in1k", config.license or "unknown")


def test_nothing_matches() -> None:
    with pytest.raises(UsageError, match=r"no encoder matches 'dino_vitx16', neither here nor in timm\. Did you mean"):
        list_encoders("dino_vitx16")


def test_our_own_need_neither_torch_nor_timm() -> None:
    program = (
        "import sys; from elfs.cli.app import run; code = run(['embed', '--list-encoders', 'dino*', '--json']); "
        "print(code, {'torch', 'timm', 'torchvision'} & sys.modules.keys(), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stderr.splitlines()[-1] == "0 set()"
    assert '"name": "dinov2_vitb14"' in ran.stdout
