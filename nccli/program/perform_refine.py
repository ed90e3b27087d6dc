"""One input of `ncc refine`, one output: read, refine, write."""

from __future__ import annotations

from dataclasses import replace

from nccli import files
from nccli.container.image_file import read_image
from nccli.entropy.region import Region
from nccli.errors import ExitCode
from nccli.media.picture import Picture
from nccli.media.still import check_size
from nccli.program.inputs import limit_threads, read_picture, remarks_on, target_of
from nccli.program.job import Job, Listener, Outcome
from nccli.program.memory import check_memory
from nccli.program.options import RefineJobOptions
from nccli.program.perform_masks import selection_for
from nccli.refinement.importance import importance_of
from nccli.refinement.metric import Importance
from nccli.refinement.plot import draw
from nccli.refinement.refined import Refined, refine_file, refine_picture
from nccli.refinement.trace import Moment, Observer, ignore, to_csv


def refine(job: Job, options: RefineJobOptions, progress: Listener | None) -> Outcome:
    """Do a job; interrupted, it still writes the best so far."""
    common = options.common
    _refuse_overwrites(options)
    limit_threads(common.threads)
    observer = _observer(progress)
    refined, remarks = _refine(job, options, observer)
    files.write_bytes(job.output, refined.data, common.force)
    if options.trace:
        files.write_bytes(options.trace, to_csv(refined.rows).encode(), common.force)
    if options.plot:
        files.write_bytes(options.plot, draw(refined.rows, options.plot), common.force)
    if not refined.improved:
        remarks = (*remarks, f"{job.source}: nothing better was found; the start was kept")
    code = ExitCode.INTERRUPTED if refined.interrupted else ExitCode.OK
    return Outcome(job, refined.report, remarks, exit_code=code)


def _refine(job: Job, options: RefineJobOptions, observer: Observer) -> tuple[Refined, tuple[str, ...]]:
    """The refined file, and remarks about its region of interest."""
    common, rate, how = options.common, options.rate, options.how
    device, measure = common.device, options.measure
    if options.original is None:
        picture = read_picture(job.source, "refine", common)
        region, mask, remarks = _chosen(job, options, picture)
        remarks = (*remarks_on(picture, job.source), *remarks)
        target = target_of(rate, picture, options.model)
        refined = refine_picture(picture, target, how, options.model, device, measure, region, mask, observer)
        return refined, remarks
    data = files.read_bytes(job.source)
    header = read_image(data).header
    check_size(header.width, header.height, job.source, common.max_pixels)
    check_memory("refine", header.height, header.width, header.depth, common.max_memory, job.source)
    picture = read_picture(options.original, "refine", common)
    wanted = target_of(rate, picture, options.model) if rate.given else None
    _, mask, remarks = _chosen(job, options, picture)
    remarks = (*remarks_on(picture, options.original), *remarks)
    return refine_file(data, picture, wanted, how, device, measure, mask, observer), remarks


def _chosen(
    job: Job, options: RefineJobOptions, picture: Picture
) -> tuple[Region | None, Importance | None, tuple[str, ...]]:
    """Region and pixel weights of an input, and remarks about them.

    Pixels have weights of their own, so the steps need no feather unless the user wants one.
    """
    roi = options.roi if options.roi.roi_feather is not None else replace(options.roi, roi_feather=0.0)
    selection = selection_for(picture, roi if roi.wanted else options.roi, job.source, options.common)
    if selection is None:
        return None, None, ()
    remarks = () if selection.remark is None else (f"{job.source}: {selection.remark}",)
    if selection.region is None:
        return None, None, remarks
    return selection.region, importance_of(selection.mask, options.roi.roi_gain), remarks


def _refuse_overwrites(options: RefineJobOptions) -> None:
    """Better now than after an hour."""
    for path in (options.trace, options.plot):
        if path:
            files.refuse_overwrite(path, options.common.force)


def _observer(progress: Listener | None) -> Observer:
    if progress is None:
        return ignore

    def tell(moment: Moment) -> None:
        progress(
            moment.fraction,
            f"step {moment.step}, {moment.bpp:.4f} bpp, {moment.psnr:.2f} dB, "
            f"objective {moment.objective:.4f}, {moment.seconds_left:.0f} s left",
        )

    return tell
