"""The networks of the zoo that decide probabilities: h_s, context and entropy parameters.

As in `nccli.networks.image_model` they are written once: float as built, exact integers when loaded. Transposed
convolutions of CompressAI become 3x3 convolutions before a pixel shuffle, its masked convolution a
1x1 convolution over the twelve neighbours that come before a position. Source: docs/FORMAT.md section 13.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nccli.entropy.grid import HYPER_STRIDE
from nccli.entropy.steps import LATENT_BITS, STEP_UNIT
from nccli.networks.interface import ParameterNetwork, Visit
from nccli.networks.layers import Activation, pointwise
from nccli.zoo.names import ARCHITECTURES, Architecture

ZOO_LIMIT = 2**24
"""Largest magnitude of an activation: +-4096, since latents of high qualities pass +-512."""

ZOO_WEIGHT_LIMIT = 2**16
"""Largest magnitude of a weight: with this a layer of 8192 inputs stays below 2^53."""

SLOPE = 10486 / 2**20
"""Of CompressAI's leaky ReLU, 0.01, as an exact binary fraction."""

LOWEST_SCALE = 451
"""0.11 in fixed point: narrower scales count as this. Source: Balle et al. 2018, CompressAI."""

HIGHEST_LOG2 = 12 * STEP_UNIT
"""log2 of the largest activation, 1/64 octave."""

NEIGHBOURS = (*((row, column) for row in (-2, -1) for column in range(-2, 3)), (0, -2), (0, -1))
"""Offsets of the latents that a masked 5x5 filter sees, in scan order."""

DIAGONAL = 3
"""Columns between the positions of a diagonal in successive rows: its neighbours above are done then."""


@dataclass(frozen=True)
class ZooConfig:
    """Sizes of a network of the zoo.

    Attributes:
        architecture: its name.
        quality: as CompressAI counts, 1 ..
        N: channels inside the transforms, and of z.
        M: channels of y.
    """

    architecture: str
    quality: int
    N: int
    M: int

    @property
    def family(self) -> Architecture:
        """What the architecture's name stands for; KeyError if nothing."""
        return {a.name: a for a in ARCHITECTURES}[self.architecture]

    @property
    def name(self) -> str:
        return f"{self.architecture}-{self.quality}"

    @property
    def hyper_channels(self) -> int:
        return self.N

    @property
    def analysis_halo(self) -> int:
        return self.family.analysis_halo

    @property
    def synthesis_halo(self) -> int:
        return self.family.synthesis_halo

    @property
    def hyper_halo(self) -> int:
        """h_a reaches 7 latents in all architectures."""
        return 2 * HYPER_STRIDE


