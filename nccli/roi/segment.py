"""`seg`: a small network that tells foreground from background, on a reduced copy of a picture.

Not part of the format: its masks are sent.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from nccli.errors import ModelError

STRIDE = 32
"""Sides of what the network sees are multiples of this."""


@dataclass(frozen=True)
class SegConfig:
    """Sizes of the network.

    Attributes:
        widths: channels at 1/2, 1/4, 1/8, 1/16 and 1/32.
        blocks: residual blocks at each of them.
        merged: channels of the way back up.
        expansion: channels within a block, relative to outside.
        area: pixels of the copy that the network sees, about.
        threshold: likelihood from which a pixel is foreground.
    """

    widths: tuple[int, ...] = (16, 32, 64, 112, 176)
    blocks: tuple[int, ...] = field(default=(0, 1, 2, 3, 3))
    merged: int = 48
    expansion: int = 2
    area: int = 160 * 160
    threshold: float = 0.5


def _unit(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution and normalisation."""
    padding = kernel // 2 if kernel > stride or stride == 1 else 0
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


class Residual(nn.Module):
    """x + 1x1(depthwise 3x3(1x1 x))."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        inner = width * expansion
        self.widen = _unit(width, inner)
        self.look = _unit(inner, inner, 3, groups=inner)
        self.narrow = _unit(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.look(F.relu(self.widen(x))))
        return cast(Tensor, x + self.narrow(h))


class SegNetwork(nn.Module):
    """Pixels (b, 3, h, w) in [0, 1], sides multiples of 32 -> logits of foreground (b, 1, h/2, w/2)."""

    def __init__(self, config: SegConfig) -> None:
        super().__init__()
        stages, before = [], 3
        for width, blocks in zip(config.widths, config.blocks, strict=True):
            down = _unit(before, width, 3 if before == 3 else 2, 2)
            stages.append(nn.Sequential(down, nn.ReLU(), *_residuals(width, blocks, config.expansion)))
            before = width
        self.stages = nn.ModuleList(stages)
        self.whole = nn.Linear(before, config.merged)
        self.laterals = nn.ModuleList(_unit(width, config.merged) for width in config.widths[1:])
        self.merges = nn.ModuleList(_residuals(config.merged, len(config.widths) - 2, config.expansion))
        self.head = nn.Conv2d(config.merged, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        found = []
        h = x * 4 - 2
        for stage in self.stages:
            h = stage(h)
            found.append(h)
        joined = self.laterals[-1](h) + self.whole(h.mean((2, 3)))[:, :, None, None]
        for lateral, merge, finer in zip(self.laterals[-2::-1], self.merges, found[-2:0:-1], strict=True):
            joined = F.interpolate(joined, scale_factor=2.0, mode="bilinear", align_corners=False)
            joined = merge(F.relu(joined + lateral(finer)))
        return F.pixel_shuffle(self.head(joined), 2)


def _residuals(width: int, count: int, expansion: int) -> list[Residual]:
    return [Residual(width, expansion) for _ in range(count)]


def reduced_size(height: int, width: int, area: int) -> tuple[int, int]:
    """Sides of the copy that the network sees: multiples of 32, near the picture's aspect."""
    scale = (area / (height * width)) ** 0.5
    high, wide = (min(max(round(side * scale / STRIDE), 2), 32) * STRIDE for side in (height, width))
    return high, wide


def _config(given: dict[str, Any]) -> SegConfig:
    widths, blocks = tuple(given.pop("widths")), tuple(given.pop("blocks"))
    return SegConfig(widths=widths, blocks=blocks, **given)


def read_network(path: Path) -> tuple[SegNetwork, SegConfig]:
    """The network in a weights file.

    Raises:
        ModelError: it is damaged or something else.
    """
    try:
        with safe_open(path, "pt") as file:
            config = _config(json.loads(file.metadata()["config"]))
            state = {name: file.get_tensor(name) for name in file.keys()}
        network = SegNetwork(config)
        network.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"cannot read weights {path}: {error}") from error
    return network.eval().requires_grad_(False), config


@lru_cache(maxsize=2)
def _loaded(path: Path) -> tuple[SegNetwork, SegConfig]:
    return read_network(path)


def network_mask(network: SegNetwork, config: SegConfig, picture: Image.Image) -> NDArray[np.float32]:
    """How likely each pixel of an RGB picture is foreground, (h, w)."""
    high, wide = reduced_size(picture.height, picture.width, config.area)
    small = picture.resize((wide, high), Image.Resampling.BILINEAR, reducing_gap=2.0)
    x = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        p = torch.sigmoid(network(x.contiguous(memory_format=torch.channels_last)))[0, 0]
    whole = Image.fromarray(p.numpy()).resize(picture.size, Image.Resampling.BILINEAR)
    return np.asarray(whole, np.float32)


def foreground(path: Path, pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels of (h, w, 3) are foreground, (h, w), by the network in `path`."""
    network, config = _loaded(path)
    chosen: NDArray[np.bool_] = network_mask(network, config, Image.fromarray(pixels)) >= config.threshold
    return chosen
