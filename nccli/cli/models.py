"""`ncc models`: what is installed, and where it comes from."""

from __future__ import annotations

import json as jsonlib
from typing import Any

import click

from nccli.catalogue.entries import card, entries, mask_entries, model_path, verify, zoo_entry
from nccli.cli.models_fetch import fetch_models
from nccli.errors import ExitCode, ModelError
from nccli.networks.entry import Entry
from nccli.program.report.text import print_models
from nccli.zoo.cache import fetched
from nccli.zoo.names import zoo_models


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


@click.command("show")
@click.argument("name")
def show_model(name: str) -> None:
    """Print the card of a model that ncc ships.

    NAME is what --model or --roi-model takes. The card says what the model learned from, how, and what
    it measured: in Markdown.
    """
    click.echo(card(_weights_file(name)), nl=False)


def _weights_file(name: str) -> str:
    """Of a shipped model, by name."""
    if any(model.name == name for model in zoo_models()):
        raise ModelError(f"{name} has no card here: CompressAI's model zoo describes it")
    shipped = {entry.name: entry.file for entry in reversed((*entries(), *mask_entries()))}
    if name not in shipped:
        raise ModelError(f"no model named {name!r} is shipped; there are: {', '.join(sorted(shipped))}")
    return shipped[name]


@click.group(invoke_without_command=True, commands=[fetch_models, show_model])
@click.option("--verify", "check", is_flag=True, help="Compare every weights file with its checksum.")
@click.option("--json", is_flag=True, help="One JSON object per model.")
@click.pass_context
def models(context: click.Context, check: bool, json: bool) -> None:
    """List the models that this installation can encode and decode with.

    Those of the zoo are pretrained networks of the literature; `available` ones work after
    `ncc models fetch NAME`. `ncc models show NAME` says how a model of ours was made and what it measured.
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
        print_models(rows)
    if any(row["state"] == "damaged" for row in rows):
        raise SystemExit(ExitCode.UNSUPPORTED)
