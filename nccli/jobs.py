"""One input, one output: read, code, write. What a worker process does.

The heavy modules are imported inside, so that planning a batch costs nothing.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from nccli import files
from nccli.container import DEFAULT_MAX_PIXELS, read_container
from nccli.errors import ExitCode, NccError, UsageError
from nccli.limits import check_memory
from nccli.refinement.config import RefineOptions
from nccli.roi.options import RoiOptions

if TYPE_CHECKING:
    from nccli.codec import Report
    from nccli.picture import Picture
    from nccli.roi.field import Region
    from nccli.search import Target


class Listener(Protocol):
    """Told how much of a job is done, 0 .. 1, and how it stands in words."""

    def __call__(self, done: float, note: str = "") -> None:
        """Hear it."""


@dataclass(frozen=True)
class Common:
    """What encoding and decoding share.

    Attributes:
        device: `auto`, `cpu` or `cuda`.
        threads: CPU threads; None for all cores.
        force: overwrite existing files.
        keep_alpha: False drops transparency.
        keep_metadata: False drops ICC profile, EXIF and XMP.
        max_pixels: larger pictures are refused.
        max_memory: bytes; pictures that would need more are refused.
    """

    device: str = "auto"
    threads: int | None = None
    force: bool = False
    keep_alpha: bool = True
    keep_metadata: bool = True
    max_pixels: int = DEFAULT_MAX_PIXELS
    max_memory: int | None = None


@dataclass(frozen=True)
class Rate:
    """What decides the rate; at most one is set, see `api.make_target`."""

    lmbda: float | None = None
    quality: float | None = None
    bpp: float | None = None
    size: int | None = None
    psnr: float | None = None

    @property
    def given(self) -> int:
        """How many are set."""
        values = (self.lmbda, self.quality, self.bpp, self.size, self.psnr)
        return sum(value is not None for value in values)

    def check(self) -> None:
        """Raise UsageError if more than one is set."""
        if self.given > 1:
            raise UsageError("give only one of --lambda, --quality, --bpp, --size, --psnr")


@dataclass(frozen=True)
class EncodeOptions:
    """How to encode.

    Attributes:
        common: shared options.
        model: catalogue name.
        measure: decode again and report PSNR and MS-SSIM.
        rate: what decides the rate.
        roi: where the picture is to be better than elsewhere.
    """

    common: Common
    model: str
    measure: bool
    rate: Rate = Rate()
    roi: RoiOptions = field(default_factory=RoiOptions)


@dataclass(frozen=True)
class DecodeOptions:
    """How to decode.

    Attributes:
        common: shared options.
        format: output format; None goes by the output's suffix.
        reference: path of an original to compare with.
    """

    common: Common
    format: str | None = None
    reference: str | None = None


@dataclass(frozen=True)
class RefineJobOptions:
    """How to encode with refinement, or refine a file.

    Attributes:
        common: shared options.
        model: catalogue name; files name their own.
        measure: decode again and report PSNR and MS-SSIM.
        rate: what decides the rate.
        how: of the refinement.
        original: path of the picture that an ncc file was made of.
        trace: path of a table of the run.
        plot: path of a drawing of the run.
        roi: where the picture is to be better than elsewhere.
    """

    common: Common
    model: str
    measure: bool
    rate: Rate = Rate()
    how: RefineOptions = field(default_factory=RefineOptions)
    original: str | None = None
    trace: str | None = None
    plot: str | None = None
    roi: RoiOptions = field(default_factory=RoiOptions)


JobOptions = EncodeOptions | DecodeOptions | RefineJobOptions


@dataclass(frozen=True)
class Job:
    """One input and where its output goes.

    Attributes:
        refused: why this job cannot be done, found out while planning.
    """

    source: str
    output: str
    refused: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        report: set when it was done.
        warnings: remarks for the user.
        skipped: its output was there already.
        error: what went wrong, one line.
        exit_code: of the failure; 0 when there is none.
        trace: where the failure came from.
    """

    job: Job
    report: Report | None = None
    warnings: tuple[str, ...] = ()
    skipped: bool = False
    error: str | None = None
    exit_code: int = ExitCode.OK
    trace: str = ""


