"""The networks behind published checkpoints, written from their descriptions with the original names of the weights.

Slow and plain on purpose: they are what the encoders are compared with.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """A transformer block with the norms first, as in DINO, MAE, MSN, MoCo v3 and DINOv2."""

    def __init__(self, width: int, heads: int, *, scaled: bool, gated: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        if gated:  # SwiGLU: two thirds of the usual width, rounded up to a multiple of 8
            hidden = (int(4 * width * 2 / 3) + 7) // 8 * 8
            self.mlp = nn.ModuleDict({"w12": nn.Linear(width, 2 * hidden), "w3": nn.Linear(hidden, width)})
        else:
            self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        if scaled:
            self.ls1, self.ls2 = (nn.ParameterDict({"gamma": torch.ones(width)}) for _ in range(2))

    def forward(self, tokens: Tensor) -> Tensor:
        attended = self._attend(self.norm1(tokens))
        tokens = tokens + (attended * self.ls1["gamma"] if hasattr(self, "ls1") else attended)
        mixed = self._mix(self.norm2(tokens))
        return tokens + (mixed * self.ls2["gamma"] if hasattr(self, "ls2") else mixed)

    def _attend(self, tokens: Tensor) -> Tensor:
        images, count, width = tokens.shape
        query, key, value = (
            part.reshape(images, count, self.heads, -1).transpose(1, 2)
            for part in self.attn["qkv"](tokens).chunk(3, dim=2)
        )
        weights = (query @ key.mT / (width // self.heads) ** 0.5).softmax(dim=3)
        projected: Tensor = self.attn["proj"]((weights @ value).transpose(1, 2).reshape(tokens.shape))
        return projected

    def _mix(self, tokens: Tensor) -> Tensor:
        if "w12" in self.mlp:
            gate, value = self.mlp["w12"](tokens).chunk(2, dim=2)
            mixed: Tensor = self.mlp["w3"](F.silu(gate) * value)
        else:
            mixed = self.mlp["fc2"](F.gelu(self.mlp["fc1"](tokens)))
        return mixed


class VisionTransformer(nn.Module):
    """From images to the class token after the last norm."""

    def __init__(
        self,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        side: int,
        *,
        scaled: bool = False,
        gated: bool = False,
        registers: int = 0,
    ) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, (side // patch) ** 2 + 1, width))
        if registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, registers, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.ModuleList(Block(width, heads, scaled=scaled, gated=gated) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch_embed["proj"](images).flatten(2).mT
        classes = self.cls_token.expand(len(images), -1, -1)
        tokens = torch.cat([classes, patches], dim=1) + self.pos_embed
        if hasattr(self, "register_tokens"):
            registers = self.register_tokens.expand(len(images), -1, -1)
            tokens = torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        embeddings: Tensor = self.norm(tokens)[:, 0]
        return embeddings


class ClipBlock(nn.Module):
    """A transformer block of OpenAI's CLIP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.ln_1(tokens)
        tokens = tokens + self.attn(normed, normed, normed, need_weights=False)[0]
        hidden = self.mlp["c_fc"](self.ln_2(tokens))
        mixed: Tensor = self.mlp["c_proj"](hidden * torch.sigmoid(1.702 * hidden))
        return tokens + mixed


