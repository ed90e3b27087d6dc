"""The image pipeline: pixels -> file bytes -> pixels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from nccli.bounds import DEFAULT_MAX_PIXELS
from nccli.catalogue.entries import find, find_for_file
from nccli.catalogue.load import load_model
from nccli.codec.encoding import Encoding
from nccli.codec.inside import RoiReport, inside_psnr, roi_report
from nccli.codec.packing import Packer
from nccli.coding.analysis import Analyser
from nccli.coding.background import reach_background
from nccli.coding.bits import bits_map
from nccli.coding.payload import read_payload
from nccli.coding.search import code_to_target, first_setting
from nccli.coding.sender import Latents, Stream
from nccli.coding.tiles import Progress, Shape, quiet, reconstruct
from nccli.container.image_file import ImageContainer, read_image
from nccli.container.section_ids import SectionId
from nccli.container.sections import stored_alpha, stored_metadata, stored_setting
from nccli.entropy.grid import Grid
from nccli.entropy.rate import rate_to_lambda
from nccli.entropy.region import Region
from nccli.entropy.setting import Setting
from nccli.errors import MediaError, UsageError
from nccli.media.metrics import ms_ssim, psnr
from nccli.media.picture import Picture, Pixels, change_depth
from nccli.networks.weights import ImageWeights

ENCODE_SHARES = (0.4, 0.6)
DECODE_SHARE = 0.4
"""How much of the work is done after the analysis, and when the synthesis begins: for progress bars."""


Improver = Callable[[ImageWeights, Latents, Stream, Callable[[Stream], bytes]], Stream]
"""Makes a better stream of a plain one, given the model, the analysed picture and stream -> file."""


@dataclass(frozen=True)
class Seconds:
    """Where the time went."""

    load: float
    transform: float
    entropy: float
    total: float


@dataclass(frozen=True)
class Report:
    """What coding a picture came to.

    Attributes:
        width: pixels.
        height: pixels.
        bytes: size of the whole file.
        bpp: file bytes * 8 / pixels.
        psnr: dB, at the picture's own depth; None when there is nothing to compare with.
        ms_ssim: None for pictures with a side below 161 pixels or of more than 16 megapixels, or
            nothing to compare with.
        lmbda: where on the rate axis the picture was coded.
        model: catalogue name.
        device: where the networks ran.
        seconds: time spent.
        roi: what the region of interest came to, if there is one.
    """

    width: int
    height: int
    bytes: int
    bpp: float
    psnr: float | None
    ms_ssim: float | None
    lmbda: float
    model: str
    device: str
    seconds: Seconds
    roi: RoiReport | None = None


@dataclass(frozen=True)
class Encoded:
    """A finished file and its report."""

    data: bytes
    report: Report


@dataclass(frozen=True)
class Decoded:
    """A decoded picture and its report."""

    picture: Picture
    report: Report

    @property
    def pixels(self) -> Pixels:
        """(h, w, 3), or (h, w, 1) when gray; uint8 or uint16."""
        return self.picture.pixels


class Stopwatch:
    """Seconds per named stage since it was made."""

    def __init__(self) -> None:
        self.start = self.last = time.perf_counter()
        self.stages = {"load": 0.0, "transform": 0.0, "entropy": 0.0}

    def lap(self, stage: str) -> None:
        """Book the time since the last lap to `stage`."""
        now = time.perf_counter()
        self.stages[stage] += now - self.last
        self.last = now

    def seconds(self) -> Seconds:
        """The times so far."""
        return Seconds(**self.stages, total=time.perf_counter() - self.start)


def choose_device(name: str) -> str:
    """`auto`, `cpu` or `cuda` -> the torch device to use."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device is available; use --device cpu")
    return name


def _share(progress: Progress, start: float, end: float) -> Progress:
    """Progress of one stage as a part of the whole."""
    return lambda done: progress(start + (end - start) * done)


def encode_picture(
    picture: Picture, encoding: Encoding, progress: Progress = quiet, improve: Improver | None = None
) -> Encoded:
    """Encode a picture.

    Args:
        picture: what to encode; alpha and metadata go into the file with it.
        encoding: how.
        progress: told the share of the work done.
        improve: told to make the plain encode better, see `nccli.refinement`.

    Raises:
        UsageError: the rate cannot be met.
        ModelError: the model is missing.
    """
    watch = Stopwatch()
    target = encoding.rate.target(picture.height * picture.width, encoding.model)
    region, background = encoding.region, encoding.background
    weights = load_model(find(encoding.model), choose_device(encoding.device))
    watch.lap("load")
    pack = Packer(weights, picture, target.size)
    shape = Shape(picture.height, picture.width, picture.gray, picture.depth)
    with torch.inference_mode():
        analysed, coded = ENCODE_SHARES
        analyser = Analyser(weights, picture.pixels, _share(progress, 0, analysed))
        grid = analyser(first_setting(weights, target, region)).grid
        watch.lap("transform")

        def judge(y_hat: NDArray[np.int32], setting: Setting) -> tuple[float, float]:
            x_hat = reconstruct(weights, y_hat, setting.field(grid), shape)
            return inside_psnr(picture.pixels, x_hat, region)

        def code(wanted: Region | None) -> Stream:
            return code_to_target(weights, analyser, target, pack, lambda *found: judge(*found)[0], wanted)

        if region is None or background is None:
            stream = code(region)
        else:
            stream = reach_background(code, lambda s: judge(s.y_hat, s.setting)[1], region, background)
        if improve is not None:
            stream = improve(weights, analyser(stream.setting), stream, pack)
        data = pack(stream)
        watch.lap("entropy")
        x_hat = None
        if encoding.measure:
            field = stream.setting.field(grid)
            x_hat = reconstruct(weights, stream.y_hat, field, shape, _share(progress, coded, 1))
        watch.lap("transform")
    report = report_of(weights, stream.setting.rate, data, shape, watch, picture.pixels, x_hat)
    roi = measured_region(weights, stream.setting, stream.payload, picture.pixels, x_hat)
    return Encoded(data, replace(report, roi=roi))


