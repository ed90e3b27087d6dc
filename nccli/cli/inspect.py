"""`ncc info` and `ncc models`: what is in a file, what is installed."""

from __future__ import annotations

import json as jsonlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from nccli import files
from nccli.catalogue import Entry, entries, find_for_file, model_path, verify, zoo_entry
from nccli.cli.failures import attempt
from nccli.cli.fetch import fetch_models
from nccli.cli.options import PATH
from nccli.container import Container, SectionId, read_container
from nccli.errors import ExitCode, UnsupportedError, UsageError
from nccli.jobs import Job, Outcome
from nccli.report import Printer, Total, info_rows, print_info, print_models
from nccli.work import Failure
from nccli.zoo.cache import fetched
from nccli.zoo.names import zoo_models

LONGEST_NAME = 40
"""Of a file, in a table for people."""


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
            outcome = Outcome(
                Job(source, ""), error=result.text, exit_code=result.exit_code, trace=result.trace
            )
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


def _roi_rows(container: Container, drawings: Drawings) -> dict[str, Any]:
    """What there is to say about a region of interest; makes the drawings."""
    rows: dict[str, Any] = {}
    if container.find(SectionId.ROI) is not None:
        from nccli.roi.maps import describe

        rows["roi"] = describe(container)
    if drawings.roi_map is not None:
        from nccli.roi.maps import roi_map

        files.write_bytes(drawings.roi_map, roi_map(container), drawings.force)
    if drawings.bits_map is not None:
        from nccli.roi.maps import draw_bits

        drawn = draw_bits(container)
        files.write_bytes(drawings.bits_map, drawn.png, drawings.force)
        rows["bits_map"] = {"lightest_bpp": drawn.most}
    return rows


def _row(entry: Entry, check: bool, state: str) -> dict[str, Any]:
    if check:
        state = "verified" if verify(entry) else "damaged"
    row = {"name": entry.name, "id": entry.id, "file": entry.file, "sha256": entry.sha256}
    return row | {"state": state, "about": entry.about}


def _zoo_rows(check: bool) -> list[dict[str, Any]]:
    """The pretrained networks of the zoo, on this machine or not."""
    rows: list[dict[str, Any]] = []
    for model in zoo_models():
        here = fetched(model)
        rows += [_row(zoo_entry(model, weights), check, "fetched") for weights in here]
        if not here:
            row = {"name": model.name, "id": model.id, "file": model.checkpoint, "sha256": None}
            rows.append(row | {"state": "available", "about": model.about})
    return rows


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """A row for people: no folders, and no name of a file that is elsewhere."""
    name = "-" if row["state"] == "available" else Path(row["file"]).name
    return row | {"file": name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."}


@click.group(invoke_without_command=True, commands=[fetch_models])
@click.option("--verify", "check", is_flag=True, help="Compare every weights file with its checksum.")
@click.option("--json", is_flag=True, help="One JSON object per model.")
@click.pass_context
def models(context: click.Context, check: bool, json: bool) -> None:
    """List the models that this installation can encode and decode with.

    Those of the zoo are pretrained networks of the literature; `available` ones work after
    `ncc models fetch NAME`.
    """
    if context.invoked_subcommand:
        return
    rows = [
        _row(entry, check, "present" if model_path(entry).is_file() else "missing") for entry in entries()
    ]
    rows += _zoo_rows(check)
    if json:
        for row in rows:
            print(jsonlib.dumps(row))
    else:
        print_models([_short(row) for row in rows])
    if any(row["state"] == "damaged" for row in rows):
        raise SystemExit(ExitCode.UNSUPPORTED)
