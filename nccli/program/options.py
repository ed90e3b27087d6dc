"""What users ask of a command, as frozen dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field

from nccli.bounds import DEFAULT_MAX_PIXELS
from nccli.codec.encoding import Encoding
from nccli.masks.request import RoiOptions


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
class EncodeOptions:
    """How to encode pictures, and refine them or files.

    Attributes:
        common: shared options.
        encoding: rate, model and effort; every picture gets its own region.
        roi: what a picture's region is made of.
        original: path of the picture that an ncc file was made of, to refine the file.
        trace: path of a table of the refinement.
        plot: path of a drawing of the refinement.
    """

    common: Common
    encoding: Encoding
    roi: RoiOptions = field(default_factory=RoiOptions)
    original: str | None = None
    trace: str | None = None
    plot: str | None = None


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
class MaskOptions:
    """How to make masks.

    Attributes:
        common: shared options.
        model: what makes them.
    """

    common: Common
    model: str


JobOptions = EncodeOptions | DecodeOptions | MaskOptions
