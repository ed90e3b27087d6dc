"""`ncc roi`, and the options of regions of interest that other commands share."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict

import click

from nccli import files
from nccli.cli.common import PATH, common_options, gathered, joined, report_options
from nccli.cli.examples import ROI_EXAMPLES
from nccli.cli.failures import attempt
from nccli.errors import UsageError
from nccli.masks.request import RoiOptions
from nccli.media.formats import PICTURE_SUFFIXES, is_picture
from nccli.program.batch import plan
from nccli.program.job import Job, Outcome
from nccli.program.options import Common
from nccli.program.report import Meter, Printer, Total, print_rows
from nccli.program.work import Failure

MODELS = (
    "seg (foreground), saliency, boxes:CLASS[,CLASS...], torchvision:NETWORK[:CLASS,...], "
    "onnx:PATH[,mean=M][,std=S]"
)

roi_options = joined(
    click.option(
        "--roi",
        "roi_mask",
        metavar="MASK",
        help="Be better where this is white: a picture, a folder of such with the inputs' names, "
        "or boxes X,Y,W,H[;...].",
    ),
    click.option("--roi-model", metavar="NAME", help=f"Make the mask by {MODELS}."),
    click.option(
        "--roi-gain",
        type=float,
        metavar="G",
        help="Errors inside count G times as much as outside. [default: 30]",
    ),
    click.option(
        "--roi-background", type=float, metavar="DB", help="At least this PSNR outside, instead of a gain."
    ),
    click.option(
        "--roi-feather", type=float, metavar="PX", help="Pixels over which quality falls off. [default: 32]"
    ),
    click.option("--roi-resize", is_flag=True, help="Stretch a mask of another aspect."),
    click.option(
        "--roi-out", type=PATH, metavar="FILE", help="Keep the mask; a folder when there are several inputs."
    ),
)
"""The fields of `RoiOptions`."""


def check_roi(options: RoiOptions, inputs: int) -> None:
    """Raise UsageError unless the options make sense for this many inputs."""
    options.check()
    out = options.roi_out
    if inputs > 1 and out is not None and (out == files.STREAM or is_picture(out)):
        raise UsageError(f"{inputs} masks cannot share {out}: give --roi-out a folder")


@click.command(epilog=ROI_EXAMPLES)
@click.argument("sources", metavar="IN...", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", metavar="OUT", type=PATH, help="Mask of a single input, - for stdout.")
@click.option("--out-dir", metavar="DIR", type=PATH, help="Folder for the masks. [default: IN.roi.png]")
@click.option("--recursive", "-r", is_flag=True, help="Descend into folders; --out-dir keeps their tree.")
@click.option("--model", default="seg", show_default=True, metavar="NAME", help=f"{MODELS}.")
@common_options
@report_options
@gathered(common=Common)
@click.pass_obj
def roi(
    trace: bool,
    sources: tuple[str, ...],
    output: str | None,
    out_dir: str | None,
    recursive: bool,
    model: str,
    common: Common,
    json: bool,
    quiet: bool,
) -> None:
    """Make masks of pictures: white where something matters. `ncc encode --roi` takes them."""
    suffix = ".png" if out_dir else ".roi.png"
    todo = plan(sources, output, out_dir, recursive, PICTURE_SUFFIXES, suffix)
    busy = any(job.output == files.STREAM for job in todo)
    printer, total = Printer(json, quiet, busy, trace), Total()
    with Meter(not quiet, len(todo)) as meter:
        for job in todo:
            outcome = _one(job, model, common, printer, alone=len(todo) == 1)
            meter.next()
            total.add(outcome)
            if outcome.error is not None:
                printer.failure(outcome)
    if total.exit_code:
        raise SystemExit(total.exit_code)


def _one(job: Job, model: str, common: Common, printer: Printer, alone: bool) -> Outcome:
    from nccli.program.perform_masks import make

    made = attempt(lambda: make(job, model, common))
    if isinstance(made, Failure):
        return Outcome(job, error=made.text, exit_code=made.exit_code, trace=made.trace)
    rows = {"input": job.source, "output": job.output, "status": "done"} | asdict(made)
    if printer.json:
        click.echo(jsonlib.dumps(rows), err=printer.stdout_busy)
    elif alone and not printer.quiet:
        print_rows(rows, f"masked {job.source}")
    if not made.mask_bytes:
        printer.warning(f"{job.source}: the mask makes no difference: it is nowhere on, or everywhere")
    return Outcome(job)
