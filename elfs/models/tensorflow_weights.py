"""Weights of EfficientNets that were trained with TensorFlow: their names in EfficientNet-PyTorch, their twins in timm.

timm has many EfficientNets twice, with equal names and shapes of all weights: plain, and as ``tf_...`` with
TensorFlow's padding and batch norm. Weights of one kind in the other network load without an error and give other
features.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

__all__ = ["has_port_names", "tensorflow_twin", "timm_names"]

_STEM = "_conv_stem.weight"
_OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_EXPANDING = _SQUEEZE | {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_SEPARABLE = _SQUEEZE | {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
"""Layers of a block, theirs to timm's; the first stage has blocks that do not expand."""


def has_port_names(checkpoint: Any) -> bool:
    """Return whether weights are named as EfficientNet-PyTorch and its relatives name them.

    Parameters
    ----------
    checkpoint : Any
        Names with weights, alone or in mappings of them.

    Returns
    -------
    bool
        True if a first convolution of theirs is among them, whatever stands before its name.
    """
    return isinstance(checkpoint, Mapping) and any(
        str(key).endswith(_STEM) or has_port_names(value) for key, value in checkpoint.items()
    )


def timm_names(weights: Mapping[str, Tensor], expected: Iterable[str]) -> dict[str, Tensor]:
    """Return the weights of EfficientNet-PyTorch [1]_ under the names of timm's EfficientNets.

    Parameters
    ----------
    weights : Mapping of str to Tensor
        Blocks are counted from the first to the last: ``_blocks.3._bn0.weight``.
    expected : Iterable of str
        Names in timm's network, where blocks are counted in stages: ``blocks.2.0.bn1.weight``.

    Returns
    -------
    dict of str to Tensor
        The same tensors; a name that has no counterpart stays.

    References
    ----------
    .. [1] Melas-Kyriazi, https://github.com/lukemelas/EfficientNet-PyTorch
    """
    keys = list(expected)
    found = (re.match(r"blocks\.(\d+)\.(\d+)\.", key) for key in keys)
    places = sorted({(int(place[1]), int(place[2])) for place in found if place})
    expanding = {f"blocks.{stage}.{number}" for stage, number in places} & {
        key.removesuffix(".conv_pwl.weight") for key in keys
    }
    return {_timm_name(key, places, expanding): value for key, value in weights.items()}


def _timm_name(key: str, places: list[tuple[int, int]], expanding: set[str]) -> str:
    outer, _, rest = key.partition(".")
    if outer in _OUTER:
        return f"{_OUTER[outer]}.{rest}"
    number, _, inner = rest.partition(".")
    layer, _, name = inner.partition(".")
    if outer != "_blocks" or not number.isdecimal() or int(number) >= len(places):
        return key
    stage, index = places[int(number)]
    block = f"blocks.{stage}.{index}"
    layers = _EXPANDING if block in expanding else _SEPARABLE
    return f"{block}.{layers[layer]}.{name}" if layer in layers else key


def tensorflow_twin(name: str) -> str | None:
    """Return the timm model with TensorFlow's padding whose weights have the names and shapes of another's.

    Parameters
    ----------
    name : str
        The other: a timm model, with or without its tag.

    Returns
    -------
    str or None
        None if there is none.
    """
    import timm

    twin = f"tf_{name.partition('.')[0]}"
    return twin if timm.is_model(twin) else None
