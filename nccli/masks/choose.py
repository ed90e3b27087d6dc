"""From what a user says to a mask and its region: the one way for the command line and from Python."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nccli import files
from nccli.errors import UsageError
from nccli.masks.make import make_mask
from nccli.masks.mask import (
    DEFAULT_FEATHER,
    DEFAULT_GAIN,
    Choice,
    Mask,
    Selection,
    fitted,
    mask_of,
    mask_of_array,
    mask_of_boxes,
    means_boxes,
    select,
)
from nccli.masks.request import RoiOptions
from nccli.media.picture import Picture

MASK_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".tif",
    ".tiff",
    ".bmp",
    ".pgm",
    ".pbm",
    ".ppm",
    ".gif",
    ".avif",
)


def choose(picture: Picture, options: RoiOptions, source: str, max_pixels: int) -> Selection | None:
    """The mask and region of one input.

    Args:
        picture: the input.
        options: of the command.
        source: the input's path.
        max_pixels: larger masks are refused.

    Raises:
        UsageError: the mask does not fit the picture, or nothing of its name is there.
        MediaError: the mask is no picture.
        ModelError: the model that makes masks is not there.
    """
    options.check()
    if options.roi_model is not None:
        return selected(make_mask(options.roi_model, picture), picture, options)
    if options.roi_mask is None:
        return None
    return selected(_named_mask(picture, options.roi_mask, source, max_pixels), picture, options)


def selected(mask: Mask, picture: Picture, options: RoiOptions) -> Selection:
    """A mask fitted to a picture, and the region that it asks for."""
    gain = DEFAULT_GAIN if options.roi_gain is None else options.roi_gain
    feather = DEFAULT_FEATHER if options.roi_feather is None else options.roi_feather
    mask = fitted(mask, picture.height, picture.width, options.roi_resize)
    return select(mask, Choice(gain, feather))


def _named_mask(picture: Picture, name: str, source: str, max_pixels: int) -> Mask:
    """The mask that `--roi` names: boxes, a picture, or the picture of this input's name in a folder."""
    path = Path(name)
    if means_boxes(name) and not path.exists():
        return mask_of_boxes(name, picture.height, picture.width)
    if path.is_dir():
        name = str(_same_name(path, source))
    elif name == source == files.STREAM:
        raise UsageError("picture and mask cannot both come from standard input")
    return read_mask(name, max_pixels)


def read_mask(name: str, max_pixels: int) -> Mask:
    """The mask in a picture file, upright."""
    from nccli.media.still import read_picture

    return mask_of(read_picture(files.read_bytes(name), name, max_pixels))


def _same_name(folder: Path, source: str) -> Path:
    """The picture in a folder of masks that an input's path ends like: most of its folders first."""
    path = Path("" if source == files.STREAM else source)
    parts = path.relative_to(path.anchor).with_suffix("").parts if path.name else ()
    for first in range(len(parts)):
        tail = folder.joinpath(*parts[first:])
        for suffix in MASK_SUFFIXES:
            found = tail.with_name(tail.name + suffix)
            if found.is_file():
                return found
    raise UsageError(f"no mask for {source} in {folder}")


def mask_from(roi: Any, height: int, width: int) -> Mask:
    """The mask in whatever Python code may have.

    Args:
        roi: a PIL image; an array or tensor (h, w), bool, uint8, uint16 or float in [0, 1]; boxes as text
            or as a sequence of (x, y, w, h); or the path of a picture.
        height: of the picture that the boxes lie in.
        width: likewise.

    Raises:
        UsageError: anything else.
    """
    if isinstance(roi, Path) or (isinstance(roi, str) and not means_boxes(roi)):
        from nccli.bounds import DEFAULT_MAX_PIXELS

        return read_mask(str(roi), DEFAULT_MAX_PIXELS)
    if isinstance(roi, str):
        return mask_of_boxes(roi, height, width)
    if hasattr(roi, "getbands"):
        from nccli.media.still import picture_of

        return mask_of(picture_of(roi))
    if hasattr(roi, "detach"):
        roi = roi.detach().cpu().numpy()
    if isinstance(roi, np.ndarray):
        return mask_of_array(roi)
    if isinstance(roi, Sequence) and roi and all(isinstance(b, Sequence) and len(b) == 4 for b in roi):
        return mask_of_boxes(";".join(",".join(str(int(n)) for n in box) for box in roi), height, width)
    raise UsageError(f"cannot take a mask from a {type(roi).__name__}")