def perform(job: Job, options: JobOptions, progress: Listener | None = None) -> Outcome:
    """Do a job; a failure that ncc foresees is an outcome, not an exception."""
    if job.refused:
        return Outcome(job, error=job.refused, exit_code=ExitCode.USAGE)
    try:
        files.refuse_overwrite(job.output, options.common.force)
        if isinstance(options, EncodeOptions):
            return _encode(job, options, progress)
        if isinstance(options, RefineJobOptions):
            from nccli.refinement.job import refine

            return refine(job, options, progress)
        return _decode(job, options, progress)
    except NccError as error:
        return Outcome(job, error=str(error), exit_code=error.exit_code, trace=traceback.format_exc())


def limit_threads(threads: int | None) -> None:
    """Let torch use this many CPU threads; None for all cores."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def read_picture(source: str, operation: str, common: Common) -> Picture:
    """Read what is to be coded, unless that would need too much memory."""
    from nccli import media

    data = files.read_bytes(source)
    if common.max_memory is not None:
        height, width = media.picture_size(data, source)
        check_memory(operation, height, width, 8, common.max_memory, source)
    picture = trim(media.read_picture(data, source, common.max_pixels), common)
    check_memory(operation, picture.height, picture.width, picture.depth, common.max_memory, source)
    return picture


def target_of(rate: Rate, picture: Picture, model: str) -> Target:
    """What a user's rate option, or none, means for a picture and a model."""
    from nccli.api import make_target

    pixels = picture.height * picture.width
    return make_target(pixels, rate.lmbda, rate.quality, rate.bpp, rate.size, rate.psnr, model)


def region_for(
    picture: Picture, roi: RoiOptions, source: str, common: Common
) -> tuple[Region | None, tuple[str, ...]]:
    """The region of interest of an input, and remarks about it."""
    if not roi.wanted:
        return None, ()
    from nccli.roi.job import selection_for

    selection = selection_for(picture, roi, source, common)
    if selection is None:
        return None, ()
    return selection.region, () if selection.remark is None else (f"{source}: {selection.remark}",)


def _encode(job: Job, options: EncodeOptions, progress: Listener | None) -> Outcome:
    common = options.common
    picture = read_picture(job.source, "encode", common)
    from nccli.codec import encode_picture
    from nccli.tiles import quiet

    target = target_of(options.rate, picture, options.model)
    limit_threads(common.threads)
    region, remarks = region_for(picture, options.roi, job.source, common)
    encoded = encode_picture(
        picture,
        target,
        options.model,
        common.device,
        options.measure,
        progress or quiet,
        region,
        background=options.roi.roi_background,
    )
    files.write_bytes(job.output, encoded.data, common.force)
    return Outcome(job, encoded.report, remarks)


def _decode(job: Job, options: DecodeOptions, progress: Listener | None) -> Outcome:
    from nccli import media

    common = options.common
    name = options.format or media.format_for(job.output)
    data = files.read_bytes(job.source)
    header = read_container(data).header
    media.check_size(header.width, header.height, job.source, common.max_pixels)
    check_memory("decode", header.height, header.width, header.depth, common.max_memory, job.source)
    original = None
    if options.reference:
        reference = files.read_bytes(options.reference)
        original = media.read_picture(reference, options.reference, common.max_pixels).pixels
    from nccli.codec import decode_bytes
    from nccli.tiles import quiet

    limit_threads(common.threads)
    decoded = decode_bytes(data, common.device, original, common.max_pixels, progress or quiet)
    picture = trim(decoded.picture, common)
    files.write_bytes(job.output, media.write_picture(picture, name), common.force)
    lost = tuple(f"{job.output}: {name} cannot hold {what}" for what in media.lost(picture, name))
    return Outcome(job, decoded.report, lost)


def trim(picture: Picture, common: Common) -> Picture:
    """The picture without what the user does not want."""
    from nccli.picture import Metadata, Picture

    alpha = picture.alpha if common.keep_alpha else None
    return Picture(picture.pixels, alpha, picture.metadata if common.keep_metadata else Metadata())