class ClipTransformer(nn.Module):
    """CLIP's vision transformer: from images to the projected class token."""

    def __init__(self, patch: int, width: int, depth: int, heads: int, side: int, dim: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros((side // patch) ** 2 + 1, width))
        self.proj = nn.Parameter(torch.zeros(width, dim))
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        blocks = nn.Sequential(*(ClipBlock(width, heads) for _ in range(depth)))
        self.transformer = nn.ModuleDict({"resblocks": blocks})

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv1(images).flatten(2).mT
        classes = self.class_embedding.expand(len(images), 1, -1)
        tokens = self.ln_pre(torch.cat([classes, patches], dim=1) + self.positional_embedding)
        embeddings: Tensor = self.ln_post(self.transformer["resblocks"](tokens)[:, 0]) @ self.proj
        return embeddings


class ClipBottleneck(nn.Module):
    """A residual block of CLIP's ResNet: it shrinks by averaging, on both ways."""

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1, self.bn1 = nn.Conv2d(inputs, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes)
        if stride > 1 or inputs != 4 * planes:
            conv, norm = nn.Conv2d(inputs, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes)
            self.downsample = nn.ModuleDict({"0": conv, "1": norm})

    def forward(self, maps: Tensor) -> Tensor:
        hidden = F.relu(self.bn1(self.conv1(maps)))
        hidden = F.avg_pool2d(F.relu(self.bn2(self.conv2(hidden))), self.stride)
        hidden = self.bn3(self.conv3(hidden))
        if hasattr(self, "downsample"):
            maps = self.downsample["1"](self.downsample["0"](F.avg_pool2d(maps, self.stride)))
        return F.relu(hidden + maps)


class ClipResNet(nn.Module):
    """CLIP's ResNet: three convolutions at first, and a place of attention at last."""

    def __init__(self, layers: tuple[int, ...], width: int, side: int, dim: int) -> None:
        super().__init__()
        channels = (3, width // 2, width // 2, width)
        for index, (inputs, outputs) in enumerate(pairwise(channels), start=1):
            stride = 2 if index == 1 else 1
            self.add_module(f"conv{index}", nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False))
            self.add_module(f"bn{index}", nn.BatchNorm2d(outputs))
        inputs = width
        for stage, depth in enumerate(layers):
            planes = width * 2**stage
            first = ClipBottleneck(inputs, planes, 1 if stage == 0 else 2)
            inputs = 4 * planes
            rest = (ClipBottleneck(inputs, planes, 1) for _ in range(depth - 1))
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *rest))
        self.num_stages, self.heads = len(layers), inputs // 64
        linear = {name: nn.Linear(inputs, inputs) for name in ("q_proj", "k_proj", "v_proj")}
        self.attnpool = nn.ModuleDict({**linear, "c_proj": nn.Linear(inputs, dim)})
        positions = nn.Parameter(torch.zeros((side // 32) ** 2 + 1, inputs))
        self.attnpool.register_parameter("positional_embedding", positions)

    def forward(self, images: Tensor) -> Tensor:
        maps = images
        for index in (1, 2, 3):
            maps = F.relu(self.get_submodule(f"bn{index}")(self.get_submodule(f"conv{index}")(maps)))
        maps = F.avg_pool2d(maps, 2)
        for stage in range(self.num_stages):
            maps = self.get_submodule(f"layer{stage + 1}")(maps)
        return self._pooled(maps.flatten(2).mT)

    def _pooled(self, places: Tensor) -> Tensor:
        positions = self.attnpool.get_parameter("positional_embedding")
        tokens = torch.cat([places.mean(dim=1, keepdim=True), places], dim=1) + positions
        query, key, value = (
            self.attnpool[name](tokens).unflatten(2, (self.heads, 64)).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        weights = (query[:, :, :1] @ key.mT / 8.0).softmax(dim=3)
        pooled: Tensor = self.attnpool["c_proj"]((weights @ value).flatten(1))
        return pooled


class SamePadded(nn.Conv2d):
    """A convolution with TensorFlow's padding: as many places as strides fit, the odd row of zeros right and below."""

    def forward(self, maps: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        bottom, right = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in maps.shape[2:])
        padding = (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2)
        return F.conv2d(F.pad(maps, padding), self.weight, self.bias, self.stride, groups=self.groups)


class InvertedBottleneck(nn.Module):
    """A block of EfficientNet; `squeeze` scales its channels by what all places say, and its lite relatives do not."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, widening: int, squeeze: bool) -> None:
        super().__init__()
        width = inputs * widening
        if widening > 1:
            self._expand_conv = SamePadded(inputs, width, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(width, eps=1e-3)
        self._depthwise_conv = SamePadded(width, width, kernel, stride, groups=width, bias=False)
        self._bn1 = nn.BatchNorm2d(width, eps=1e-3)
        if squeeze:
            self._se_reduce, self._se_expand = SamePadded(width, inputs // 4, 1), SamePadded(inputs // 4, width, 1)
        self._project_conv = SamePadded(width, outputs, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outputs, eps=1e-3)
        self.activation = F.silu if squeeze else F.relu6
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        hidden = self.activation(self._bn0(self._expand_conv(maps))) if hasattr(self, "_bn0") else maps
        hidden = self.activation(self._bn1(self._depthwise_conv(hidden)))
        if hasattr(self, "_se_reduce"):
            means = hidden.mean(dim=(2, 3), keepdim=True)
            hidden = hidden * torch.sigmoid(self._se_expand(self.activation(self._se_reduce(means))))
        projected: Tensor = self._bn2(self._project_conv(hidden))
        return projected + maps if self.is_residual else projected


class EfficientNet(nn.Module):
    """EfficientNet-B0, or Lite0 without `squeeze`, as TensorFlow computes it: from images to the pooled features."""

    STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112))
    LAST_STAGES = ((4, 5, 2, 6, 192), (1, 3, 1, 6, 320))
    """Blocks, kernel, stride of the first block, widening, channels."""

    def __init__(self, *, squeeze: bool) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = SamePadded(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, eps=1e-3)
        self._blocks = nn.ModuleList()
        inputs = 32
        for depth, kernel, stride, widening, outputs in (*self.STAGES, *self.LAST_STAGES):
            for number in range(depth):
                step = stride if number == 0 else 1
                self._blocks.append(InvertedBottleneck(inputs, outputs, kernel, step, widening, squeeze))
                inputs = outputs
        self._conv_head, self._bn1 = SamePadded(inputs, 1280, 1, bias=False), nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)
        self.activation = F.silu if squeeze else F.relu6

    def forward(self, images: Tensor) -> Tensor:
        maps = self.activation(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            maps = block(maps)
        embeddings: Tensor = self.activation(self._bn1(self._conv_head(maps))).mean(dim=(2, 3))
        return embeddings


def randomised(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """Return a network in evaluation mode, every number in it drawn at random, so that none can be left out unseen."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build()
        for name, values in network.state_dict().items():
            if name.endswith("running_var"):
                values.uniform_(0.5, 2.0)
            elif values.is_floating_point():
                scale = values[0].numel() ** -0.5 if values.ndim > 1 else 0.3
                values.normal_(1.0 if name.endswith(("weight", "gamma")) and values.ndim == 1 else 0.0, scale)
    return network.eval().requires_grad_(False)
