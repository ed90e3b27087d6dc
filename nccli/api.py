"""The Python interface: PIL images, numpy arrays and torch tensors in, PIL images or arrays out."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nccli.bounds import DEFAULT_MAX_PIXELS
from nccli.catalogue.entries import DEFAULT_MODEL
from nccli.codec.encoding import Encoding, Rate
from nccli.codec.image import encode_picture
from nccli.codec.opened import decode_bytes
from nccli.codec.result import Decoded, Encoded
from nccli.container.section_ids import METADATA_NAMES
from nccli.errors import UsageError
from nccli.masks.request import RoiOptions
from nccli.media.around.colour import to_info
from nccli.media.picture import Picture, Pixels, drop_opaque

if TYPE_CHECKING:
    from PIL import Image

    from nccli.entropy.region import Region


def to_picture(image: Any, depth: int | None = None) -> Picture:
    """Any supported image object -> a picture.

    Args:
        image: a PIL image; a numpy array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) of uint8, uint16
            or floats in [0, 1]; or a torch tensor (c, h, w), c 1, 3 or 4, uint8 or floats in [0, 1].
        depth: bits per sample of what floats become, 8 or 16. [default: 8]

    Raises:
        UsageError: anything else.
    """
    if isinstance(image, Picture):
        return image
    home = type(image).__module__.partition(".")[0]
    if home == "PIL" or hasattr(image, "getbands"):
        from nccli.media.still import picture_of

        return picture_of(image)
    if home == "torch" or (hasattr(image, "detach") and hasattr(image, "permute")):
        if image.ndim != 3:
            raise UsageError(f"a tensor must be (c, h, w), not {tuple(image.shape)}")
        image = image.detach().cpu()
        image = (image.float() if image.is_floating_point() else image).permute(1, 2, 0).numpy()
    if not isinstance(image, np.ndarray):
        raise UsageError(f"cannot encode a {type(image).__name__}: give a PIL image, an array or a tensor")
    return _from_array(image, depth or 8)


def _from_array(array: np.ndarray[Any, Any], depth: int) -> Picture:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4):
        raise UsageError(f"an array must be (h, w) or (h, w, 1 to 4), not {array.shape}")
    if array.dtype.kind == "f":
        array = _from_floats(array, depth)
    elif array.dtype not in (np.uint8, np.uint16):
        raise UsageError(f"an array must be uint8, uint16 or float in [0, 1], not {array.dtype}")
    colours = 1 if array.shape[2] < 3 else 3
    alpha = array[..., colours] if array.shape[2] > colours else None
    return Picture(np.ascontiguousarray(array[..., :colours]), drop_opaque(alpha))


def _from_floats(array: np.ndarray[Any, Any], depth: int) -> Pixels:
    if depth not in (8, 16):
        raise UsageError(f"depth is 8 or 16, not {depth}")
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise UsageError("floating-point samples must lie in [0, 1]")
    peak = 2**depth - 1
    samples: Pixels = np.rint(array * peak).astype(np.uint8 if depth == 8 else np.uint16)
    return samples


def region_of(picture: Picture, roi: Any, options: RoiOptions) -> Region | None:
    """The region of interest that the arguments of `encode` ask for."""
    if roi is None and not options.wanted:
        options.check()
        return None
    from nccli.masks.choose import choose, mask_from

    given = None if roi is None else partial(mask_from, roi, picture.height, picture.width)
    selection = choose(picture, options, given)
    return None if selection is None else selection.region


def encode(
    image: Any,
    *,
    lmbda: float | None = None,
    quality: float | None = None,
    bpp: float | None = None,
    size: int | None = None,
    psnr: float | None = None,
    model: str = DEFAULT_MODEL,
    device: str = "auto",
    depth: int | None = None,
    measure: bool = False,
    roi: Any = None,
    roi_model: str | None = None,
    roi_gain: float | None = None,
    roi_background: float | None = None,
    roi_feather: float | None = None,
    roi_resize: bool = False,
) -> Encoded:
    """Encode an image; give at most one of the rate options.

    Args:
        image: see `to_picture`; the metadata of a PIL image goes along, its EXIF orientation is applied.
        lmbda: trade-off, 0.0005 .. 0.15; larger is better and bigger.
        quality: 0 .. 100, log-linear in lambda. [default: 50]
        bpp: at most this many bits per pixel.
        size: at most this many bytes.
        psnr: at least this PSNR in dB; with a region of interest, inside it.
        model: name in the catalogue.
        device: `auto`, `cpu` or `cuda`.
        depth: bits per sample that floats are stored with, 8 or 16. [default: 8]
        measure: report PSNR and MS-SSIM, at the cost of decoding.
        roi: where to be better than elsewhere: a mask (PIL image, array or tensor, white, 1 or 255 for
            important), boxes as "x,y,w,h;..." or [(x, y, w, h), ...], or the path of a mask picture.
        roi_model: what makes the mask instead: "seg", "saliency", or others of `ncc roi --help`.
        roi_gain: errors inside count this many times as much as outside. [default: 30]
        roi_background: at least this PSNR outside in dB, instead of a gain.
        roi_feather: pixels over which quality falls off outside. [default: 32]
        roi_resize: stretch a mask of another aspect.

    Raises:
        UsageError: the image or the request makes no sense.
        ModelError: the model is missing.
    """
    rate = Rate(lmbda, quality, bpp, size, psnr)
    rate.check()
    picture = to_picture(image, depth)
    wanted = RoiOptions(None, roi_model, roi_gain, roi_background, roi_feather, roi_resize)
    region = region_of(picture, roi, wanted)
    return encode_picture(picture, Encoding(rate, model, device, measure, region, roi_background))


def decode(data: bytes, *, device: str = "auto", max_pixels: int = DEFAULT_MAX_PIXELS) -> Image.Image:
    """Decode a file to a PIL image with its metadata in `info`.

    Modes are L, LA, RGB, RGBA and, for 16-bit gray, I;16. Pillow has no 16-bit colour: such pictures
    come out with 8 bits; `decode_array` has all of them.

    Raises:
        FormatError, UnsupportedError, MediaError: as `codec.opened.decode_bytes`.
    """
    return image_of(decode_bytes(data, device, max_pixels=max_pixels).picture)


def image_of(picture: Picture) -> Image.Image:
    """A picture as a PIL image with its metadata in `info`."""
    from nccli.media.save import to_image

    image = to_image(picture)
    named = {name: getattr(picture.metadata, field) for field, name in METADATA_NAMES.values()}
    image.info.update({name: value for name, value in named.items() if value})
    image.info.update(to_info(picture.metadata.colour))
    return image


def decode_array(data: bytes, *, device: str = "auto", max_pixels: int = DEFAULT_MAX_PIXELS) -> Pixels:
    """Decode a file to (h, w), (h, w, 2), (h, w, 3) or (h, w, 4), alpha last; uint8 or uint16."""
    return decode_bytes(data, device, max_pixels=max_pixels).picture.array()


__all__ = ["Decoded", "Encoded", "decode", "decode_array", "encode", "image_of", "to_picture"]
