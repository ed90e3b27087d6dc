"""Picture files <-> `Picture`, through Pillow."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from nccli.bounds import DEFAULT_MAX_PIXELS, MAX_PIXELS, MAX_SIDE
from nccli.errors import MediaError, UsageError
from nccli.files import STREAM
from nccli.media import avif, deep
from nccli.media.formats import FORMATS
from nccli.media.metadata import EXIF_PREFIX, metadata_of, orientation_of, tiff_tags, turn_upright
from nccli.media.picture import Metadata, Picture, Pixels, drop_opaque, eight_bit

SUFFIX_FORMATS = {f".{name}": name for name in FORMATS} | {
    ".jpeg": "jpg",
    ".tif": "tiff",
    ".pgm": "ppm",
    ".pnm": "ppm",
}

SAVE_OPTIONS: dict[str, dict[str, int | bool | str]] = {
    "png": {"compress_level": deep.COMPRESSION},
    "jpg": {"quality": 95, "subsampling": 0},
    "webp": {"lossless": True},
    "tiff": {"compression": "tiff_adobe_deflate"},
    "avif": {"quality": 95, "subsampling": "4:4:4"},
}

ALPHA_FORMATS = ("png", "webp", "tiff", "avif")
METADATA_FORMATS = ("png", "jpg", "webp", "tiff", "avif")
DEEP_WRITERS: dict[str, Callable[[Picture], bytes | memoryview]] = {
    "png": deep.write_png,
    "ppm": deep.write_ppm,
    "tiff": deep.write_tiff,
}
JPEG_BLOCK = 65500
"""Most that a JPEG holds of EXIF or of XMP."""

STRIP_ROWS = 512
BROKEN = (
    RuntimeError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    IndexError,
    KeyError,
    OverflowError,
    zlib.error,
)
"""What Pillow raises on damaged pictures."""

_bomb_lock = Lock()


@contextmanager
def _own_limit() -> Iterator[None]:
    """Pillow's own limit off: ours is checked in its place, before any pixel is decoded."""
    with _bomb_lock:
        theirs, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = theirs