def measured_region(
    weights: ImageWeights, setting: Setting, payload: bytes, x: Pixels | None, x_hat: Pixels | None
) -> RoiReport | None:
    """What the region of interest came to, when there is one and the picture is to be measured."""
    if setting.region is None or x is None or x_hat is None:
        return None
    bits = bits_map(weights, Grid.of(*x.shape[:2]), setting, payload)
    return roi_report(setting.region, bits, x, x_hat)


def encode_pixels(pixels: Pixels, encoding: Encoding) -> Encoded:
    """`encode_picture` of bare samples: (h, w, 3) RGB or (h, w, 1) gray, uint8 or uint16."""
    return encode_picture(Picture(pixels), encoding)


def report_of(
    weights: ImageWeights,
    rate: int,
    data: bytes,
    shape: Shape,
    watch: Stopwatch,
    x: Pixels | None,
    x_hat: Pixels | None,
) -> Report:
    """What a file came to; `x` and `x_hat` are compared when both are there."""
    seconds = watch.seconds()
    return Report(
        width=shape.width,
        height=shape.height,
        bytes=len(data),
        bpp=len(data) * 8 / (shape.height * shape.width),
        psnr=psnr(x, x_hat) if x is not None and x_hat is not None else None,
        ms_ssim=ms_ssim(x, x_hat) if x is not None and x_hat is not None else None,
        lmbda=rate_to_lambda(rate),
        model=weights.entry.name,
        device=weights.device.type,
        seconds=seconds,
    )


def model_of(container: ImageContainer, device: str) -> ImageWeights:
    """The weights that a parsed file names."""
    header = container.header
    return load_model(find_for_file(header.model_id, header.weights_tag), device)


def decode_bytes(
    data: bytes,
    device: str = "auto",
    reference: Pixels | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Progress = quiet,
) -> Decoded:
    """Decode a file.

    Args:
        data: a whole file.
        device: `auto`, `cpu` or `cuda`.
        reference: the original (h, w, 1 or 3), uint8 or uint16, to report PSNR and MS-SSIM against.
        max_pixels: larger pictures are refused.
        progress: told the share of the work done.

    Raises:
        FormatError: the file is damaged.
        UnsupportedError: it needs another version or model.
        MediaError: it is larger than `max_pixels`.
        UsageError: the reference has another size.
    """
    watch = Stopwatch()
    container = read_image(data)
    header = container.header
    if header.pixels > max_pixels:
        raise MediaError(f"{header.width}x{header.height} is more than the limit of {max_pixels} pixels")
    shape = Shape(header.height, header.width, header.gray, header.depth)
    if reference is not None:
        reference = _comparable(reference, shape)
    weights = model_of(container, choose_device(device))
    watch.lap("load")
    grid = Grid.of(header.height, header.width)
    setting = stored_setting(container)
    payload = container.section(SectionId.LATENTS)
    alpha, metadata = stored_alpha(container), stored_metadata(container)
    with torch.inference_mode():
        y_hat = read_payload(weights, grid, setting, payload).y_hat
        watch.lap("entropy")
        x_hat = reconstruct(weights, y_hat, setting.field(grid), shape, _share(progress, DECODE_SHARE, 1))
        watch.lap("transform")
    del y_hat
    report = report_of(weights, header.rate, data, shape, watch, reference, x_hat)
    roi = measured_region(weights, setting, payload, reference, x_hat)
    return Decoded(Picture(x_hat, alpha, metadata), replace(report, roi=roi))


def _comparable(reference: Pixels, shape: Shape) -> Pixels:
    """A reference with the depth and channels of the decoded picture."""
    if reference.shape[:2] != (shape.height, shape.width):
        found = f"{reference.shape[1]}x{reference.shape[0]}"
        raise UsageError(f"the reference is {found}, the file {shape.width}x{shape.height}")
    reference = change_depth(reference, shape.depth)
    if not shape.gray and reference.shape[2] == 1:
        return reference.repeat(3, axis=2)
    if shape.gray and reference.shape[2] == 3:
        raise UsageError("the reference is in colour, the file gray")
    return reference
