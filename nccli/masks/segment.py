"""`seg`: a small network that tells foreground from background, on a reduced copy of a picture.

Not part of the format: its masks are sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from nccli.errors import ModelError
from nccli.networks.lite0 import MEAN, SPREAD

STRIDE = 32
"""Sides of what the network sees are multiples of this."""

STEM = 32
"""Channels of the first convolution."""

ALONE = Lock()
"""Held by whoever has torch on one thread."""

STEPS = ".steps"
"""Ends the name of the step sizes, one per output channel, of a tensor of 8-bit integers."""


class Stage(NamedTuple):
    """Blocks of one width; the first may halve the sides."""

    expansion: int
    width: int
    kernel: int
    stride: int
    blocks: int


LITE0 = (
    Stage(1, 16, 3, 1, 1),
    Stage(6, 24, 3, 2, 2),
    Stage(6, 40, 5, 2, 2),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 5, 1, 3),
    Stage(6, 192, 5, 2, 4),
)
"""EfficientNet-Lite0 without its last stage.

Source: Tan and Le (2019), table 1; the Lite variant has ReLU6 and no squeeze and excitation.
"""


@dataclass(frozen=True)
class SegConfig:
    """Sizes of the network.

    Attributes:
        blocks: of EfficientNet-Lite0 that are kept: 12 .. 15, for those at 1/32 see most at once.
        merged: channels of the way back up.
        expansion: channels within its blocks, relative to outside.
        area: pixels of the copy that the network sees, about.
        threshold: likelihood from which a pixel is foreground.
    """

    blocks: int = 13
    merged: int = 64
    expansion: int = 2
    area: int = 320 * 224
    threshold: float = 0.5


class Unit(nn.Module):
    """Convolution, normalisation and mostly ReLU6; once folded, the convolution normalises."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3)

    def forward(self, x: Tensor, active: bool = True) -> Tensor:
        h = cast(Tensor, self.norm(self.conv(x)))
        return F.relu6(h, inplace=True) if active else h

    @torch.no_grad()
    def fold(self) -> None:
        """Put the normalisation into the convolution's weights; no training after that."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = nn.utils.fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
            self.norm = nn.Identity()


class Block(nn.Module):
    """1x1(depthwise(1x1 x)), plus x where the shape stays."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        inner = inputs * expansion
        self.widen = Unit(inputs, inner) if expansion > 1 else nn.Identity()
        self.look = Unit(inner, inner, kernel, stride, inner)
        self.narrow = Unit(inner, outputs)
        self.added = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        h = cast(Tensor, self.narrow(self.look(self.widen(x)), active=False))
        return x + h if self.added else h