def check_size(width: int, height: int, name: str, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
    """Raise MediaError for a picture above the format's or the user's limit."""
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise MediaError(
            f"{name} is {width}x{height}: the format ends at {MAX_PIXELS} pixels and sides of {MAX_SIDE}"
        )
    if width * height > max_pixels:
        raise MediaError(
            f"{name} is {width}x{height}: more than the limit of {max_pixels:,} pixels, "
            "which --max-pixels raises"
        )


def picture_size(data: bytes, name: str) -> tuple[int, int]:
    """Height and width as stored, without decoding."""
    with _opened(data, name) as image:
        return image.height, image.width


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    """An opened picture; whatever goes wrong inside becomes a MediaError."""
    try:
        with _own_limit():
            image = Image.open(io.BytesIO(data))
        with image:
            yield image
    except UnidentifiedImageError as error:
        found = "is empty" if not data else "is not a picture in a known format"
        raise MediaError(f"{name} {found}") from error
    except MemoryError as error:
        raise MediaError(f"not enough memory to decode {name}") from error
    except BROKEN as error:
        raise MediaError(f"cannot decode {name}: {error}") from error


def read_picture(data: bytes, name: str, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """An encoded picture, upright; of several frames the first.

    Raises:
        MediaError: not a picture that Pillow reads, damaged, or too large.
    """
    with _opened(data, name) as image:
        check_size(image.width, image.height, name, max_pixels)
        orientation = orientation_of(image)
        with _own_limit():
            image.load()
        samples = _deep_samples(data, image, name)
        if samples is not None:
            return _assemble(samples, orientation, metadata_of(image))
        return picture_of(image, name)


def _deep_samples(data: bytes, image: Image.Image, name: str) -> Pixels | None:
    """The samples of a picture that has more bits than Pillow gives it; None for any other."""
    if deep.is_deep(data, image):
        return deep.read_deep(data, name)
    if image.format == "AVIF" and avif.is_deep(data):
        return avif.read(data, name, *image.size, alpha="A" in image.mode)
    return None


def picture_of(image: Image.Image, name: str = "the picture") -> Picture:
    """A Pillow image of any mode, upright.

    Raises:
        MediaError: its samples have no place in 8 or 16 bits.
    """
    metadata = metadata_of(image)
    orientation = orientation_of(image)
    if image.mode[0] in "IF":
        return _assemble(_wide_gray(image, name), orientation, metadata)
    if image.mode == "CMYK":
        image = _from_cmyk(image)
    return _assemble(_samples(_plain(image)), orientation, metadata)


def _assemble(samples: Pixels, orientation: int, metadata: Metadata) -> Picture:
    """Samples (h, w, c), alpha last when c is even -> a picture."""
    samples = turn_upright(samples, orientation)
    if samples.shape[2] % 2:
        return Picture(samples, None, metadata)
    alpha = drop_opaque(np.ascontiguousarray(samples[..., -1]))
    return Picture(np.ascontiguousarray(samples[..., :-1]), alpha, metadata)


def _plain(image: Image.Image) -> Image.Image:
    """The same picture in mode L, LA, RGB or RGBA."""
    if image.mode == "1":
        image = image.convert("L")
    gray = image.mode in ("L", "LA", "La")
    transparent = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    mode = ("L" if gray else "RGB") + ("A" if transparent else "")
    return image if image.mode == mode else image.convert(mode)


def _samples(image: Image.Image) -> NDArray[np.uint8]:
    """(h, w, c), copied by strips so that no second whole copy exists at any time."""
    out = np.empty((image.height, image.width, len(image.getbands())), np.uint8)
    for top in range(0, image.height, STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, image.height)
        strip = np.asarray(image.crop((0, top, image.width, bottom)))
        out[top:bottom] = strip.reshape(bottom - top, image.width, -1)
    return out


def _wide_gray(image: Image.Image, name: str) -> Pixels:
    """Modes I and F as 16-bit gray (h, w, 1): integers up to 65535, floats from 0 to 1."""
    values = np.asarray(image)
    top = 1.0 if image.mode == "F" else 65535
    if not (values.min() >= 0 and values.max() <= top):
        raise MediaError(f"{name} has gray values outside 0 .. {top:g}")
    if image.mode == "F":
        values = np.round(values * np.float32(65535))
    return np.ascontiguousarray(values[..., None], dtype=np.uint16)


def _from_cmyk(image: Image.Image) -> Image.Image:
    """CMYK in sRGB: by its own profile where it has a usable one."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, TypeError):
            pass
    return image.convert("RGB")


def decode_picture(data: bytes, name: str) -> NDArray[np.uint8]:
    """An encoded picture of any kind as (h, w, 3) uint8 RGB, without alpha."""
    picture = eight_bit(read_picture(data, name))
    pixels = np.asarray(picture.pixels, np.uint8)
    return pixels.repeat(3, axis=2) if picture.gray else pixels


def lost(picture: Picture, name: str) -> list[str]:
    """What the format called `name` cannot hold of a picture, in words."""
    missing = []
    if picture.alpha is not None and name not in ALPHA_FORMATS:
        missing.append("transparency")
    if picture.depth == 16 and name not in DEEP_WRITERS:
        missing.append("16 bits per sample")
    return missing


def to_image(picture: Picture) -> Image.Image:
    """A Pillow image: L, LA, RGB, RGBA, or I;16 for 16-bit gray; else 16 bits become 8."""
    if picture.depth == 16 and picture.gray and picture.alpha is None:
        return Image.fromarray(picture.pixels[..., 0])
    return Image.fromarray(eight_bit(picture).array())


def write_picture(picture: Picture, name: str) -> bytes | memoryview:
    """A picture in the format called `name`; what the format cannot hold is left out.

    Raises:
        MediaError: the picture is too large for the format.
    """
    if name not in ALPHA_FORMATS:
        picture = Picture(picture.pixels, None, picture.metadata)
    if picture.depth == 16 and name in DEEP_WRITERS:
        return DEEP_WRITERS[name](picture)
    out = io.BytesIO()
    try:
        image = to_image(eight_bit(picture))
        options = SAVE_OPTIONS.get(name, {}) | _metadata_options(picture.metadata, name)
        image.save(out, FORMATS[name], **options)
    except BROKEN as error:
        raise MediaError(f"cannot write this picture as {name}: {error}") from error
    return out.getbuffer()


def _metadata_options(metadata: Metadata, name: str) -> dict[str, Any]:
    """Pillow's save options for what `name` can hold of the metadata."""
    options: dict[str, Any] = {}
    if name not in METADATA_FORMATS:
        return options
    fits = {k: v for k, v in (("exif", metadata.exif), ("xmp", metadata.xmp)) if v}
    if name == "jpg":
        fits = {k: v for k, v in fits.items() if len(v) <= JPEG_BLOCK}
    if metadata.icc:
        options["icc_profile"] = metadata.icc
    if name == "tiff":
        return options | {"tiffinfo": tiff_tags(metadata)}
    if "exif" in fits:
        options["exif"] = EXIF_PREFIX + fits["exif"]
    if "xmp" in fits and name == "png":
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + fits["xmp"])
    elif "xmp" in fits:
        options["xmp"] = fits["xmp"]
    return options


def format_for(path: str) -> str:
    """Output format of a path by its suffix; PNG for stdout.

    Raises:
        UsageError: the suffix names no known format.
    """
    if path == STREAM:
        return "png"
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIX_FORMATS:
        raise UsageError(
            f"cannot tell the format of {path}: use --format or one of {', '.join(SUFFIX_FORMATS)}"
        )
    return SUFFIX_FORMATS[suffix]
