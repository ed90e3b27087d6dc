"""Image files: a picture into a file and back."""

from __future__ import annotations

from dataclasses import replace

from nccli.bounds import DEFAULT_MAX_PIXELS
from nccli.catalogue.entries import find, find_for_file
from nccli.catalogue.load import load_model
from nccli.codec.coded import Coded, choose_device, code_picture, decode_coded
from nccli.codec.encoding import Encoding
from nccli.codec.inside import RoiReport, roi_report
from nccli.codec.packing import Packer
from nccli.codec.result import Decoded, Encoded, Report, Stopwatch
from nccli.coding.tiles import Progress, Shape, quiet
from nccli.container.image_file import ImageContainer, ImageHeader, read_image
from nccli.container.section_ids import SectionId
from nccli.container.sections import stored_alpha, stored_metadata, stored_setting
from nccli.entropy.rate import rate_to_lambda
from nccli.errors import MediaError, UsageError
from nccli.media.metrics import ms_ssim, psnr
from nccli.media.picture import Picture, Pixels, change_depth
from nccli.networks.weights import ImageWeights

ENCODED, DECODED = 0.6, 0.4
"""How much of the work is done when the synthesis begins: for progress bars."""


def encode_picture(picture: Picture, encoding: Encoding, progress: Progress = quiet) -> Encoded:
    """Encode a picture.

    Args:
        picture: what to encode; alpha and metadata go into the file with it.
        encoding: how.
        progress: told the share of the work done.

    Raises:
        UsageError: the rate cannot be met.
        ModelError: the model is missing.
    """
    watch = Stopwatch(progress)
    weights, pack = prepared(picture, encoding, watch)
    coded = code_picture(weights, picture.pixels, encoding, pack, watch)
    return finished(coded, pack(coded.stream), picture.pixels, encoding.measure, watch)


def prepared(picture: Picture, encoding: Encoding, watch: Stopwatch) -> tuple[ImageWeights, Packer]:
    """The model that an encoding names, and what makes files of the picture's streams.

    Raises:
        UsageError, ModelError: as of `encode_picture`.
    """
    target = encoding.rate.target(picture.height * picture.width, encoding.model)
    weights = load_model(find(encoding.model), choose_device(encoding.device))
    watch.lap("load")
    return weights, Packer(weights, picture, target.size)


def encode_pixels(pixels: Pixels, encoding: Encoding) -> Encoded:
    """`encode_picture` of bare samples: (h, w, 3) RGB or (h, w, 1) gray, uint8 or uint16."""
    return encode_picture(Picture(pixels), encoding)


def finished(coded: Coded, data: bytes, x: Pixels, measure: bool, watch: Stopwatch) -> Encoded:
    """A file that has just been made of `coded`, with its report; `x` is the picture."""
    watch.lap("entropy")
    x_hat = coded.reconstruct(watch.share(ENCODED, 1)) if measure else None
    watch.lap("transform")
    report = _report(coded.weights, coded.stream.setting.rate, coded.shape, data, watch)
    return Encoded(data, report if x_hat is None else _compared(report, x, x_hat, _region(coded, x, x_hat)))


def decode_image(
    data: bytes,
    device: str = "auto",
    reference: Pixels | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Progress = quiet,
) -> Decoded:
    """Decode an image file; arguments and errors as of `opened.decode_bytes`."""
    watch = Stopwatch(progress)
    container = read_image(data)
    header = container.header
    if header.pixels > max_pixels:
        raise MediaError(f"{header.width}x{header.height} is more than the limit of {max_pixels} pixels")
    x = None if reference is None else _comparable(reference, shape_in(header))
    weights = model_of(container, choose_device(device))
    watch.lap("load")
    alpha, metadata = stored_alpha(container), stored_metadata(container)
    coded = decode_stored(container, weights)
    watch.lap("entropy")
    x_hat = coded.reconstruct(watch.share(DECODED, 1))
    watch.lap("transform")
    roi = None if x is None else _region(coded, x, x_hat)
    del coded  # a large picture's latents need not be there while it is compared
    report = _report(weights, header.rate, shape_in(header), data, watch)
    return Decoded(Picture(x_hat, alpha, metadata), report if x is None else _compared(report, x, x_hat, roi))


def decode_stored(container: ImageContainer, weights: ImageWeights) -> Coded:
    """The coded picture of a parsed file.

    Raises:
        FormatError: the file is damaged.
    """
    setting, payload = stored_setting(container), container.section(SectionId.LATENTS)
    details = container.find(SectionId.DETAILS)
    return decode_coded(weights, shape_in(container.header), setting, payload, details)


def model_of(container: ImageContainer, device: str) -> ImageWeights:
    """The weights that a parsed file names."""
    header = container.header
    return load_model(find_for_file(header.model_id, header.weights_tag), device)


def shape_in(header: ImageHeader) -> Shape:
    """The shape of a file's picture."""
    return Shape(header.height, header.width, header.gray, header.depth)


def _report(weights: ImageWeights, rate: int, shape: Shape, data: bytes, watch: Stopwatch) -> Report:
    """What a file came to, before any comparison."""
    return Report(
        width=shape.width,
        height=shape.height,
        bytes=len(data),
        bpp=len(data) * 8 / (shape.height * shape.width),
        psnr=None,
        ms_ssim=None,
        lmbda=rate_to_lambda(rate),
        model=weights.entry.name,
        device=weights.device.type,
        seconds=watch.seconds(),
    )


def _compared(report: Report, x: Pixels, x_hat: Pixels, roi: RoiReport | None) -> Report:
    """The report of a picture and what a decoder makes of it."""
    return replace(report, psnr=psnr(x, x_hat), ms_ssim=ms_ssim(x, x_hat), roi=roi)


def _region(coded: Coded, x: Pixels, x_hat: Pixels) -> RoiReport | None:
    """What the region of interest came to, when there is one."""
    region = coded.stream.setting.region
    return None if region is None else roi_report(region, coded.bits(), x, x_hat)


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
