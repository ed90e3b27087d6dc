"""`ncc encode`."""

from __future__ import annotations

from dataclasses import replace

import click

from nccli.cli.common import (
    common_options,
    encoding_options,
    gathered,
    input_options,
    report_options,
)
from nccli.cli.examples import ENCODE_EXAMPLES
from nccli.cli.failures import attempt
from nccli.cli.roi import check_roi, roi_options
from nccli.codec.encoding import Encoding
from nccli.codec.refining import PRESETS, preset
from nccli.errors import UsageError
from nccli.masks.request import RoiOptions
from nccli.media.formats import PICTURE_SUFFIXES
from nccli.program.options import Common, EncodeOptions
from nccli.program.plan import plan
from nccli.program.work import Deed, Manner, work


@click.command(epilog=ENCODE_EXAMPLES)
@input_options
@encoding_options
@roi_options
@click.option(
    "--measure/--no-measure",
    "measured",
    default=None,
    help="Report PSNR and MS-SSIM. [default: for a single input, and with --json]",
)
@click.option(
    "--refine",
    "refine_steps",
    type=click.IntRange(min=1),
    is_flag=False,
    flag_value=PRESETS["default"].steps,
    metavar="[STEPS]",
    help="Spend time on a smaller file, see `ncc refine`. [default with no number: 500 steps]",
)
@common_options
@report_options
@gathered(manner=Manner, roi=RoiOptions, common=Common, encoding=Encoding)
@click.pass_obj
def encode(
    trace: bool,
    sources: tuple[str, ...],
    manner: Manner,
    encoding: Encoding,
    roi: RoiOptions,
    measured: bool | None,
    refine_steps: int | None,
    common: Common,
) -> None:
    """Compress pictures: files, folders, patterns, or - for stdin."""
    encoding.rate.check()
    todo = plan(sources, manner.output, manner.out_dir, manner.recursive, PICTURE_SUFFIXES, ".ncc")
    check_roi(roi, len(todo))
    if measured is None:
        measured = manner.json or (len(todo) == 1 and not manner.quiet)
    effort = None
    if refine_steps is not None:
        if roi.roi_background is not None:
            raise UsageError("--refine goes with --roi-gain, not with --roi-background")
        effort = replace(preset("default"), steps=refine_steps)
    encoding = replace(encoding, device=common.device, measure=measured, refine=effort)
    deed = Deed("encoded" if effort is None else "refined")
    work(todo, EncodeOptions(common, encoding, roi), manner, deed, trace, attempt)
