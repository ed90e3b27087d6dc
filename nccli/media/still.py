"""Picture files -> `Picture`, through Pillow, FFmpeg and the modules beside this one."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError

from nccli.bounds import DEFAULT_MAX_PIXELS, MAX_PIXELS, MAX_SIDE
from nccli.errors import MediaError
from nccli.media.around import jpeg, tiff
from nccli.media.around.metadata import Carried, carried, stored_in, tiff_exif, turn_upright
from nccli.media.around.unwrap import Unwrapped, unwrap
from nccli.media.formats import READ_FORMATS
from nccli.media.picture import Metadata, Picture, Pixels, drop_opaque, eight_bit
from nccli.media.samples import avif, deep
from nccli.media.samples.tiff_samples import CLIPPED, samples_of

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

NO_END = "it has no end marker; its data is all there"

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
    if not width or not height:
        raise MediaError(f"{name} is damaged: it is {width}x{height}")
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
    with _guarded(name):
        stored = unwrap(data, name)
    if stored.tiff is not None:
        return stored.tiff.height, stored.tiff.width
    with _opened(stored.picture, name) as image:
        return image.height, image.width


@contextmanager
def _guarded(name: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes a MediaError."""
    try:
        yield
    except MemoryError as error:
        raise MediaError(f"not enough memory to decode {name}") from error
    except BROKEN as error:
        raise MediaError(f"cannot decode {name}: {error}") from error


@contextmanager
def _opened(data: bytes, name: str) -> Iterator[Image.Image]:
    """An opened picture of a known format; whatever goes wrong inside becomes a MediaError."""
    with _guarded(name):
        try:
            with _own_limit():
                image = Image.open(io.BytesIO(data), formats=READ_FORMATS)
        except UnidentifiedImageError as error:
            raise MediaError(f"{name} {_strange(data)}") from error
        with image:
            yield image


def _strange(data: bytes) -> str:
    """What to say about data that is in none of the formats."""
    if data[:4] == b"%!PS" or data[:4] == b"\xc5\xd0\xd3\xc6":
        return "is PostScript, which is not read"
    return "is not a picture in a known format" if data else "is empty"


def read_picture(data: bytes, name: str, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """An encoded picture, upright; of several frames the first.

    Raises:
        MediaError: not a picture that is read here, damaged, or too large.
    """
    with _guarded(name):
        stored = unwrap(data, name)
        file = stored.tiff
        if file is not None:
            check_size(file.width, file.height, name, max_pixels)
        if file is not None and file.plain:
            return _assemble(samples_of(file), carried(tiff.metadata_of(file), file.orientation))
    if jpeg.lacks_end(stored.picture):
        return _decoded_without_end(stored, name, max_pixels)
    try:
        return _decoded(stored, name, max_pixels)
    except MediaError as error:
        if file is None:
            raise
        raise MediaError(f"{error} (TIFF of {file.properties()})") from error


def _decoded(stored: Unwrapped, name: str, max_pixels: int) -> Picture:
    """A picture that Pillow opens."""
    with _opened(stored.picture, name) as image:
        check_size(image.width, image.height, name, max_pixels)
        with _own_limit():
            image.load()
        kept = stored.kept(image)
        samples = _deep_samples(stored.picture, image, name)
        if samples is None:
            samples = _shallow_samples(image, name, kept.icc)
        if stored.transparent:
            samples = _with_key(samples, stored.transparent)
        return _assemble(samples, carried(kept, stored.orientation(image)), stored.remarks)


def _decoded_without_end(stored: Unwrapped, name: str, max_pixels: int) -> Picture:
    """A JPEG that lacks its end marker and nothing else.

    Raises:
        MediaError: more than that is missing.
    """
    tried = (replace(stored, picture=data) for data in jpeg.completed(stored.picture))
    first = _decoded(next(tried), name, max_pixels)
    same = all(np.array_equal(first.pixels, _decoded(one, name, max_pixels).pixels) for one in tried)
    if not same or not jpeg.all_scans(stored.picture):
        raise MediaError(f"cannot decode {name}: it is cut short")
    return replace(first, remarks=(*first.remarks, NO_END))


def _with_key(samples: Pixels, key: tuple[int, ...]) -> Pixels:
    """Samples with alpha: 0 where all channels have the value of the key."""
    top = np.iinfo(samples.dtype).max
    seen = (samples != np.asarray(key, samples.dtype)).any(axis=2)
    joined: Pixels = np.concatenate((samples, (seen * top).astype(samples.dtype)[..., None]), axis=2)
    return joined


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
    with _guarded(name):
        image.load()
    stored = stored_in(image)
    turned = 1 if image.format == "TIFF" else None
    if image.format == "TIFF" and stored.exif is None:
        stored = Metadata(stored.icc, tiff_exif(image), stored.xmp)
    return _assemble(_shallow_samples(image, name, stored.icc), carried(stored, turned))


def _shallow_samples(image: Image.Image, name: str, icc: bytes | None) -> Pixels:
    """The samples of a loaded picture as Pillow holds them, (h, w, 1 to 4)."""
    key = image.info.get("transparency")
    if image.mode[0] in "IF":
        samples = _wide_gray(image, name)
        return _with_key(samples, (key,)) if isinstance(key, int) else samples
    if image.mode in ("1", "L") and isinstance(key, int):
        samples = _samples(image.convert("L") if image.mode == "1" else image)
        return _with_key(samples, (_gray_key(samples, key, image),))
    if image.mode == "CMYK":
        image = _from_cmyk(image, icc)
    return _samples(_plain(image))


def _gray_key(samples: Pixels, key: int, image: Image.Image) -> int:
    """A transparent gray as samples have it: Pillow stretches those of a PNG of 1, 2 or 4 bits, not the key."""
    if image.mode == "1":
        return 255 if key else 0
    for scale in (85, 17) if image.format == "PNG" else ():
        if 0 < key <= 255 // scale and not (samples % scale).any():
            return key * scale
    return key


def _assemble(samples: Pixels, kept: Carried, remarks: tuple[str, ...] = ()) -> Picture:
    """Samples (h, w, c), alpha last when c is even -> a picture."""
    samples = turn_upright(samples, kept.orientation)
    remarks += kept.remarks
    if samples.shape[2] % 2:
        return Picture(np.ascontiguousarray(samples), None, kept.metadata, remarks)
    alpha = drop_opaque(np.ascontiguousarray(samples[..., -1]))
    return Picture(np.ascontiguousarray(samples[..., :-1]), alpha, kept.metadata, remarks)


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
    top, slack = (1.0, CLIPPED) if image.mode == "F" else (65535, 0)
    if not (values.min() >= -slack and values.max() <= top + slack):
        raise MediaError(f"{name} has gray values outside 0 .. {top:g}")
    if image.mode == "F":
        values = np.round(np.clip(values, 0, 1) * np.float32(65535))
    return np.ascontiguousarray(values[..., None], dtype=np.uint16)


def _from_cmyk(image: Image.Image, profile: bytes | None) -> Image.Image:
    """CMYK in sRGB: by its own profile where it has a usable one."""
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
