"""One coded picture without a container: what image files hold one of, and others several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from nccli.codec.encoding import Encoding
from nccli.codec.inside import inside_psnr
from nccli.codec.result import Stopwatch
from nccli.coding.analysis import Analyser
from nccli.coding.background import reach_background
from nccli.coding.bits import PositionMap, bits_map
from nccli.coding.condition import ALONE, Condition
from nccli.coding.details import code_details, extra, read_details
from nccli.coding.payload import read_payload
from nccli.coding.search import code_to_target, first_setting
from nccli.coding.sender import Encoder, Latents, Stream
from nccli.coding.tiles import Progress, Shape, missed, quiet, reconstruct
from nccli.entropy.grid import Grid
from nccli.entropy.region import Region
from nccli.entropy.setting import Setting
from nccli.errors import UsageError
from nccli.media.picture import Pixels
from nccli.networks.weights import ImageWeights

ANALYSED = 0.4
"""How much of the work is done after the analysis, for progress bars."""

Pack = Callable[[Stream], bytes]
"""A coded picture -> the file, whose size is what a target in bytes is about."""


@dataclass(frozen=True, eq=False)
class Coded:
    """A coded picture as its decoder has it.

    Attributes:
        weights: model.
        shape: of the picture.
        stream: payload, setting, and the latents that the payload stands for.
        condition: what the decoder knows beforehand.
    """

    weights: ImageWeights
    shape: Shape
    stream: Stream
    condition: Condition = ALONE

    @property
    def grid(self) -> Grid:
        """Latent sizes."""
        return Grid.of(self.shape.height, self.shape.width)

    @torch.inference_mode()
    def reconstruct(self, progress: Progress = quiet) -> Pixels:
        """The decoded picture, (h, w, 3 or 1)."""
        field = self.stream.setting.field(self.grid)
        added = extra(self.weights, self.grid, self.stream.setting, self.stream.details)
        return reconstruct(
            self.weights, self.stream.y_hat, field, self.shape, progress, self.condition, added
        )

    def bits(self) -> PositionMap:
        """Bits of every latent position."""
        stream, context = self.stream, self.condition.context
        return bits_map(self.weights, self.grid, stream.setting, stream.payload, context)


def code_picture(
    weights: ImageWeights,
    pixels: Pixels,
    encoding: Encoding,
    pack: Pack,
    watch: Stopwatch | None = None,
    condition: Condition = ALONE,
) -> Coded:
    """Code a picture.

    Args:
        weights: model, the one that the encoding names.
        pixels: (h, w, 3) RGB or (h, w, 1) gray; uint8 or uint16.
        encoding: how.
        pack: see `Pack`.
        watch: told about the stages.
        condition: what the decoder will know of the picture beforehand.

    Raises:
        UsageError: the rate cannot be met.
    """
    return _code(weights, pixels, encoding, pack, watch or Stopwatch(), condition)[0]


@torch.inference_mode()
def code_and_keep(
    weights: ImageWeights, pixels: Pixels, encoding: Encoding, pack: Pack, watch: Stopwatch
) -> tuple[Coded, Latents]:
    """`code_picture`, and the latents that were coded, for whoever would better them."""
    coded, analyser = _code(weights, pixels, encoding, pack, watch, ALONE)
    return coded, analyser(coded.stream.setting)


@torch.inference_mode()
def _code(
    weights: ImageWeights,
    pixels: Pixels,
    encoding: Encoding,
    pack: Pack,
    watch: Stopwatch,
    condition: Condition,
) -> tuple[Coded, Analyser]:
    """A coded picture, and what analysed it."""
    shape = shape_of(pixels)
    region, background = encoding.region, encoding.background
    target = encoding.rate.target(shape.height * shape.width, encoding.model)
    analyser = Analyser(weights, pixels, watch.share(0, ANALYSED), condition)
    analyser(first_setting(weights, target, region))
    watch.lap("transform")

    complete = partial(with_details, weights, pixels, condition=condition)

    def quality(stream: Stream) -> tuple[float, float]:
        return inside_psnr(pixels, Coded(weights, shape, stream, condition).reconstruct(), region)

    def code(wanted: Region | None) -> Stream:
        encoder = Encoder(weights, analyser, condition.context, complete)
        return code_to_target(encoder, target, pack, lambda stream: quality(stream)[0], wanted)

    if region is None or background is None:
        stream = code(region)
    else:
        stream = reach_background(code, lambda stream: quality(stream)[1], region, background)
    return Coded(weights, shape, stream, condition), analyser


@torch.inference_mode()
def with_details(
    weights: ImageWeights, pixels: Pixels, stream: Stream, condition: Condition = ALONE
) -> Stream:
    """A coded picture (h, w, 1 or 3) with the details that are worth their bits, and no others."""
    grid, setting = Grid.of(*pixels.shape[:2]), stream.setting

    def wanted() -> NDArray[np.float32]:
        return missed(weights, pixels, stream.y_hat, setting.field(grid), condition)

    found = code_details(weights, grid, setting, stream.z, stream.y_hat, wanted, condition.context)
    return replace(stream, details=found)


def decode_coded(
    weights: ImageWeights,
    shape: Shape,
    setting: Setting,
    payload: bytes,
    details: bytes | None = None,
    condition: Condition = ALONE,
) -> Coded:
    """What `code_picture` had made: its latents, ready for the synthesis.

    Args:
        weights: model.
        shape: of the picture.
        setting: where on the rate axis it is coded.
        payload: as it was coded.
        details: those of its details, if it has some.
        condition: as it was when the picture was coded.

    Raises:
        FormatError: the payload is not what an encoder with these weights would write.
    """
    grid = Grid.of(shape.height, shape.width)
    read = read_payload(weights, grid, setting, payload, context=condition.context)
    found = None
    if details is not None:
        found = read_details(weights, grid, setting, read.z, read.y_hat, details, condition.context)
    return Coded(weights, shape, Stream(setting, payload, read.z, read.y_hat, found), condition)


def shape_of(pixels: Pixels) -> Shape:
    """What a decoder must know of these pixels, (h, w, 3 or 1)."""
    height, width, channels = pixels.shape
    return Shape(height, width, channels == 1, 8 * pixels.dtype.itemsize)


def choose_device(name: str) -> str:
    """`auto`, `cpu` or `cuda` -> the torch device to use."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device is available; use --device cpu")
    return name
