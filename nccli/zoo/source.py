"""The one import of CompressAI: it takes long, and its own imports warn of what is not ours to mend."""

from __future__ import annotations

import warnings
from typing import Any

from torch import Tensor

from nccli.zoo.names import Architecture


def builder_of(architecture: Architecture) -> Any:
    """CompressAI's class of an architecture."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import compressai.models
    return getattr(compressai.models, architecture.builder)


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint under today's names."""
    from compressai.zoo.pretrained import load_pretrained

    current: dict[str, Tensor] = load_pretrained(state)
    return current
