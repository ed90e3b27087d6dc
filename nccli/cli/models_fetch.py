"""`ncc models fetch`: the one command that downloads."""

from __future__ import annotations

import json as jsonlib

import click

from nccli.cli.failures import attempt
from nccli.errors import ModelError
from nccli.program.job import Failure
from nccli.program.report.printer import Printer
from nccli.program.report.progress import ProgressBar
from nccli.zoo.cache import Fetched
from nccli.zoo.fetch import SOURCE, fetch
from nccli.zoo.names import ZooModel, zoo_models_named


def matching(names: tuple[str, ...]) -> list[ZooModel]:
    """The models that names and patterns stand for, each once.

    Raises:
        ModelError: one stands for none.
    """
    found: dict[str, ZooModel] = {}
    for name in names:
        models = zoo_models_named(name)
        if not models:
            raise ModelError(f"no model {name!r} to fetch; `ncc models` lists them")
        found |= {model.name: model for model in models}
    return list(found.values())


@click.command("fetch")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--source",
    metavar="URL",
    envvar="NCC_ZOO_SOURCE",
    default=SOURCE,
    help="Folder of checkpoints; file:///... for files that are here already. [env: NCC_ZOO_SOURCE]",
)
@click.option("--force", "-f", "again", is_flag=True, help="Fetch also what is here already.")
@click.option("--json", is_flag=True, help="One JSON object per model.")
@click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")
@click.pass_obj
def fetch_models(
    trace: bool, names: tuple[str, ...], source: str, again: bool, json: bool, quiet: bool
) -> None:
    """Download pretrained networks of the zoo and convert them.

    NAME is one that `ncc models` lists, such as zoo:mbt2018-mean-3; * and ? stand for anything.
    Checksums are compared before a file is read. NCC_CACHE names the folder for the results.
    """
    todo, code = matching(names), 0
    with ProgressBar(not quiet, len(todo)) as bar:
        for model in todo:
            result = attempt(lambda model=model: fetch(model, source, bar, again))  # type: ignore[misc]
            bar.next()
            if isinstance(result, Failure):
                Printer.error(result.text, result.trace if trace else "")
                code = code or result.exit_code
            else:
                _tell(model, result, json, quiet)
    if code:
        raise SystemExit(code)


def _tell(model: ZooModel, result: Fetched, json: bool, quiet: bool) -> None:
    if json:
        print(jsonlib.dumps({"name": model.name, "file": str(result.path), "sha256": result.sha256}))
    elif not quiet:
        click.echo(f"{model.name} is in {result.path}", err=True)
