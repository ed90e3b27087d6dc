"""Masks of jobs: one for an input that is coded, or for nothing but itself."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from nccli import files
from nccli.container.roi_section import pack_region
from nccli.errors import UsageError
from nccli.masks.choose import MASK_SUFFIXES, choose, selected
from nccli.masks.make import make_mask
from nccli.masks.mask import Mask, Selection
from nccli.masks.request import RoiOptions
from nccli.media.picture import Picture
from nccli.program.inputs import limit_threads, read_picture
from nccli.program.job import Job
from nccli.program.options import Common


@dataclass(frozen=True)
class MaskReport:
    """A mask that was made.

    Attributes:
        width: pixels.
        height: pixels.
        model: what made it.
        share: part of the picture that is important.
        mask_bytes: what the mask takes in a file; 0 when it makes no difference.
        seconds: time spent.
    """

    width: int
    height: int
    model: str
    share: float
    mask_bytes: int
    seconds: float


def mask_path(options: RoiOptions, source: str) -> str | None:
    """Where `--roi-out` wants the mask of an input: a name without a picture's suffix is a folder."""
    out = options.roi_out
    if out is None or out == files.STREAM or is_picture(out):
        return out
    return str(Path(out, f"{Path(source).stem}.png"))


def is_picture(path: str) -> bool:
    """Whether a path ends like a picture's."""
    return Path(path).suffix.lower() in MASK_SUFFIXES


def selection_for(picture: Picture, options: RoiOptions, source: str, common: Common) -> Selection | None:
    """The region of an input; its mask is kept where the user wants it."""
    path = mask_path(options, source)
    if path is not None:
        files.refuse_overwrite(path, common.force)
    selection = choose(picture, options, source, common.max_pixels)
    if selection is not None and path is not None:
        files.write_bytes(path, png_of(selection.mask), common.force)
    return selection


def make(job: Job, model: str, common: Common) -> MaskReport:
    """Make the mask of a picture and write it.

    Raises:
        UsageError: the mask would overwrite the picture, or the job is refused.
    """
    start = time.monotonic()
    if job.refused:
        raise UsageError(job.refused)
    if job.output != files.STREAM and Path(job.output).resolve() == Path(job.source).resolve():
        raise UsageError(f"{job.source} would be overwritten by its own mask")
    files.refuse_overwrite(job.output, common.force)
    limit_threads(common.threads)
    picture = read_picture(job.source, "decode", common)
    mask = make_mask(model, picture)
    files.write_bytes(job.output, png_of(mask), common.force)
    region = selected(mask, picture, RoiOptions(roi_model=model)).region
    size = 0 if region is None else len(pack_region(region))
    share = float(mask.mean(dtype=np.float64)) / 255
    return MaskReport(picture.width, picture.height, model, share, size, time.monotonic() - start)


def png_of(mask: Mask) -> bytes:
    """A mask as a gray PNG."""
    out = io.BytesIO()
    Image.fromarray(mask).save(out, "PNG", optimize=mask.size <= 2**20)
    return out.getvalue()
