"""One job: read, code, write. What a worker process does.

The heavy modules are imported inside, so that planning a batch costs nothing.
"""

from __future__ import annotations

import traceback

from nccli import files
from nccli.container.image_file import read_image
from nccli.errors import ExitCode, NccError
from nccli.program.inputs import limit_threads, read_picture, remarks_on, trim
from nccli.program.job import Failure, Job, Listener, Outcome
from nccli.program.memory import check_memory
from nccli.program.options import DecodeOptions, EncodeOptions, JobOptions, MaskOptions


def perform(job: Job, options: JobOptions, progress: Listener | None = None) -> Outcome:
    """Do a job; a failure that ncc foresees is an outcome, not an exception."""
    if job.refused:
        return Failure(job.refused, ExitCode.USAGE).outcome(job)
    try:
        for output in job.outputs:
            files.refuse_overwrite(output, options.common.force)
        if isinstance(options, DecodeOptions):
            return _decode(job, options, progress)
        if isinstance(options, MaskOptions):
            from nccli.program.perform_masks import make

            return make(job, options)
        if options.encoding.refine is None:
            return _encode(job, options, progress)
        from nccli.program.perform_refine import refine

        return refine(job, options, progress)
    except NccError as error:
        return Failure(str(error), error.exit_code, traceback.format_exc()).outcome(job)


def _encode(job: Job, options: EncodeOptions, progress: Listener | None) -> Outcome:
    common = options.common
    picture = read_picture(job.source, "encode", common)
    from nccli.codec.image import encode_picture
    from nccli.coding.tiles import quiet
    from nccli.program.regions import find_region

    limit_threads(common.threads)
    found = find_region(picture, options, job.source)
    encoded = encode_picture(picture, found.encoding, progress or quiet)
    files.write_bytes(job.output, encoded.data, common.force)
    return Outcome(job, encoded.report, (*remarks_on(picture, job.source), *found.remarks))


def _decode(job: Job, options: DecodeOptions, progress: Listener | None) -> Outcome:
    from nccli.media import save, still
    from nccli.media.formats import format_for

    common = options.common
    name = options.format or format_for(job.output)
    data = files.read_bytes(job.source)
    header = read_image(data).header
    still.check_size(header.width, header.height, job.source, common.max_pixels)
    check_memory("decode", header.height, header.width, header.depth, common.max_memory, job.source)
    original, remarks = None, tuple[str, ...]()
    if options.reference:
        reference = files.read_bytes(options.reference)
        compared = still.read_picture(reference, options.reference, common.max_pixels)
        original, remarks = compared.pixels, remarks_on(compared, options.reference)
    from nccli.codec.opened import decode_bytes
    from nccli.coding.tiles import quiet

    limit_threads(common.threads)
    decoded = decode_bytes(data, common.device, original, common.max_pixels, progress or quiet)
    picture = trim(decoded.picture, common)
    files.write_bytes(job.output, save.write_picture(picture, name), common.force)
    lost = tuple(f"{job.output}: {name} cannot hold {what}" for what in save.lost(picture, name))
    return Outcome(job, decoded.report, (*remarks, *lost))
