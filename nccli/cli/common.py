"""Options that several commands share, and how they reach a command: as frozen dataclasses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import click

from nccli.bounds import DEFAULT_MAX_PIXELS
from nccli.catalogue.entries import DEFAULT_MODEL
from nccli.engine import ENGINES
from nccli.entropy.rate import DEFAULT_QUALITY, LAMBDA_MAX, LAMBDA_MIN
from nccli.program.memory import parse_amount

Decorator = Callable[[Any], Any]

PATH = click.Path(allow_dash=True)


def _amount(_context: click.Context, _option: click.Parameter, given: str | None) -> int | None:
    """A number such as 128M or 2GiB."""
    return None if given is None else parse_amount(given)


def gathered(**kinds: type) -> Decorator:
    """A command gets parameters that are fields of a dataclass as one object of that class.

    Args:
        kinds: the command's parameter name = the dataclass.
    """

    def decorate(command: Any) -> Any:
        @functools.wraps(command)
        def call(**values: Any) -> Any:
            for name, kind in kinds.items():
                values[name] = _taken(kind, values)
            return command(**values)

        return call

    return decorate


def _taken(kind: Any, values: dict[str, Any]) -> Any:
    """An object of a dataclass, and of those that its fields default to, from the parameters of their names.

    What no parameter is named after keeps its default.
    """
    given: dict[str, Any] = {}
    for field in fields(kind):
        if is_dataclass(field.default):
            given[field.name] = _taken(type(field.default), values)
        elif field.name in values or field.default is MISSING:
            given[field.name] = values.pop(field.name)
    return kind(**given)


def joined(*decorators: Decorator) -> Decorator:
    """Several decorators as one, the first outermost."""

    def apply(command: Any) -> Any:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return apply


def _flag(*names: str, help: str) -> Decorator:
    return click.option(*names, is_flag=True, help=help)


def _refusal(*names: str, help: str) -> Decorator:
    """A flag that turns off what is on: its value is False when it is given."""
    return click.option(*names, is_flag=True, callback=lambda _context, _option, given: not given, help=help)


engine_option = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="local",
    show_default=True,
    help="Where --jobs workers run: this machine's processes, or a Ray cluster (RAY_ADDRESS).",
)

input_options = joined(
    click.argument("sources", metavar="IN...", nargs=-1, required=True, type=PATH),
    click.option("-o", "--output", metavar="OUT", type=PATH, help="Output of a single input, - for stdout."),
    click.option("--out-dir", metavar="DIR", type=PATH, help="Folder for the outputs. [default: beside IN]"),
    _flag("--recursive", "-r", help="Descend into folders; --out-dir keeps their tree."),
    click.option(
        "-j",
        "--jobs",
        "workers",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Worker processes.",
    ),
    _flag("--skip-existing", help="Skip inputs whose output is there already."),
    engine_option,
    click.option("--manifest", metavar="FILE", help="Keep JSON lines of what is done; failures beside it."),
    _flag("--resume", help="Continue the run that --manifest tells of."),
)
"""With `report_options` the fields of `program.work.Manner`."""

report_options = joined(
    _flag("--json", help="One JSON object per input on stdout."),
    _flag("--quiet", "-q", help="Print nothing but errors."),
)

rate_options = joined(
    click.option(
        "--lambda",
        "lmbda",
        type=float,
        help=f"Rate-distortion trade-off, {LAMBDA_MIN} .. {LAMBDA_MAX}; larger is better and bigger.",
    ),
    click.option(
        "--quality",
        type=click.FloatRange(0, 100),
        help=f"0 .. 100, log-linear in lambda. [default: {DEFAULT_QUALITY:g}]",
    ),
    click.option(
        "--bpp", type=click.FloatRange(min=0, min_open=True), help="At most this many bits per pixel."
    ),
    click.option("--size", type=click.IntRange(min=1), help="At most this many bytes."),
    click.option("--psnr", type=float, help="At least this PSNR in dB, in the smallest file."),
)
"""The fields of `codec.encoding.Rate`."""

model_option = click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    envvar="NCC_MODEL",
    help="See `ncc models`. [env: NCC_MODEL]",
)

encoding_options = joined(rate_options, model_option)
"""Fields of `codec.encoding.Encoding` that all commands that encode share."""

device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    envvar="NCC_DEVICE",
    help="Where the networks run. [env: NCC_DEVICE]",
)

trim_options = joined(
    _refusal("--no-alpha", "keep_alpha", help="Drop transparency."),
    _refusal("--strip", "keep_metadata", help="Drop ICC profile, EXIF and XMP."),
)

limit_options = joined(
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        envvar="NCC_THREADS",
        help="CPU threads of all workers together. [env: NCC_THREADS] [default: all cores]",
    ),
    click.option(
        "--max-pixels",
        metavar="N",
        callback=_amount,
        default=f"{DEFAULT_MAX_PIXELS}",
        help="Refuse larger pictures. [default: 134M]",
    ),
    click.option(
        "--max-memory",
        metavar="BYTES",
        callback=_amount,
        help="Refuse pictures that would need more, such as 2G.",
    ),
    _flag("--force", "-f", help="Overwrite existing files."),
)
"""Those fields of `program.options.Common` that matter to whoever reads pictures."""

common_options = joined(device_option, trim_options, limit_options)
"""The fields of `program.options.Common`."""
