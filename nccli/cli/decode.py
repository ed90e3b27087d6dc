"""`ncc decode`."""

from __future__ import annotations

import click

from nccli.cli.common import PATH, common_options, gathered, input_options, report_options
from nccli.cli.examples import DECODE_EXAMPLES
from nccli.cli.failures import attempt
from nccli.errors import UsageError
from nccli.media.formats import FORMATS
from nccli.program.options import Common, DecodeOptions
from nccli.program.plan import NCC_SUFFIXES, plan
from nccli.program.work import Deed, Manner, work


@click.command(epilog=DECODE_EXAMPLES)
@input_options
@click.option(
    "--format",
    "name",
    type=click.Choice(list(FORMATS)),
    help="Output format. [default: by OUT's suffix, or png]",
)
@click.option(
    "--reference",
    metavar="ORIGINAL",
    type=PATH,
    help="Compare with this picture and report PSNR and MS-SSIM.",
)
@common_options
@report_options
@gathered(manner=Manner, common=Common)
@click.pass_obj
def decode(
    trace: bool,
    sources: tuple[str, ...],
    manner: Manner,
    name: str | None,
    reference: str | None,
    common: Common,
) -> None:
    """Reconstruct the pictures in ncc files: files, folders, patterns, or - for stdin."""
    todo = plan(sources, manner.output, manner.out_dir, manner.recursive, NCC_SUFFIXES, f".{name or 'png'}")
    if reference and len(todo) > 1:
        raise UsageError("--reference takes a single input")
    work(todo, DecodeOptions(common, name, reference), manner, Deed("decoded"), trace, attempt)