class Shift(nn.Module):
    """Adds a constant per channel."""

    offset: Tensor

    def __init__(self, offset: Tensor) -> None:
        """offset: (c,)."""
        super().__init__()
        self.register_buffer("offset", offset[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.offset


class LogScale(nn.Module):
    """Scales -> their log2; scales below 0.11 count as that."""

    def forward(self, scales: Tensor) -> Tensor:
        return torch.log2(scales.clamp_min(LOWEST_SCALE / 2**LATENT_BITS))


class IntegerShift(Shift):
    """`Shift` in fixed point."""

    def relaxed(self) -> Shift:
        """The float counterpart."""
        return Shift((self.offset / 2**LATENT_BITS).float()[:, 0, 0])


class IntegerLogScale(nn.Module):
    """`LogScale` in fixed point: whole 1/64 octaves, rounded down, found by integer thresholds."""

    thresholds: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("thresholds", torch.tensor(log2_thresholds(), dtype=torch.float64))

    def forward(self, scales: Tensor) -> Tensor:
        scales = scales.clamp(LOWEST_SCALE, ZOO_LIMIT).contiguous()
        reached = torch.bucketize(scales, self.thresholds, right=True)
        units = reached.double() + (_lowest_log2() - 1)
        return units.mul_(2**LATENT_BITS // STEP_UNIT)

    def relaxed(self) -> LogScale:
        """The float counterpart."""
        return LogScale()


@lru_cache(maxsize=1)
def log2_thresholds() -> tuple[int, ...]:
    """Smallest fixed-point scale of every 1/64 octave from that of `LOWEST_SCALE` to the highest.

    That is the smallest s with s^64 >= 2^(768 + u), in exact integers.
    """
    found = []
    for unit in range(_lowest_log2(), HIGHEST_LOG2 + 1):
        power = 1 << (LATENT_BITS * STEP_UNIT + unit)
        scale = round(2.0 ** (LATENT_BITS + unit / STEP_UNIT))
        while scale**STEP_UNIT >= power:
            scale -= 1
        while scale**STEP_UNIT < power:
            scale += 1
        found.append(scale)
    return tuple(found)


@lru_cache(maxsize=1)
def _lowest_log2() -> int:
    """log2 of `LOWEST_SCALE`, 1/64 octave, rounded down: bits of s^64 less those of 1.0^64, less one."""
    power: int = LOWEST_SCALE**STEP_UNIT
    return power.bit_length() - 1 - LATENT_BITS * STEP_UNIT


def _raised(c_in: int, c_out: int) -> list[nn.Module]:
    """Twice the rows and columns."""
    return [nn.Conv2d(c_in, 4 * c_out, 3, padding=1), nn.PixelShuffle(2)]


def _hyper_synthesis(config: ZooConfig) -> nn.Sequential:
    """h_s: z_hat -> features."""
    n, m, slope = config.N, config.M, 0.0 if config.family.zero_means else SLOPE
    wide = m * 3 // 2
    if config.family.residual:
        parts = [nn.Conv2d(n, n, 3, padding=1), Activation(slope), *_raised(n, n), Activation(slope)]
        parts += [nn.Conv2d(n, wide, 3, padding=1), Activation(slope), *_raised(wide, wide)]
        parts += [Activation(slope), nn.Conv2d(wide, 2 * m, 3, padding=1)]
    elif config.family.zero_means:
        parts = [*_raised(n, n), Activation(slope), *_raised(n, n), Activation(slope)]
        parts += [nn.Conv2d(n, m, 3, padding=1), Activation(slope)]
    else:
        parts = [*_raised(n, m), Activation(slope), *_raised(m, wide), Activation(slope)]
        parts += [nn.Conv2d(wide, 2 * m, 3, padding=1)]
    return nn.Sequential(*parts)


class ZooNetwork(ParameterNetwork):
    """Means and scales of the zoo's architectures."""

    def __init__(self, config: ZooConfig) -> None:
        super().__init__()
        m, family = config.M, config.family
        self.features_halo = 4 if family.residual else 2
        self.zero_means = family.zero_means
        self.centre: nn.Module = Shift(torch.zeros(config.N))
        self.hyper = _hyper_synthesis(config)
        self.context = pointwise(len(NEIGHBOURS) * m, 2 * m) if family.autoregressive else None
        self.merge = nn.Sequential(
            pointwise(m * 12 // 3, m * 10 // 3),
            Activation(SLOPE),
            pointwise(m * 10 // 3, m * 8 // 3),
            Activation(SLOPE),
            pointwise(m * 8 // 3, m * 6 // 3),
        )
        if self.context is None:
            self.merge = nn.Sequential()
        self.log_scale: nn.Module = LogScale()

    def features(self, z_hat: Tensor, height: int, width: int) -> Tensor:
        return cast(Tensor, self.hyper(self.centre(z_hat))[..., :height, :width])

    def visits(
        self, bands: list[tuple[int, int]], width: int, device: torch.device | None = None
    ) -> Iterator[Visit]:
        """Band by band; with a context, diagonal by diagonal from the top left of each."""
        for top, bottom in bands:
            if self.context is None:
                yield Visit(
                    (top, bottom), torch.ones(bottom - top, width, dtype=torch.bool, device=device), 0
                )
                continue
            rows = torch.arange(bottom - top, device=device)[:, None] * DIAGONAL
            place = rows + torch.arange(width, device=device)[None, :]
            for diagonal in range(DIAGONAL * (bottom - top - 1) + width):
                if diagonal % DIAGONAL >= width:
                    continue  # empty, where there are fewer columns than a diagonal steps over
                yield Visit((top, bottom), place == diagonal, diagonal)

    def predict(self, visit: Visit, features: Tensor, rate: Tensor, y_hat: Tensor) -> Tensor:
        if self.context is None:
            return self._output(features)
        positions = visit.mask.nonzero() + torch.tensor([visit.rows[0], 0], device=y_hat.device)
        around = _gather(y_hat, positions).clamp_(-ZOO_LIMIT, ZOO_LIMIT)
        return self._merged(features, around[None, :, None])

    def dense(self, features: Tensor, y_hat: Tensor) -> Tensor:
        """`predict` at all positions, from latents (b, M, h, w) that are all known: (b, 2M, h, w)."""
        return self._output(features) if self.context is None else self._merged(features, neighbours(y_hat))

    def _merged(self, features: Tensor, around: Tensor) -> Tensor:
        context = cast(nn.Module, self.context)(around)
        return self._output(self.merge(torch.cat((features, context), dim=1)))

    def _output(self, raw: Tensor) -> Tensor:
        if self.zero_means:
            return torch.cat((torch.zeros_like(raw), self.log_scale(raw)), dim=1)
        means, scales = raw.chunk(2, dim=1)
        return torch.cat((means, self.log_scale(scales)), dim=1)


def _gather(y_hat: Tensor, positions: Tensor) -> Tensor:
    """Latents at the neighbours of positions (n, 2), zero outside the picture: (12M, n) float64."""
    offsets = torch.tensor(NEIGHBOURS, device=y_hat.device)[:, None]
    rows, columns = (positions[None] + offsets).unbind(2)
    width = y_hat.shape[2]
    inside = (rows >= 0) & (columns >= 0) & (columns < width)
    taken = y_hat[:, rows.clamp_min(0), columns.clamp(0, width - 1)].double() * inside
    return taken.transpose(0, 1).flatten(0, 1)


def neighbours(y: Tensor) -> Tensor:
    """The same for every position: (b, M, h, w) -> (b, 12M, h, w)."""
    height, width = y.shape[-2:]
    padded = F.pad(y, (2, 2, 2, 0))
    return torch.cat(
        [padded[..., 2 + r : 2 + r + height, 2 + c : 2 + c + width] for r, c in NEIGHBOURS], dim=1
    )
