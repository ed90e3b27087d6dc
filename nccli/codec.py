"""The image pipeline: pixels -> file bytes -> pixels."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from nccli.catalogue import DEFAULT_MODEL, find, find_for_file
from nccli.coding import Grid, Setting, receive
from nccli.container import (
    DEFAULT_MAX_PIXELS,
    Container,
    Header,
    Kind,
    Section,
    SectionId,
    minimum_latent_bytes,
    read_container,
    write_container,
)
from nccli.encoding import Stream, send
from nccli.errors import MediaError, UnsupportedError, UsageError
from nccli.metrics import ms_ssim, psnr
from nccli.picture import Metadata, Picture, Pixels, change_depth
from nccli.rate import rate_to_lambda
from nccli.search import Target, find_setting
from nccli.tiles import Progress, Shape, analyse, quiet, reconstruct
from nccli.weights import ImageWeights, load_model

METADATA_SECTIONS = {"icc": SectionId.ICC, "exif": SectionId.EXIF, "xmp": SectionId.XMP}

ENCODE_SHARES = (0.4, 0.6)
DECODE_SHARE = 0.4
"""How much of the work is done after the analysis, and when the synthesis begins: for progress bars."""


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


def _extras(picture: Picture) -> list[Section]:
    """The sections of a picture beside its latents."""
    sections = []
    if picture.alpha is not None:
        from nccli.alpha import pack_alpha

        sections.append(Section(SectionId.ALPHA, pack_alpha(picture.alpha)))
    for name, number in METADATA_SECTIONS.items():
        payload = getattr(picture.metadata, name)
        if payload:
            sections.append(Section(number, payload))
    return sections


def _pack(weights: ImageWeights, stream: Stream, picture: Picture, extras: list[Section]) -> bytes:
    setting = stream.setting
    header = Header(
        kind=Kind.IMAGE,
        model_id=weights.entry.id,
        weights_tag=weights.entry.tag,
        width=picture.width,
        height=picture.height,
        rate=setting.rate,
        step_y=setting.step_y,
        step_z=setting.step_z,
        gray=picture.gray,
        depth=picture.depth,
    )
    payload = stream.payload.ljust(minimum_latent_bytes(header.pixels), b"\0")
    return write_container(header, [Section(SectionId.LATENTS, payload), *extras])


def encode_picture(
    picture: Picture,
    target: Target,
    model: str = DEFAULT_MODEL,
    device: str = "auto",
    measure: bool = True,
    progress: Progress = quiet,
) -> Encoded:
    """Encode a picture.

    Args:
        picture: what to encode; alpha and metadata go into the file with it.
        target: what decides the rate.
        model: catalogue name.
        device: `auto`, `cpu` or `cuda`.
        measure: decode and report PSNR and MS-SSIM.
        progress: told the share of the work done.

    Raises:
        UsageError: the target cannot be met.
        ModelError: the model is missing.
    """
    watch = Stopwatch()
    weights = load_model(find(model), choose_device(device))
    watch.lap("load")
    extras = _extras(picture)
    beside = sum(section.size for section in extras)
    if target.size is not None and beside >= target.size:
        raise UsageError(f"{target.size} bytes are too few: alpha and metadata alone take {beside}")
    shape = Shape(picture.height, picture.width, picture.gray, picture.depth)
    with torch.inference_mode():
        first, second = ENCODE_SHARES
        latents = analyse(weights, picture.pixels, lambda done: progress(first * done))
        watch.lap("transform")

        def render(y_hat: Tensor, rate: int) -> float:
            return psnr(picture.pixels, reconstruct(weights, y_hat, rate, shape))

        def pack(stream: Stream) -> bytes:
            return _pack(weights, stream, picture, extras)

        setting = find_setting(weights, latents, target, pack, render)
        stream = send(weights, latents, setting)
        data = pack(stream)
        watch.lap("entropy")
        del latents
        x_hat = None
        if measure:
            rest = 1 - second
            x_hat = reconstruct(
                weights, stream.y_hat, setting.rate, shape, lambda done: progress(second + rest * done)
            )
        watch.lap("transform")
    return Encoded(data, _report(weights, setting.rate, data, shape, watch, picture.pixels, x_hat))


def encode_pixels(
    pixels: Pixels, target: Target, model: str = DEFAULT_MODEL, device: str = "auto", measure: bool = True
) -> Encoded:
    """`encode_picture` of bare samples: (h, w, 3) RGB or (h, w, 1) gray, uint8 or uint16."""
    return encode_picture(Picture(pixels), target, model, device, measure)


def _report(
    weights: ImageWeights,
    rate: int,
    data: bytes,
    shape: Shape,
    watch: Stopwatch,
    x: Pixels | None,
    x_hat: Pixels | None,
) -> Report:
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


def model_of(container: Container, device: str) -> ImageWeights:
    """The weights that a parsed file names."""
    header = container.header
    if header.kind != Kind.IMAGE:
        raise UnsupportedError(f"{header.kind.name.lower()} files are not supported by this version")
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
    container = read_container(data)
    header = container.header
    if header.pixels > max_pixels:
        raise MediaError(f"{header.width}x{header.height} is more than the limit of {max_pixels} pixels")
    if reference is not None and reference.shape[:2] != (header.height, header.width):
        raise UsageError(
            f"the reference is {reference.shape[1]}x{reference.shape[0]}, "
            f"the file {header.width}x{header.height}"
        )
    weights = model_of(container, choose_device(device))
    watch.lap("load")
    setting = Setting(header.rate, header.step_y, header.step_z)
    shape = Shape(header.height, header.width, header.gray, header.depth)
    payload = container.section(SectionId.LATENTS)
    alpha = _alpha(container)
    with torch.inference_mode():
        y_hat = receive(weights, Grid.of(header.height, header.width), setting, payload)
        watch.lap("entropy")
        rest = 1 - DECODE_SHARE
        x_hat = reconstruct(
            weights, y_hat, header.rate, shape, lambda done: progress(DECODE_SHARE + rest * done)
        )
        watch.lap("transform")
    del y_hat
    if reference is not None:
        reference = _comparable(reference, shape)
    report = _report(weights, header.rate, data, shape, watch, reference, x_hat)
    return Decoded(Picture(x_hat, alpha, _metadata(container)), report)


def _alpha(container: Container) -> Pixels | None:
    header, payload = container.header, container.find(SectionId.ALPHA)
    if payload is None:
        return None
    from nccli.alpha import unpack_alpha

    return unpack_alpha(payload, header.height, header.width, header.depth)


def _metadata(container: Container) -> Metadata:
    return Metadata(**{name: container.find(number) for name, number in METADATA_SECTIONS.items()})


def _comparable(reference: Pixels, shape: Shape) -> Pixels:
    """A reference with the depth and channels of the decoded picture."""
    reference = change_depth(reference, shape.depth)
    if not shape.gray and reference.shape[2] == 1:
        return reference.repeat(3, axis=2)
    if shape.gray and reference.shape[2] == 3:
        raise UsageError("the reference is in colour, the file gray")
    return reference
