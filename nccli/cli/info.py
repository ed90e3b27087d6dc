"""`ncc info`: what is in a file."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from typing import Any

import click

from nccli import files
from nccli.catalogue.entries import find_for_file
from nccli.cli.common import PATH
from nccli.cli.failures import attempt
from nccli.container.image_file import ImageContainer
from nccli.container.kinds import read_container
from nccli.errors import UnsupportedError, UsageError
from nccli.program.describe import describe
from nccli.program.job import Failure, Job
from nccli.program.report.listing import info_rows
from nccli.program.report.printer import Printer
from nccli.program.report.text import print_info
from nccli.program.report.total import Total


@click.command()
@click.argument("sources", metavar="FILE...", nargs=-1, required=True, type=PATH)
@click.option("--json", is_flag=True, help="One JSON object per file.")
@click.option("--roi-map", type=PATH, metavar="FILE.png", help="Draw the mask that a file holds.")
@click.option("--bits-map", type=PATH, metavar="FILE.png", help="Draw where its bits went; lighter is more.")
@click.option("--force", "-f", is_flag=True, help="Overwrite existing drawings.")
@click.pass_obj
def info(
    trace: bool,
    sources: tuple[str, ...],
    json: bool,
    roi_map: str | None,
    bits_map: str | None,
    force: bool,
) -> None:
    """Show the header and sections of ncc files without decoding them."""
    if len(sources) > 1 and (roi_map or bits_map):
        raise UsageError("--roi-map and --bits-map take a single file")
    drawings, total = Drawings(roi_map, bits_map, force), Total()
    printer = Printer(json, trace=trace)
    for source in sources:
        result = attempt(lambda source=source: _info(source, json, drawings))  # type: ignore[misc]
        if isinstance(result, Failure):
            outcome = result.outcome(Job((source,)))
            total.add(outcome)
            printer.failure(outcome)
    if total.exit_code:
        raise SystemExit(total.exit_code)


@dataclass(frozen=True)
class Drawings:
    """What is to be drawn of a file, and whether over existing files."""

    roi_map: str | None
    bits_map: str | None
    force: bool

    def refuse_overwrites(self) -> None:
        """Raise UsageError if a drawing is there already."""
        for path in (self.roi_map, self.bits_map):
            if path is not None:
                files.refuse_overwrite(path, self.force)


def _info(source: str, json: bool, drawings: Drawings) -> None:
    drawings.refuse_overwrites()
    container = read_container(files.read_bytes(source))
    try:
        entry = find_for_file(container.header.model_id, container.header.weights_tag)
    except UnsupportedError:
        entry = None
    rows = info_rows(source, container, entry) | _roi_rows(container, drawings)
    if json:
        print(jsonlib.dumps(rows))
    else:
        print_info(rows)


def _roi_rows(container: ImageContainer, drawings: Drawings) -> dict[str, Any]:
    """What there is to say about a region of interest; makes the drawings."""
    region = describe(container)
    rows: dict[str, Any] = {"roi": region} if region else {}
    if drawings.roi_map is not None:
        from nccli.program.maps import roi_map

        files.write_bytes(drawings.roi_map, roi_map(container), drawings.force)
    if drawings.bits_map is not None:
        from nccli.program.maps import draw_bits

        drawn = draw_bits(container)
        files.write_bytes(drawings.bits_map, drawn.png, drawings.force)
        rows["bits_map"] = {"lightest_bpp": drawn.most}
    return rows