class Encoder(nn.Module):
    """The first blocks of EfficientNet-Lite0.

    Attributes:
        widths: channels of what comes out, at 1/4, 1/8, 1/16 and 1/32.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.stem = Unit(3, STEM, 3, 2)
        made: list[Block] = []
        before = STEM
        for stage in LITE0:
            for k in range(min(stage.blocks, blocks - len(made))):
                stride = 1 if k else stage.stride
                made.append(Block(before, stage.width, stage.expansion, stage.kernel, stride))
                before = stage.width
        self.blocks = nn.ModuleList(made)
        ends = [k for k in range(1, len(made)) if k + 1 == len(made) or made[k + 1].look.conv.stride[0] == 2]
        self.ends = frozenset(ends)
        self.widths = [made[k].narrow.conv.out_channels for k in ends]

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        h = self.stem(x)
        for k, block in enumerate(self.blocks):
            h = block(h)
            if k in self.ends:
                found.append(h)
        return found


class SegNetwork(nn.Module):
    """Pixels (b, 3, h, w) in [0, 1], sides multiples of 32 -> logits of foreground (b, 1, h/2, w/2)."""

    def __init__(self, config: SegConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config.blocks)
        widths, merged = self.encoder.widths, config.merged
        self.whole = nn.Linear(widths[-1], merged)
        self.laterals = nn.ModuleList(Unit(width, merged) for width in widths)
        self.merges = nn.ModuleList(Block(merged, merged, config.expansion) for _ in widths)
        self.head = nn.Conv2d(merged, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean, spread = (x.new_tensor(value).view(1, 3, 1, 1) for value in (MEAN, SPREAD))
        found = self.encoder((x - mean) / spread)
        joined = self.whole(found[-1].mean((2, 3)))[:, :, None, None]
        for features, lateral, merge in zip(found[::-1], self.laterals[::-1], self.merges[::-1], strict=True):
            if features is not found[-1]:
                joined = F.interpolate(joined, scale_factor=2.0, mode="bilinear", align_corners=False)
            joined = merge(F.relu(joined + lateral(features, active=False)))
        return F.pixel_shuffle(self.head(joined), 2)

    def fold(self) -> SegNetwork:
        """Without normalisations, for use."""
        for module in list(self.modules()):
            if isinstance(module, Unit):
                module.fold()
        return self.eval().requires_grad_(False)


def reduced_size(height: int, width: int, area: int) -> tuple[int, int]:
    """Sides of the copy that the network sees: multiples of 32, near the picture's aspect."""
    scale = (area / (height * width)) ** 0.5
    high, wide = (min(max(round(side * scale / STRIDE), 2), 32) * STRIDE for side in (height, width))
    return high, wide


def pack(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights as 8-bit integers with a step per output channel, all else in half precision."""
    packed = {}
    for name, value in state.items():
        if value.ndim > 1:
            across = tuple(range(1, value.ndim))
            steps = (value.abs().amax(across, keepdim=True) / 127).clamp_min(1e-7).half()
            packed[name] = (value / steps).round().clamp(-127, 127).to(torch.int8)
            packed[name + STEPS] = steps.flatten()
        else:
            packed[name] = value.half()
    return packed


def unpack(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights that `pack` has packed, in single precision."""
    state = {name: value.float() for name, value in packed.items() if not name.endswith(STEPS)}
    for name, value in state.items():
        if name + STEPS in packed:
            steps = packed[name + STEPS].float()
            state[name] = value * steps.view(-1, *[1] * (value.ndim - 1))
    return state


def read_network(path: Path) -> tuple[SegNetwork, SegConfig]:
    """The network in a weights file, folded.

    Raises:
        ModelError: it is damaged or something else.
    """
    try:
        with safe_open(path, "pt") as file:
            config = SegConfig(**json.loads(file.metadata()["config"]))
            packed = {name: file.get_tensor(name) for name in file.keys()}
        network = SegNetwork(config).fold()
        network.load_state_dict(unpack(packed))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"cannot read weights {path}: {error}") from error
    return network.to(memory_format=torch.channels_last), config  # type: ignore[call-overload, unused-ignore]


@lru_cache(maxsize=2)
def _loaded(path: Path) -> tuple[SegNetwork, SegConfig]:
    return read_network(path)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Layers so small gain little from a second thread, and lose all when its core has other work."""
    with ALONE:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def network_mask(network: SegNetwork, config: SegConfig, picture: Image.Image) -> NDArray[np.float32]:
    """How likely each pixel of an RGB picture is foreground, (h, w)."""
    high, wide = reduced_size(picture.height, picture.width, config.area)
    small = picture.resize((wide, high), Image.Resampling.BILINEAR, reducing_gap=2.0)
    with _one_thread(), torch.inference_mode():
        x = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255
        p = torch.sigmoid(network(x.contiguous(memory_format=torch.channels_last)))[0, 0]
    whole = Image.fromarray(p.numpy()).resize(picture.size, Image.Resampling.BILINEAR)
    return np.asarray(whole, np.float32)


def foreground(path: Path, pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels of (h, w, 3) are foreground, (h, w), by the network in `path`."""
    network, config = _loaded(path)
    chosen: NDArray[np.bool_] = network_mask(network, config, Image.fromarray(pixels)) >= config.threshold
    return chosen
