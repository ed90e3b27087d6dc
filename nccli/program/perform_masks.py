"""One job of `ncc roi`: read a picture, make its mask, write it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from nccli import files
from nccli.container.roi_section import pack_region
from nccli.errors import UsageError
from nccli.masks.make import make_mask
from nccli.masks.mask import Choice, png_of, select
from nccli.program.inputs import limit_threads, read_picture, remarks_on
from nccli.program.job import Job, MaskReport, Outcome
from nccli.program.options import MaskOptions

NO_DIFFERENCE = "the mask makes no difference: it is nowhere on, or everywhere"


def make(job: Job, options: MaskOptions) -> Outcome:
    """Make the mask of a picture and write it.

    Raises:
        UsageError: the mask would overwrite the picture.
    """
    start, common = time.monotonic(), options.common
    if job.output != files.STREAM and Path(job.output).resolve() == Path(job.source).resolve():
        raise UsageError(f"{job.source} would be overwritten by its own mask")
    limit_threads(common.threads)
    picture = read_picture(job.source, "decode", common)
    mask = make_mask(options.model, picture)
    files.write_bytes(job.output, png_of(mask), common.force)
    region = select(mask, Choice()).region
    size = 0 if region is None else len(pack_region(region))
    share = float(mask.mean(dtype=np.float64)) / 255
    seconds = time.monotonic() - start
    report = MaskReport(picture.width, picture.height, options.model, share, size, seconds)
    remarks = () if size else (f"{job.source}: {NO_DIFFERENCE}",)
    return Outcome(job, report, (*remarks_on(picture, job.source), *remarks))
