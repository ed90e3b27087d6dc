"""The image network: analysis, synthesis, hyper-latents and entropy parameters.

One class, two sizes. Latents `y` are transform coefficients divided by the fixed per-channel
`spread`, so every channel has about unit variance before training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nccli.entropy.grid import HYPER_STRIDE, LATENT_STRIDE
from nccli.entropy.rate import NUM_ANCHORS
from nccli.networks.image_parameters import NEIGHBOURS, EntropySizes, checkerboard, parts
from nccli.networks.layers import (
    Activation,
    Block,
    Overlap,
    SignalConv,
    convolution,
    pointwise,
    sequential,
)
from nccli.networks.prior import FactorizedPrior, ScaleMixture

PIXEL_SCALE = 5.0
"""Transforms see (x - 0.5) * PIXEL_SCALE: the natural step at lambda = 0.01 is then one."""

PATCH = 8
"""Pixels per side of the first transform's patches."""


@dataclass(frozen=True)
class ImageConfig:
    """Sizes of an `ImageModel`.

    Attributes:
        name: size name shown to users.
        N: channels at 1/8 resolution.
        M: channels of y at 1/16; caps the reachable PSNR (320: 45.6 dB on photographs).
        blocks_a: residual blocks of g_a at 1/8.
        blocks_s: residual blocks of g_s at 1/8.
        deep_blocks_s: residual blocks of g_s at 1/16.
        deep_width: channels of the blocks at 1/16.
        hyper_channels: channels of z.
        hyper_width: channels inside h_a, h_s and the entropy parameters.
        context_width: channels of the reduced first-pass latents.
    """

    name: str
    N: int = 128
    M: int = 320
    blocks_a: int = 5
    blocks_s: int = 4
    deep_blocks_s: int = 1
    deep_width: int = 192
    hyper_channels: int = 96
    hyper_width: int = 192
    context_width: int = 96

    @property
    def follows_rate(self) -> bool:
        """g_a has gates."""
        return True

    @property
    def analysis_halo(self) -> int:
        """Latents around a tile that g_a sees: half a patch, and one per 3x3 filter at 1/8."""
        return -(-(2 * self.blocks_a + 1) * PATCH // (2 * LATENT_STRIDE))

    @property
    def synthesis_halo(self) -> int:
        """Latents around a tile that g_s sees: its filters at 1/16, those at 1/8, and half a patch."""
        return self.deep_blocks_s - (-(2 * self.blocks_s + 1) * PATCH // (2 * LATENT_STRIDE))

    @property
    def hyper_halo(self) -> int:
        """Latents around a tile that h_a sees: one 3x3 filter at half their resolution, on whole z."""
        return HYPER_STRIDE


CONFIGS = {
    "s": ImageConfig("s"),
    "m": ImageConfig("m", N=256, blocks_s=5, deep_width=320, hyper_width=256),
}


class Analysis(nn.Module):
    """g_a: pixels (b, 3, h, w) in [0, 1] and rate weights as `Synthesis` takes them -> latents."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.overlap = Overlap(PATCH)
        self.patch = SignalConv(3 * PATCH * PATCH, config.N)
        self.blocks = nn.ModuleList(Block(config.N) for _ in range(config.blocks_a))
        self.down = SignalConv(4 * config.N, config.M)

    def forward(self, x: Tensor, anchors: Tensor, given: Tensor | None = None) -> Tensor:
        """x: (b, 3, h, w) -> (b, M, h/16, w/16). `given`, of x's size, does not matter."""
        h = self.patch(F.pixel_unshuffle(self.overlap((x - 0.5) * PIXEL_SCALE), PATCH))
        anchors = at_eighth(anchors)
        for block in self.blocks:
            h = block(h, anchors)
        return cast(Tensor, self.down(F.pixel_unshuffle(h, 2)))


class Synthesis(nn.Module):
    """g_s: latents (b, M, h/16, w/16) and rate weights -> pixels (b, 3, h, w).

    The rate weights are (b, NUM_ANCHORS, h/16, w/16), or (b, NUM_ANCHORS, 1, 1) at one rate for all.
    """

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.deep_in = pointwise(config.M, config.deep_width)
        self.deep_blocks = nn.ModuleList(Block(config.deep_width) for _ in range(config.deep_blocks_s))
        self.deep_out = pointwise(config.deep_width, config.M)
        nn.init.zeros_(self.deep_out.weight)
        nn.init.zeros_(cast(Tensor, self.deep_out.bias))
        self.up = SignalConv(config.M, 4 * config.N)
        self.blocks = nn.ModuleList(Block(config.N) for _ in range(config.blocks_s))
        self.patch = SignalConv(config.N, 3 * PATCH * PATCH)
        self.overlap = Overlap(PATCH)

    def forward(self, y_hat: Tensor, anchors: Tensor, given: Tensor | None = None) -> Tensor:
        """`given`, of the pixels' size, does not matter."""
        h = self.deep_in(y_hat)
        for block in self.deep_blocks:
            h = block(h, anchors)
        h = F.pixel_shuffle(self.up(y_hat + self.deep_out(h)), 2)
        anchors = at_eighth(anchors)
        for block in self.blocks:
            h = block(h, anchors)
        x_hat = cast(Tensor, self.overlap(F.pixel_shuffle(self.patch(h), PATCH)))
        return x_hat / PIXEL_SCALE + 0.5


def at_eighth(anchors: Tensor) -> Tensor:
    """Rate weights of latent positions for the layers at 1/8; (b, NUM_ANCHORS, 1, 1) stays."""
    if anchors.shape[2:] == (1, 1):
        return anchors
    return anchors.repeat_interleave(2, 2).repeat_interleave(2, 3)


class HyperAnalysis(nn.Module):
    """h_a: latents (b, M, h, w) -> hyper-latents (b, hyper_channels, ceil(h/4), ceil(w/4))."""

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        width = config.hyper_width
        self.layers = nn.Sequential(
            pointwise(config.M, width),
            Activation(),
            nn.PixelUnshuffle(2),
            pointwise(4 * width, width),
            Activation(),
            nn.Conv2d(width, width, 3, padding=1),
            Activation(),
            nn.PixelUnshuffle(2),
            pointwise(4 * width, width),
            Activation(),
            pointwise(width, config.hyper_channels),
        )

    def forward(self, y: Tensor) -> Tensor:
        h, w = y.shape[-2:]
        y = F.pad(y, (0, -w % HYPER_STRIDE, 0, -h % HYPER_STRIDE), mode="replicate")
        return cast(Tensor, self.layers(y))


class EntropyNetwork(nn.Module):
    """h_s and the parameter heads of the two coding passes, in floats, for training.

    `image_parameters.ImageParameters` is the exact network that decides every probability.

    Heads work on each position alone, so that they may be given just the positions of their pass.
    They return (b, 2M, h, w): means of y, then log2 scales in octaves.
    """

    def __init__(self, sizes: EntropySizes) -> None:
        super().__init__()
        layers = parts(sizes)
        self.hyper = sequential(layers.hyper)
        self.first_head = convolution(layers.first_head)
        self.reduce = sequential(layers.reduce)
        self.merge = sequential(layers.merge)
        self.second_head = convolution(layers.second_head)
        for head in (self.first_head, self.second_head):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(cast(Tensor, head.bias))

    def features(self, z_hat: Tensor, height: int, width: int) -> Tensor:
        """z_hat (b, c, hz, wz) -> features (b, hyper_width, height, width)."""
        return cast(Tensor, self.hyper(z_hat)[..., :height, :width])

    def first(self, features: Tensor, rate: Tensor) -> Tensor:
        """Parameters of the first pass. rate: (b, 1, h, w), octaves of lambda above the first anchor."""
        return cast(Tensor, self.first_head(torch.cat((features, rate), dim=1)))

    def around(self, y_first: Tensor) -> Tensor:
        """Context of every position; y_first (b, M, h, w) is y_hat, zero where pass one sent nothing."""
        return neighbours(self.reduce(y_first))

    def second(self, features: Tensor, rate: Tensor, around: Tensor) -> Tensor:
        """Parameters of the second pass, from its positions' features and context."""
        merged = self.merge(torch.cat((features, rate, around), dim=1))
        return cast(Tensor, self.second_head(merged))


def neighbours(x: Tensor) -> Tensor:
    """The four neighbours (up, down, left, right) of every position: (b, c, h, w) -> (b, 4c, h, w)."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1))
    return torch.cat(
        [padded[..., 1 + r : 1 + r + height, 1 + c : 1 + c + width] for r, c in NEIGHBOURS], dim=1
    )


def first_pass_mask(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """`checkerboard` as a tensor."""
    return torch.from_numpy(checkerboard(height, width)).to(device)


class ImageModel(nn.Module):
    """All learned parts of the image codec in their float training view."""

    spread: Tensor

    def __init__(self, config: ImageConfig) -> None:
        super().__init__()
        self.config = config
        self.g_a = Analysis(config)
        self.g_s = Synthesis(config)
        self.h_a = HyperAnalysis(config)
        self.entropy = EntropyNetwork(config)
        self.z_prior = FactorizedPrior(config.hyper_channels)
        self.y_density = ScaleMixture()
        self.gain = nn.Parameter(torch.zeros(NUM_ANCHORS, config.M))
        """log2 step of y per rate anchor and channel."""
        self.step_z = nn.Parameter(torch.zeros(NUM_ANCHORS))
        """log2 step of z per rate anchor."""
        self.register_buffer("spread", torch.ones(config.M))

    def analyse(self, x: Tensor, anchors: Tensor) -> Tensor:
        """Pixels (b, 3, h, w), sides multiples of 16, and rate weights -> y (b, M, h/16, w/16)."""
        return cast(Tensor, self.g_a(x, anchors) / self.spread[:, None, None])

    def synthesise(self, y_hat: Tensor, anchors: Tensor) -> Tensor:
        """y_hat (b, M, h, w) and rate weights as `Synthesis` takes them -> pixels (b, 3, 16h, 16w)."""
        return cast(Tensor, self.g_s(y_hat * self.spread[:, None, None], anchors))
