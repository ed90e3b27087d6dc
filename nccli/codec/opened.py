"""A file of any kind, decoded."""

from __future__ import annotations

from nccli.bounds import DEFAULT_MAX_PIXELS
from nccli.codec.image import decode_image
from nccli.codec.result import Decoded
from nccli.coding.tiles import Progress, quiet
from nccli.container.framing import Kind, kind_of
from nccli.container.kinds import unsupported
from nccli.media.picture import Pixels


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
    kind = kind_of(data)
    match kind:
        case Kind.IMAGE:
            return decode_image(data, device, reference, max_pixels, progress)
        case _:
            raise unsupported(kind)
