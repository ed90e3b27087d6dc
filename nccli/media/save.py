"""`Picture` -> picture files; what a format cannot hold is named."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

from PIL import Image

from nccli.errors import MediaError
from nccli.media.around import boxes, png
from nccli.media.around.colour import Colour
from nccli.media.around.exif import EXIF_PREFIX, has_tags, whole_exif, without_orientation
from nccli.media.around.tags import write_tiff
from nccli.media.formats import FORMATS
from nccli.media.picture import Metadata, Picture, eight_bit
from nccli.media.samples import deep

SAVE_OPTIONS: dict[str, dict[str, int | bool | str]] = {
    "png": {"compress_level": deep.COMPRESSION},
    "jpg": {"quality": 95, "subsampling": 0},
    "webp": {"lossless": True},
    "avif": {"quality": 95, "subsampling": "4:4:4"},
}

ALPHA_FORMATS = ("png", "webp", "tiff", "avif")
DEEP_FORMATS = ("png", "ppm", "tiff")
METADATA_FORMATS = ("png", "jpg", "webp", "tiff", "avif")
JPEG_BLOCK = 65500
"""Most that a JPEG holds of EXIF or of XMP."""

JPEG_PROFILE = 255 * 65519
"""Most that a JPEG holds of an ICC profile: as many segments as their numbers count."""

WORDS = {"icc": "the ICC profile", "exif": "EXIF", "xmp": "XMP"}
UNWRITABLE = (RuntimeError, OSError, SyntaxError, ValueError, TypeError, KeyError, OverflowError)
"""What Pillow raises when it cannot write."""


def lost(picture: Picture, name: str) -> list[str]:
    """What the format called `name` cannot hold of a picture, in words."""
    missing = []
    if picture.alpha is not None and name not in ALPHA_FORMATS:
        missing.append("transparency")
    if picture.depth == 16 and name not in DEEP_FORMATS:
        missing.append("16 bits per sample")
    kept, colour = _fitting(picture, name), picture.metadata.colour
    if colour is not None and (kept.colour is None or kept.colour.points != colour.points):
        missing.append(f"what its colours mean ({colour})")
    for field, words in WORDS.items():
        before = getattr(picture.metadata, field)
        if before and not getattr(kept, field):
            broken = field == "exif" and whole_exif(before) is None
            missing.append("EXIF that is broken" if broken else words)
    return missing


def _fitting(picture: Picture, name: str) -> Metadata:
    """The metadata that a format can hold; EXIF only if it can be read again."""
    if name not in METADATA_FORMATS:
        return Metadata()
    kept = replace(picture.metadata, colour=_fitting_colour(picture.metadata.colour, name))
    if kept.exif:
        kept = replace(kept, exif=whole_exif(kept.exif))
    if name == "png":
        return replace(kept, icc=png.fitting_icc(kept.icc, picture.gray))
    if name != "jpg":
        return kept
    exif, xmp = ((block if block and len(block) <= JPEG_BLOCK else None) for block in (kept.exif, kept.xmp))
    icc = kept.icc if kept.icc and len(kept.icc) <= JPEG_PROFILE else None
    return replace(kept, icc=icc, exif=exif, xmp=xmp)


def _fitting_colour(colour: Colour | None, name: str) -> Colour | None:
    """What PNG can hold is all; what AVIF can, code points of samples that use their whole range."""
    if colour is None or name == "png":
        return colour
    points = colour.points if name == "avif" else None
    return None if points is None or not points.full else Colour(points)


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
    picture = replace(picture, metadata=_fitting(picture, name))
    if name not in ALPHA_FORMATS:
        picture = replace(picture, alpha=None)
    if name not in DEEP_FORMATS:
        picture = eight_bit(picture)
    if name == "tiff":
        return write_tiff(picture)
    if picture.depth == 16:
        return deep.write_ppm(picture) if name == "ppm" else _with_metadata(deep.write_png(picture), picture)
    out = io.BytesIO()
    try:
        to_image(picture).save(out, FORMATS[name], **SAVE_OPTIONS.get(name, {}), **_options(picture, name))
    except UNWRITABLE as error:
        raise MediaError(f"cannot write this picture as {name}: {error}") from error
    if name == "png":
        return _with_metadata(out.getbuffer(), picture)
    colour = picture.metadata.colour
    if name != "avif" or colour is None or colour.points is None:
        return out.getbuffer()
    described = boxes.with_code_points(out.getvalue(), colour.points)
    if described is None:
        raise MediaError("cannot write this picture as avif: it got no colour description")
    return described


def _with_metadata(data: bytes | memoryview, picture: Picture) -> bytes | memoryview:
    """A PNG with its metadata."""
    return png.with_chunks(data, png.metadata_chunks(picture.metadata, picture.gray))


def _options(picture: Picture, name: str) -> dict[str, Any]:
    """Pillow's save options for metadata, all of which fits."""
    kept = picture.metadata
    if name == "png":
        return {}
    options = {"icc_profile": kept.icc, "exif": kept.exif and EXIF_PREFIX + kept.exif, "xmp": kept.xmp}
    if name == "avif" and kept.exif:
        # Pillow writes a block anew that names an orientation, and fails on the tags of many cameras.
        kept_tags = without_orientation(kept.exif)
        options["exif"] = EXIF_PREFIX + kept_tags if has_tags(kept_tags) else None
    return {field: value for field, value in options.items() if value}
