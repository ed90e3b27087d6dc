"""One input of `ncc refine`, one output: read, refine, write."""

from __future__ import annotations

from nccli import files
from nccli.container.image_file import read_image
from nccli.errors import ExitCode
from nccli.media.still import check_size
from nccli.program.inputs import limit_threads, read_picture, remarks_on
from nccli.program.job import Job, Listener, Outcome
from nccli.program.memory import check_memory
from nccli.program.options import EncodeOptions
from nccli.program.regions import find_region
from nccli.refinement.descent.trace import Moment, Observer, ignore, to_csv
from nccli.refinement.plot import draw
from nccli.refinement.refined import Refined, refine_file, refine_picture


def refine(job: Job, options: EncodeOptions, progress: Listener | None) -> Outcome:
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


def _refine(job: Job, options: EncodeOptions, observer: Observer) -> tuple[Refined, tuple[str, ...]]:
    """The refined file, and remarks about its region of interest."""
    common, gain = options.common, options.roi.roi_gain
    if options.original is None:
        picture = read_picture(job.source, "refine", common)
        found = find_region(picture, options, job.source)
        refined = refine_picture(picture, found.encoding, found.importance(gain), observer)
        return refined, (*remarks_on(picture, job.source), *found.remarks)
    data = files.read_bytes(job.source)
    header = read_image(data).header
    check_size(header.width, header.height, job.source, common.max_pixels)
    check_memory("refine", header.height, header.width, header.depth, common.max_memory, job.source)
    picture = read_picture(options.original, "refine", common)
    found = find_region(picture, options, job.source)
    refined = refine_file(data, picture, options.encoding, found.importance(gain), observer)
    return refined, (*remarks_on(picture, options.original), *found.remarks)


def _refuse_overwrites(options: EncodeOptions) -> None:
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
