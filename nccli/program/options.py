"""What users ask of a command, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nccli.bounds import DEFAULT_MAX_PIXELS
from nccli.errors import UsageError
from nccli.masks.request import RoiOptions
from nccli.refinement.config import RefineOptions

if TYPE_CHECKING:
    pass


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
