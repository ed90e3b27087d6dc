"""From what a user says to a mask and its region: the one way for the command line and from Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    select,
)
from nccli.masks.request import RoiOptions, mask_file, means_boxes
from nccli.media.picture import Picture


def choose(picture: Picture, options: RoiOptions, given: Callable[[], Mask] | None) -> Selection | None:
    """The mask of a picture and the region that it asks for; None when none is wanted.

    Args:
        picture: what is coded.
        options: gain, feather, and the model that makes a mask.
        given: brings the mask when there is one; not called when the options make no sense.

    Raises:
        UsageError: the mask does not fit the picture, or the options not each other.
        MediaError: the mask is no picture.
        ModelError: the model that makes masks is not there.
    """
    options.check(given is not None)
    if options.roi_model is not None:
        mask = make_mask(options.roi_model, picture)
    elif given is not None:
        mask = given()
    else:
        return None
    gain = DEFAULT_GAIN if options.roi_gain is None else options.roi_gain
    feather = DEFAULT_FEATHER if options.roi_feather is None else options.roi_feather
    mask = fitted(mask, picture.height, picture.width, options.roi_resize)
    return select(mask, Choice(gain, feather))


def named_mask(picture: Picture, name: str, source: str, max_pixels: int) -> Mask:
    """The mask that `--roi` names for an input: boxes, or a picture; larger ones are refused."""
    path = mask_file(name, source)
    if path is None:
        return mask_of_boxes(name, picture.height, picture.width)
    return read_mask(path, max_pixels)


def read_mask(name: str, max_pixels: int) -> Mask:
    """The mask in a picture file, upright."""
    from nccli.media.still import read_picture

    return mask_of(read_picture(files.read_bytes(name), name, max_pixels))


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
