"""Masks of jobs: one for an input that is coded, or for nothing but itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nccli import files
from nccli.container.roi_section import pack_region
from nccli.errors import UsageError
from nccli.masks.make import make_mask
from nccli.masks.mask import Choice, png_of, select
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
    region = select(mask, Choice()).region
    size = 0 if region is None else len(pack_region(region))
    share = float(mask.mean(dtype=np.float64)) / 255
    return MaskReport(picture.width, picture.height, model, share, size, time.monotonic() - start)
