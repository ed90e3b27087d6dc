"""`ncc roi`, and the options of regions of interest that other commands share."""

from __future__ import annotations

import click

from nccli import files
from nccli.cli.common import PATH, gathered, input_options, joined, limit_options, report_options
from nccli.cli.examples import ROI_EXAMPLES
from nccli.cli.failures import attempt
from nccli.errors import UsageError
from nccli.masks.request import RoiOptions
from nccli.media.formats import PICTURE_SUFFIXES, is_picture
from nccli.program.options import Common, MaskOptions
from nccli.program.plan import plan
from nccli.program.work import Deed, Manner, work

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
@input_options
@click.option("--model", default="seg", show_default=True, metavar="NAME", help=f"{MODELS}.")
@limit_options
@report_options
@gathered(manner=Manner, common=Common)
@click.pass_obj
def roi(trace: bool, sources: tuple[str, ...], manner: Manner, model: str, common: Common) -> None:
    """Make masks of pictures: white where something matters. `ncc encode --roi` takes them.

    A mask is written to IN.roi.png, in a folder of masks to IN.png.
    """
    suffix = ".png" if manner.out_dir else ".roi.png"
    todo = plan(sources, manner.output, manner.out_dir, manner.recursive, PICTURE_SUFFIXES, suffix)
    work(todo, MaskOptions(common, model), manner, Deed("masked"), trace, attempt)
