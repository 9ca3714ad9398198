"""Digests of what decides an encoder's embeddings."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["fingerprint"]


def fingerprint(facts: Any, tensors: Mapping[str, Tensor]) -> str:
    """Return what changes when a fact or a number changes.

    Parameters
    ----------
    facts : Any
        Plain values, lists and mappings of them; anything else counts by its ``str``.
    tensors : Mapping of str to Tensor
        Learned numbers by name, on any device.

    Returns
    -------
    str
        64 hexadecimal digits of SHA-256; the same in every process and for every order of the mapping.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, tensor in sorted(tensors.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(json.dumps([name, str(values.dtype), list(values.shape)]).encode())
        if values.numel():
            digest.update(values.view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
