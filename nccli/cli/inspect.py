"""`ncc info` and `ncc models`: what is in a file, what is installed."""

from __future__ import annotations

import json as jsonlib

import click

from nccli import files
from nccli.catalogue import entries, find_for_file, model_path, verify
from nccli.cli.failures import attempt
from nccli.cli.options import PATH
from nccli.container import read_container
from nccli.errors import ExitCode, UnsupportedError
from nccli.jobs import Job, Outcome
from nccli.report import Printer, Total, info_rows, print_info, print_models
from nccli.work import Failure


@click.command()
@click.argument("sources", metavar="FILE...", nargs=-1, required=True, type=PATH)
@click.option("--json", is_flag=True, help="One JSON object per file.")
@click.pass_obj
def info(trace: bool, sources: tuple[str, ...], json: bool) -> None:
    """Show the header and sections of ncc files without decoding them."""
    total = Total()
    printer = Printer(json, trace=trace)
    for source in sources:
        result = attempt(lambda source=source: _info(source, json))  # type: ignore[misc]
        if isinstance(result, Failure):
            outcome = Outcome(
                Job(source, ""), error=result.text, exit_code=result.exit_code, trace=result.trace
            )
            total.add(outcome)
            printer.failure(outcome)
    if total.exit_code:
        raise SystemExit(total.exit_code)


def _info(source: str, json: bool) -> None:
    container = read_container(files.read_bytes(source))
    try:
        entry = find_for_file(container.header.model_id, container.header.weights_tag)
    except UnsupportedError:
        entry = None
    rows = info_rows(source, container, entry)
    if json:
        print(jsonlib.dumps(rows))
    else:
        print_info(rows)


@click.command()
@click.option("--verify", "check", is_flag=True, help="Compare every weights file with its checksum.")
@click.option("--json", is_flag=True, help="One JSON object per model.")
def models(check: bool, json: bool) -> None:
    """List the models that this installation can encode and decode with."""
    rows = []
    for entry in entries():
        state = "present" if model_path(entry).is_file() else "missing"
        if check:
            state = "verified" if verify(entry) else "damaged"
        rows.append({"name": entry.name, "id": entry.id, "file": entry.file, "sha256": entry.sha256})
        rows[-1] |= {"state": state, "about": entry.about}
    if json:
        for row in rows:
            print(jsonlib.dumps(row))
    else:
        print_models(rows)
    if any(row["state"] == "damaged" for row in rows):
        raise SystemExit(ExitCode.UNSUPPORTED)
