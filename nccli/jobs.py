"""One input, one output: read, code, write. What a worker process does.

The heavy modules are imported inside, so that planning a batch costs nothing.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nccli import files
from nccli.container import DEFAULT_MAX_PIXELS, read_container
from nccli.errors import ExitCode, NccError, UsageError
from nccli.limits import check_memory

if TYPE_CHECKING:
    from nccli.codec import Report
    from nccli.picture import Picture
    from nccli.tiles import Progress


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

    def check(self) -> None:
        """Raise UsageError if more than one is set."""
        given = (self.lmbda, self.quality, self.bpp, self.size, self.psnr)
        if sum(value is not None for value in given) > 1:
            raise UsageError("give only one of --lambda, --quality, --bpp, --size, --psnr")


@dataclass(frozen=True)
class EncodeOptions:
    """How to encode.

    Attributes:
        common: shared options.
        model: catalogue name.
        measure: decode again and report PSNR and MS-SSIM.
        rate: what decides the rate.
    """

    common: Common
    model: str
    measure: bool
    rate: Rate = Rate()


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


def perform(job: Job, options: EncodeOptions | DecodeOptions, progress: Progress | None = None) -> Outcome:
    """Do a job; a failure that ncc foresees is an outcome, not an exception."""
    if job.refused:
        return Outcome(job, error=job.refused, exit_code=ExitCode.USAGE)
    try:
        files.refuse_overwrite(job.output, options.common.force)
        if isinstance(options, EncodeOptions):
            return _encode(job, options, progress)
        return _decode(job, options, progress)
    except NccError as error:
        return Outcome(job, error=str(error), exit_code=error.exit_code, trace=traceback.format_exc())


def _limit_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _encode(job: Job, options: EncodeOptions, progress: Progress | None) -> Outcome:
    from nccli import media

    common = options.common
    data = files.read_bytes(job.source)
    if common.max_memory is not None:
        height, width = media.picture_size(data, job.source)
        check_memory("encode", height, width, 8, common.max_memory, job.source)
    picture = _trim(media.read_picture(data, job.source, common.max_pixels), common)
    check_memory("encode", picture.height, picture.width, picture.depth, common.max_memory, job.source)
    del data
    from nccli.api import make_target
    from nccli.codec import encode_picture
    from nccli.tiles import quiet

    pixels, rate = picture.height * picture.width, options.rate
    target = make_target(pixels, rate.lmbda, rate.quality, rate.bpp, rate.size, rate.psnr)
    _limit_threads(common.threads)
    encoded = encode_picture(
        picture, target, options.model, common.device, options.measure, progress or quiet
    )
    files.write_bytes(job.output, encoded.data, common.force)
    return Outcome(job, encoded.report)


def _decode(job: Job, options: DecodeOptions, progress: Progress | None) -> Outcome:
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

    _limit_threads(common.threads)
    decoded = decode_bytes(data, common.device, original, common.max_pixels, progress or quiet)
    picture = _trim(decoded.picture, common)
    files.write_bytes(job.output, media.write_picture(picture, name), common.force)
    lost = tuple(f"{job.output}: {name} cannot hold {what}" for what in media.lost(picture, name))
    return Outcome(job, decoded.report, lost)


def _trim(picture: Picture, common: Common) -> Picture:
    """The picture without what the user does not want."""
    from nccli.picture import Metadata, Picture

    alpha = picture.alpha if common.keep_alpha else None
    return Picture(picture.pixels, alpha, picture.metadata if common.keep_metadata else Metadata())
