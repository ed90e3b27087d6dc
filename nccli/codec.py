"""The image pipeline: pixels -> file bytes -> pixels."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nccli.catalogue import DEFAULT_MODEL, find, find_for_file
from nccli.coding import Grid, Setting, receive
from nccli.container import (
    Container,
    Header,
    Kind,
    Section,
    SectionId,
    minimum_latent_bytes,
    read_container,
    write_container,
)
from nccli.encoding import Latents, Stream, send
from nccli.errors import UnsupportedError, UsageError
from nccli.metrics import ms_ssim, psnr
from nccli.model import LATENT_STRIDE
from nccli.quantize import LATENT_BITS, anchor_weights
from nccli.rate import RATE_UNIT, rate_to_lambda
from nccli.search import Target, find_setting
from nccli.weights import ImageWeights, load_model

Pixels = NDArray[np.uint8]


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
        psnr: dB, RGB, 8 bit; None when there is nothing to compare with.
        ms_ssim: None for pictures with a side below 161 pixels, or nothing to compare with.
        lmbda: where on the rate axis the picture was coded.
        model: catalogue name.
        device: where the networks ran.
        seconds: time spent.
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


@dataclass(frozen=True)
class Encoded:
    """A finished file and its report."""

    data: bytes
    report: Report


@dataclass(frozen=True)
class Decoded:
    """A decoded picture (h, w, 3) uint8 and its report."""

    pixels: Pixels
    report: Report


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

    def skip(self) -> None:
        """Book the time since the last lap to no stage but the total."""
        self.last = time.perf_counter()

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


@torch.no_grad()
def analyse(weights: ImageWeights, pixels: Pixels) -> Latents:
    """Run g_a and h_a once; the result serves every rate."""
    height, width = pixels.shape[:2]
    x = torch.tensor(pixels, device=weights.device)
    x = x.permute(2, 0, 1)[None].float() / 255
    x = F.pad(x, (0, -width % LATENT_STRIDE, 0, -height % LATENT_STRIDE), mode="replicate")
    y = weights.g_a(x) / weights.spread[:, None, None]
    return Latents(Grid.of(height, width), y[0], weights.h_a(y)[0])


@torch.no_grad()
def reconstruct(weights: ImageWeights, y_hat: Tensor, rate: int, height: int, width: int) -> Pixels:
    """Run g_s on fixed-point latents (M, h, w) and round to 8 bits."""
    anchors = anchor_weights(torch.tensor([rate / RATE_UNIT - 12], device=weights.device))
    y = y_hat.float()[None] * (weights.spread[:, None, None] / 2**LATENT_BITS)
    x_hat = weights.g_s(y, anchors)[0, :, :height, :width]
    rounded = x_hat.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
    pixels: Pixels = rounded.permute(1, 2, 0).contiguous().cpu().numpy()
    return pixels


def _pack(weights: ImageWeights, stream: Stream, height: int, width: int) -> bytes:
    setting = stream.setting
    header = Header(
        kind=Kind.IMAGE,
        model_id=weights.entry.id,
        weights_tag=weights.entry.tag,
        width=width,
        height=height,
        rate=setting.rate,
        step_y=setting.step_y,
        step_z=setting.step_z,
    )
    payload = stream.payload.ljust(minimum_latent_bytes(width * height), b"\0")
    return write_container(header, [Section(SectionId.LATENTS, payload)])


def encode_pixels(
    pixels: Pixels, target: Target, model: str = DEFAULT_MODEL, device: str = "auto", measure: bool = True
) -> Encoded:
    """Encode a picture.

    Args:
        pixels: (h, w, 3) uint8 RGB.
        target: what decides the rate.
        model: catalogue name.
        device: `auto`, `cpu` or `cuda`.
        measure: decode and report PSNR and MS-SSIM.

    Raises:
        UsageError: the target cannot be met.
        ModelError: the model is missing.
    """
    watch = Stopwatch()
    weights = load_model(find(model), choose_device(device))
    watch.lap("load")
    height, width = pixels.shape[:2]
    with torch.inference_mode():
        latents = analyse(weights, pixels)
        watch.lap("transform")

        def render(y_hat: Tensor, rate: int) -> float:
            return psnr(pixels, reconstruct(weights, y_hat, rate, height, width))

        def pack(stream: Stream) -> bytes:
            return _pack(weights, stream, height, width)

        setting = find_setting(weights, latents, target, pack, render)
        stream = send(weights, latents, setting)
        data = pack(stream)
        watch.lap("entropy")
        x_hat = reconstruct(weights, stream.y_hat, setting.rate, height, width) if measure else None
        watch.lap("transform")
    return Encoded(data, _report(weights, setting.rate, data, (height, width), watch, pixels, x_hat))


def _report(
    weights: ImageWeights,
    rate: int,
    data: bytes,
    size: tuple[int, int],
    watch: Stopwatch,
    x: Pixels | None,
    x_hat: Pixels | None,
) -> Report:
    return Report(
        width=size[1],
        height=size[0],
        bytes=len(data),
        bpp=len(data) * 8 / (size[0] * size[1]),
        psnr=psnr(x, x_hat) if x is not None and x_hat is not None else None,
        ms_ssim=ms_ssim(x, x_hat) if x is not None and x_hat is not None else None,
        lmbda=rate_to_lambda(rate),
        model=weights.entry.name,
        device=weights.device.type,
        seconds=watch.seconds(),
    )


def model_of(container: Container, device: str) -> ImageWeights:
    """The weights that a parsed file names."""
    header = container.header
    if header.kind != Kind.IMAGE:
        raise UnsupportedError(f"{header.kind.name.lower()} files are not supported by this version")
    return load_model(find_for_file(header.model_id, header.weights_tag), device)


def decode_bytes(data: bytes, device: str = "auto", reference: Pixels | None = None) -> Decoded:
    """Decode a file.

    Args:
        data: a whole file.
        device: `auto`, `cpu` or `cuda`.
        reference: the original (h, w, 3) uint8, to report PSNR and MS-SSIM against.

    Raises:
        FormatError: the file is damaged.
        UnsupportedError: it needs another version or model.
        UsageError: the reference has another size.
    """
    watch = Stopwatch()
    container = read_container(data)
    header = container.header
    if reference is not None and reference.shape[:2] != (header.height, header.width):
        raise UsageError(
            f"the reference is {reference.shape[1]}x{reference.shape[0]}, "
            f"the file {header.width}x{header.height}"
        )
    weights = model_of(container, choose_device(device))
    watch.lap("load")
    setting = Setting(header.rate, header.step_y, header.step_z)
    payload = container.section(SectionId.LATENTS)
    with torch.inference_mode():
        y_hat = receive(weights, Grid.of(header.height, header.width), setting, payload)
        watch.lap("entropy")
        x_hat = reconstruct(weights, y_hat, header.rate, header.height, header.width)
        watch.lap("transform")
    size = (header.height, header.width)
    return Decoded(x_hat, _report(weights, header.rate, data, size, watch, reference, x_hat))
